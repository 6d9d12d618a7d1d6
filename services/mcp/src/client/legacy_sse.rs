//! HTTP with SSE (2024-11-05): answers come over a GET stream, messages go to the endpoint that
//! the stream names first.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use url::Url;

use super::event_source::{self, EventStream, SourceEnd, SourceEvent};
use super::http::{self as web, HttpClients};
use super::link::Link;
use super::options::safe_url;
use super::post::{Poster, Refusal};
use super::{CloseCause, ConnectError, HttpTarget, RequestError, SendFailure, Transport};

/// The most that is read of an answer to a POST: it carries nothing.
const MAX_POST_ANSWER_BYTES: usize = 64 * 1024;

/// A stream that has named its endpoint.
pub(super) struct Opened {
    pub(super) sender: SseSender,
    pub(super) stream: Pin<Box<dyn EventStream>>,
}

/// Opens the stream and waits for the endpoint; the caller limits the time.
pub(super) async fn open(
    clients: &HttpClients,
    target: &HttpTarget,
) -> Result<Opened, ConnectError> {
    let headers = web::headers(&target.headers, &[]);
    let request = clients.get.get(target.url.clone()).headers(headers);
    let mut stream = event_source::open(request)?;
    tracing::debug!(url = %safe_url(&target.url), "SSE stream opening");
    loop {
        match stream.next().await {
            Some(Ok(SourceEvent::Message { event, data })) if event == "endpoint" => {
                let endpoint = endpoint(&target.url, &data)?;
                tracing::debug!(endpoint = %safe_url(&endpoint), "SSE endpoint named");
                let sender = SseSender::new(clients.clone(), endpoint, &target.headers);
                return Ok(Opened { sender, stream });
            }
            Some(Ok(_)) => {}
            Some(Err(SourceEnd::Refused(error))) => return Err(error),
            Some(Err(SourceEnd::Broken(cause))) => {
                return Err(ConnectError::Unreachable { transport: Transport::Sse, cause });
            }
            Some(Err(SourceEnd::Ended)) | None => {
                let cause = "the event stream ended before it named an endpoint".to_owned();
                return Err(ConnectError::Unreachable { transport: Transport::Sse, cause });
            }
        }
    }
}

/// The endpoint must be at the stream's own origin: the configured headers go there.
fn endpoint(stream: &Url, data: &[u8]) -> Result<Url, ConnectError> {
    let text = std::str::from_utf8(data).unwrap_or_default().trim();
    let url = stream
        .join(text)
        .map_err(|_| ConnectError::EndpointRefused("the endpoint is not a URL"))?;
    if !web::same_origin(stream, &url) {
        return Err(ConnectError::EndpointRefused("the endpoint is at another origin"));
    }
    Ok(web::without_credentials(url))
}

/// Starts the task that reads the stream; it ends with the connection.
pub(super) fn start(link: &Arc<Link>, stream: Pin<Box<dyn EventStream>>) {
    let link = Arc::clone(link);
    tokio::spawn(async move {
        let cause = tokio::select! {
            cause = read(&link, stream) => cause,
            cause = link.events.end.wait() => cause,
        };
        tracing::debug!(%cause, "SSE stream ended");
        link.end(cause);
    });
}

async fn read(link: &Arc<Link>, mut stream: Pin<Box<dyn EventStream>>) -> CloseCause {
    loop {
        match stream.next().await {
            Some(Ok(SourceEvent::Message { data, .. })) if data.len() > link.max_message_bytes => {
                return CloseCause::TooLarge(link.max_message_bytes);
            }
            Some(Ok(SourceEvent::Message { event, data })) if event == "message" => {
                link.receive(data);
            }
            Some(Ok(_)) => {}
            Some(Err(SourceEnd::Broken(cause))) => return CloseCause::Broken(cause),
            Some(Err(SourceEnd::Refused(_) | SourceEnd::Ended)) | None => return CloseCause::Ended,
        }
    }
}

/// Posts messages to the endpoint.
pub(super) struct SseSender {
    poster: Poster,
    headers: HeaderMap,
}

impl SseSender {
    fn new(clients: HttpClients, endpoint: Url, configured: &HeaderMap) -> Self {
        let ours = [(CONTENT_TYPE, "application/json"), (ACCEPT, "application/json, */*")];
        let headers = web::headers(configured, &ours);
        Self { poster: Poster::new(clients, endpoint), headers }
    }

    /// Posts a notification or an answer.
    pub(super) async fn post(&self, message: Bytes) -> Result<(), SendFailure> {
        self.send(message).await.map_err(|(failure, _)| failure)
    }

    /// Posts a request; its answer comes over the stream.
    pub(super) async fn post_request(
        &self,
        link: &Link,
        message: Bytes,
    ) -> Result<(), RequestError> {
        self.send(message).await.map_err(|(failure, may_have_run)| {
            if failure == SendFailure::Http(StatusCode::NOT_FOUND) {
                link.end(CloseCause::SessionEnded);
            }
            if may_have_run {
                RequestError::Unknown(failure)
            } else {
                RequestError::NotSent(failure)
            }
        })
    }

    async fn send(&self, message: Bytes) -> Result<(), Refusal> {
        let mut response = self.poster.post(&self.headers, None, message).await?;
        let status = response.status();
        if !status.is_success() {
            // A refusal by the HTTP layer (4xx, a redirect) has run nothing.
            return Err((SendFailure::Http(status), status.is_server_error()));
        }
        // The connection can be used again once the answer is read. What it says does not matter,
        // nor whether it ends well: the message was accepted.
        let _ = response.body(MAX_POST_ANSWER_BYTES).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_taken_at_its_own_origin_only() {
        let stream = Url::parse("http://host:8000/mcp").unwrap();
        let named = |text: &str| endpoint(&stream, text.as_bytes());
        let legal = [
            ("/messages/?session_id=1", "http://host:8000/messages/?session_id=1"),
            ("messages", "http://host:8000/messages"),
            ("http://host:8000/m", "http://host:8000/m"),
        ];
        for (text, url) in legal {
            assert_eq!(named(text).unwrap().as_str(), url);
        }
        for text in ["http://evil/m", "//evil/m", "https://host:8000/m", "http://host/m", "data:x"]
        {
            assert!(matches!(named(text), Err(ConnectError::EndpointRefused(_))), "{text}");
        }
    }
}
