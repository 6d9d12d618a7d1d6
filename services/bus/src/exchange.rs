//! The two sides of an exchange: one request, frames back, follow-ups.
//!
//! What always holds: frames arrive in the order they were sent, each at most once; a side that
//! is dropped is seen by the other one; nothing is spawned and both sides share one allocation.
//! Between processes each side has pipes of its own, and a [`Wire`] between them.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::BusError;
use crate::pipe::{End, Pipe, Wire};

/// Nobody looked at the request yet.
const WAITING: u8 = 0;
/// A server took it.
const ACCEPTED: u8 = 1;
/// The adapter told the client that nobody will.
const WITHDRAWN: u8 = 2;

/// Both directions of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    pub(crate) to_client: Pipe,
    pub(crate) to_server: Pipe,
    acceptance: AtomicU8,
}

impl Pipes {
    /// Of an exchange with another process.
    pub(crate) fn over(wire: &Weak<dyn Wire>) -> Arc<Self> {
        Arc::new(Self {
            to_client: Pipe::over(Weak::clone(wire)),
            to_server: Pipe::over(Weak::clone(wire)),
            acceptance: AtomicU8::new(WAITING),
        })
    }

    /// Ends the client's direction from outside of the server, by whether the server took the
    /// request; one that did not will not get it any more.
    pub(crate) fn withdraw(&self) {
        let withdrawn = self.transition(WITHDRAWN);
        self.to_client.end(if withdrawn { End::NeverAccepted } else { End::Broken });
        self.to_client.leave();
        self.to_server.leave();
    }

    fn transition(&self, to: u8) -> bool {
        let exchanged =
            self.acceptance.compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire);
        exchanged.is_ok()
    }
}

/// Both sides of a fresh exchange.
pub(crate) fn pair() -> (ClientSide, ServerSide) {
    let pipes = Arc::new(Pipes::default());
    (ClientSide { pipes: Arc::clone(&pipes) }, ServerSide { pipes })
}

/// What the one who opened the exchange holds. Dropping it closes the exchange: the server sees
/// [`ServerSide::closed`], which is how to cancel.
#[derive(Debug)]
pub struct ClientSide {
    pipes: Arc<Pipes>,
}

impl ClientSide {
    /// The client's side of an exchange with another process.
    pub(crate) fn over(pipes: Arc<Pipes>) -> Self {
        Self { pipes }
    }

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
}

impl ServerSide {
    /// The server's side of an exchange with another process.
    pub(crate) fn over(pipes: Arc<Pipes>) -> Self {
        Self { pipes }
    }

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
    /// `false` if the client was told already that nobody will look at it.
    pub(crate) fn accept(&self) -> bool {
        self.pipes.transition(ACCEPTED)
    }
}

impl Drop for ServerSide {
    fn drop(&mut self) {
        // After `finish` the end stands already, and this one does not count.
        let accepted = self.pipes.acceptance.load(Ordering::Acquire) == ACCEPTED;
        let end = if accepted { End::Broken } else { End::NeverAccepted };
        self.pipes.to_client.end(end);
        self.pipes.to_server.leave();
    }
}
