//! The two sides of an exchange: one request, frames back, follow-ups.
//!
//! What always holds: frames arrive in the order they were sent, each at most once; a side that
//! is dropped is seen by the other one; nothing is spawned and both sides share one allocation.

use std::sync::Arc;

use bytes::Bytes;

use crate::BusError;
use crate::pipe::{End, Pipe};

#[derive(Debug, Default)]
struct Pipes {
    to_client: Pipe,
    to_server: Pipe,
}

/// Both sides of a fresh exchange.
pub(crate) fn pair() -> (ClientSide, ServerSide) {
    let pipes = Arc::new(Pipes::default());
    (ClientSide { pipes: Arc::clone(&pipes) }, ServerSide { pipes, accepted: false })
}

/// What the one who opened the exchange holds. Dropping it closes the exchange: the server sees
/// [`ServerSide::closed`], which is how to cancel.
#[derive(Debug)]
pub struct ClientSide {
    pipes: Arc<Pipes>,
}

impl ClientSide {
    /// The next frame; `None` after the server finished. Cancel-safe.
    ///
    /// # Errors
    /// Reported once, then `None`: [`BusError::Closed`] if the server left without finishing (it
    /// may have acted), [`BusError::NoResponders`] if it left before it took the request.
    pub async fn next_frame(&self) -> Option<Result<Bytes, BusError>> {
        self.pipes.to_client.read().await
    }

    /// Sends a follow-up to the server; waits while its window is full. Dropping the future
    /// sends nothing.
    ///
    /// # Errors
    /// [`BusError::Closed`] if the server finished or left, [`BusError::TooLarge`].
    pub async fn send(&self, follow_up: Bytes) -> Result<(), BusError> {
        self.pipes.to_server.write(follow_up).await
    }
}

impl Drop for ClientSide {
    fn drop(&mut self) {
        self.pipes.to_server.end(End::Finished);
        self.pipes.to_client.leave();
    }
}

/// What the server of the exchange holds. Dropping it without [`finish`](Self::finish) tells the
/// client that the exchange broke.
#[derive(Debug)]
pub struct ServerSide {
    pipes: Arc<Pipes>,
    accepted: bool,
}

impl ServerSide {
    /// Sends a frame to the client; waits while its window is full. Dropping the future sends
    /// nothing.
    ///
    /// # Errors
    /// [`BusError::Closed`] if the client left, [`BusError::TooLarge`].
    pub async fn reply(&self, frame: Bytes) -> Result<(), BusError> {
        self.pipes.to_client.write(frame).await
    }

    /// The next follow-up; `None` after the client left or the exchange was finished.
    /// Cancel-safe.
    pub async fn next_follow_up(&self) -> Option<Bytes> {
        self.pipes.to_server.read().await.and_then(Result::ok)
    }

    /// Waits until the client leaves. Cancel-safe.
    pub async fn closed(&self) {
        self.pipes.to_client.reader_left().await;
    }

    /// Whether the client has left.
    pub fn is_closed(&self) -> bool {
        !self.pipes.to_client.has_reader()
    }

    /// Says that the last frame was sent: the client reads `None` after it. Later replies and
    /// follow-ups are refused as [`BusError::Closed`].
    pub fn finish(&self) {
        self.pipes.to_client.end(End::Finished);
        self.pipes.to_server.leave();
    }

    /// From now on, leaving without a finish means that the request may have been acted upon.
    pub(crate) fn accept(&mut self) {
        self.accepted = true;
    }
}

impl Drop for ServerSide {
    fn drop(&mut self) {
        // After `finish` the end stands already, and this one does not count.
        let end = if self.accepted { End::Broken } else { End::NeverAccepted };
        self.pipes.to_client.end(end);
        self.pipes.to_server.leave();
    }
}
