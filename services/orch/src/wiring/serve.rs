//! Serving routes on a listener.

use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// For so long what was sent may stay unread or unconfirmed before the connection is given up.
const SEND_LIMIT: Duration = Duration::from_secs(30);

/// Serves the routes until `closed`.
///
/// # Errors
/// When the listener fails.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    closed: CancellationToken,
) -> std::io::Result<()> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = prepare(stream) {
            tracing::debug!(%error, "a connection keeps the system's defaults");
        }
    });
    axum::serve(listener, router).with_graceful_shutdown(closed.cancelled_owned()).await
}

/// Sets what every accepted connection gets.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    // Answers are small: waiting to fill a packet would cost more than it saves.
    stream.set_nodelay(true)?;
    // A peer that stopped reading, or is gone without a word, holds no socket for ever.
    SockRef::from(stream).set_tcp_user_timeout(Some(SEND_LIMIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_accepted_connection_has_no_delay_and_a_limit() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let (stream, _) = accepted.unwrap();
        prepare(&stream).unwrap();
        assert!(stream.nodelay().unwrap());
        let limit = SockRef::from(&stream).tcp_user_timeout().unwrap();
        assert_eq!(limit, Some(SEND_LIMIT));
        drop(connected);
    }
}
