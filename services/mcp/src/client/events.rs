//! What a connection reports on its own.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::CloseCause;
use crate::{Id, ListKind};

/// Something an upstream said without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    /// A list changed (for resources: the list or the templates). Several changes that were not
    /// yet taken are one event; none is lost.
    ListChanged(ListKind),
    /// Any other notification that belongs to no request under way (`notifications/message`,
    /// `notifications/resources/updated`, the state of tasks, …).
    Notification {
        /// The method.
        method: String,
        /// The raw parameters, an object.
        params: Bytes,
    },
    /// The server asks for something, and it is not known for which request under way: it waits
    /// for [`super::Connection::respond`].
    Request(ServerRequest),
    /// Output that is no JSON-RPC message (a line on stdout, say): at most the first 1,024 bytes.
    Noise(Bytes),
    /// The connection ended; the last event.
    Closed(CloseCause),
}

/// Something a server asks for; `ping` is never among it, it is answered by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRequest {
    /// The server's own name for it.
    pub id: Id,
    /// The method.
    pub method: String,
    /// The raw parameters, an object.
    pub params: Option<Bytes>,
}

/// How many events wait to be taken; more are dropped (changes of lists and the end never are), a
/// request is refused.
const QUEUED_EVENTS: usize = 256;

/// The most bytes of a [`ConnectionEvent::Noise`].
pub(super) const MAX_NOISE_BYTES: usize = 1024;

/// The events of one connection.
#[derive(Debug)]
pub struct Events {
    sink: Arc<EventSink>,
    queue: mpsc::Receiver<ConnectionEvent>,
    ended: bool,
}

impl Events {
    /// The next event; `None` after [`ConnectionEvent::Closed`]. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        if self.ended {
            return None;
        }
        loop {
            if let Some(kind) = self.sink.take_changed() {
                return Some(ConnectionEvent::ListChanged(kind));
            }
            tokio::select! {
                biased;
                () = self.sink.wake.notified() => {}
                event = self.queue.recv() => {
                    if event.is_some() {
                        return event;
                    }
                }
                cause = self.sink.end.wait() => {
                    if let Ok(event) = self.queue.try_recv() {
                        return Some(event);
                    }
                    self.ended = true;
                    return Some(ConnectionEvent::Closed(cause));
                }
            }
        }
    }
}

/// Where the reading side puts events; it never waits.
#[derive(Debug)]
pub(super) struct EventSink {
    /// One bit for each list that changed and was not yet taken.
    changed: AtomicU8,
    wake: Notify,
    queue: mpsc::Sender<ConnectionEvent>,
    pub(super) end: End,
}

impl EventSink {
    pub(super) fn new() -> (Arc<Self>, Events) {
        let (queue, receiver) = mpsc::channel(QUEUED_EVENTS);
        let sink = Arc::new(Self {
            changed: AtomicU8::new(0),
            wake: Notify::new(),
            queue,
            end: End::default(),
        });
        let events = Events { sink: Arc::clone(&sink), queue: receiver, ended: false };
        (sink, events)
    }

    pub(super) fn list_changed(&self, kind: ListKind) {
        self.changed.fetch_or(1 << kind.index(), Ordering::AcqRel);
        self.wake.notify_one();
    }

    fn take_changed(&self) -> Option<ListKind> {
        ListKind::ALL.into_iter().find(|kind| {
            let bit = 1 << kind.index();
            self.changed.fetch_and(!bit, Ordering::AcqRel) & bit != 0
        })
    }

    /// Whether there was room for the event.
    pub(super) fn push(&self, event: ConnectionEvent) -> bool {
        let taken = self.queue.try_send(event).is_ok();
        if !taken {
            tracing::debug!("event of an upstream dropped: nobody takes them fast enough");
        }
        taken
    }

    pub(super) fn noise(&self, bytes: &[u8]) {
        let head = Bytes::copy_from_slice(&bytes[..bytes.len().min(MAX_NOISE_BYTES)]);
        self.push(ConnectionEvent::Noise(head));
    }
}

/// The end of a connection: happens once, with the first cause.
#[derive(Debug, Default)]
pub(super) struct End {
    cause: OnceLock<CloseCause>,
    token: CancellationToken,
}

impl End {
    /// Ends the connection; `false` if it had ended before.
    pub(super) fn set(&self, cause: CloseCause) -> bool {
        let first = self.cause.set(cause).is_ok();
        self.token.cancel();
        first
    }

    pub(super) fn cause(&self) -> Option<&CloseCause> {
        self.cause.get()
    }

    /// Waits for the end.
    pub(super) async fn wait(&self) -> CloseCause {
        self.token.cancelled().await;
        self.cause.get().cloned().unwrap_or(CloseCause::Requested)
    }
}
