//! The queue of a stream: bounded in messages and in bytes, and in how long it may be full.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::config::EdgeLimits;

/// An event that waits. Its bytes count until it is taken.
#[derive(Debug)]
struct Queued {
    event: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Why an event goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undelivered {
    /// The stream is gone.
    Closed,
    /// The client does not read.
    Stalled,
}

/// The writing end; clones write to the same stream.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    sender: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    bytes: usize,
    stall: Duration,
}

/// The reading end.
#[derive(Debug)]
pub(crate) struct Events(mpsc::Receiver<Queued>);

/// Both ends of a new stream.
pub(crate) fn outbox(limits: &EdgeLimits) -> (Outbox, Events) {
    let (sender, receiver) = mpsc::channel(limits.outbox_messages.max(1));
    let bytes = limits.outbox_bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
    let room = Arc::new(Semaphore::new(bytes));
    (Outbox { sender, room, bytes, stall: limits.stall }, Events(receiver))
}

impl Outbox {
    /// Puts an event in if there is room now.
    pub(crate) fn try_send(&self, event: Bytes) -> Result<(), Undelivered> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.weight(&event));
        let room = room.map_err(|_| self.why_full())?;
        self.sender.try_send(Queued { event, _room: room }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Undelivered::Stalled,
            mpsc::error::TrySendError::Closed(_) => Undelivered::Closed,
        })
    }

    /// Waits for room as long as a client may take. One that did not read for so long is given
    /// up.
    pub(crate) async fn send(&self, event: Bytes) -> Result<(), Undelivered> {
        let weight = self.weight(&event);
        let sending = async {
            let room = Arc::clone(&self.room).acquire_many_owned(weight).await;
            let room = room.map_err(|_| Undelivered::Closed)?;
            let queued = Queued { event, _room: room };
            self.sender.send(queued).await.map_err(|_| Undelivered::Closed)
        };
        tokio::time::timeout(self.stall, sending).await.unwrap_or(Err(Undelivered::Stalled))
    }

    fn weight(&self, event: &Bytes) -> u32 {
        // What is larger than all room takes all of it, and passes alone.
        u32::try_from(event.len().min(self.bytes)).unwrap_or(u32::MAX)
    }

    fn why_full(&self) -> Undelivered {
        if self.sender.is_closed() { Undelivered::Closed } else { Undelivered::Stalled }
    }

    /// Waits until nobody reads any more. Cancel-safe.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Events {
    /// The next event; `None` when all writing ends are gone. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await.map(|queued| queued.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(messages: usize, bytes: usize) -> EdgeLimits {
        EdgeLimits {
            outbox_messages: messages,
            outbox_bytes: bytes,
            stall: Duration::from_millis(20),
            ..EdgeLimits::default()
        }
    }

    const EVENT: Bytes = Bytes::from_static(b"12345678");

    #[tokio::test]
    async fn messages_and_bytes_are_bounded_and_reading_makes_room() {
        for limits in [limits(2, 1_000), limits(100, 16)] {
            let (outbox, mut events) = outbox(&limits);
            assert_eq!(outbox.try_send(EVENT), Ok(()));
            assert_eq!(outbox.try_send(EVENT), Ok(()));
            assert_eq!(outbox.try_send(EVENT), Err(Undelivered::Stalled));
            assert_eq!(outbox.send(EVENT).await, Err(Undelivered::Stalled));
            assert_eq!(events.next().await, Some(EVENT));
            assert_eq!(outbox.send(EVENT).await, Ok(()));
            drop(events);
            assert_eq!(outbox.send(EVENT).await, Err(Undelivered::Closed));
            assert!(outbox.is_closed());
        }
    }

    #[tokio::test]
    async fn what_is_larger_than_all_room_passes_alone() {
        let (outbox, mut events) = outbox(&limits(10, 4));
        assert_eq!(outbox.try_send(EVENT), Ok(()));
        assert_eq!(outbox.try_send(EVENT), Err(Undelivered::Stalled));
        assert_eq!(events.next().await, Some(EVENT));
        assert_eq!(outbox.try_send(EVENT), Ok(()));
    }
}
