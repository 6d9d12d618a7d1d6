//! An upstream that says the same to everyone, or nothing at all.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Answers every request with the same bytes, and closes. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Canned {
    address: std::net::SocketAddr,
    server: JoinHandle<()>,
}

impl Canned {
    /// Accepts connections and never says a word.
    pub(crate) async fn silent() -> Self {
        Self::serve(None).await
    }

    /// Answers with a status line's end such as `401 Unauthorized` and a JSON body.
    pub(crate) async fn answering(status: &str, body: &str) -> Self {
        Self::serve(Some(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        )))
        .await
    }

    async fn serve(answer: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(answer) = answer.clone() else {
                    silent.push(stream);
                    continue;
                };
                tokio::spawn(async move {
                    let mut request = vec![0; 64 * 1024];
                    let _ = stream.read(&mut request).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { address, server }
    }

    /// A URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.server.abort();
    }
}
