//! Events, and the bounded queue of one subscriber.
//!
//! What always holds: a subscriber sees the events of one publisher in their order; where it
//! lost some, a [`Delivery::Lost`] stands in their place; the publisher never waits.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::error::check_size;
use crate::registration::Registration;
use crate::{BusError, Subject};

/// Largest event, headers and id included: 1 MiB, what NATS accepts by default.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// Most bytes that wait for one subscriber: 64 MiB.
pub const MAX_SUBSCRIPTION_BYTES: usize = 64 * 1024 * 1024;

/// What a header, or the id, counts for besides its text, so that empty ones are limited too and
/// each adapter has room for its own form of them.
const HEADER_OVERHEAD_BYTES: usize = 16;
/// What each event counts for besides its content.
const EVENT_OVERHEAD_BYTES: usize = 16;

/// Something that happened, for whoever subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Where it goes.
    pub subject: Subject,
    /// Makes a repeated publish of the same event recognizable. Without one, each publish counts.
    pub id: Option<String>,
    /// What a subscriber may look at without decoding the payload.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The content.
    pub payload: Bytes,
}

impl Event {
    /// An event without id and headers.
    pub fn new(subject: Subject, payload: impl Into<Bytes>) -> Self {
        Self { subject, id: None, headers: Vec::new(), payload: payload.into() }
    }

    /// Sets the id by which a repetition is recognized.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn size_bytes(&self) -> usize {
        let of_header = |(key, value): &(Cow<'static, str>, String)| {
            HEADER_OVERHEAD_BYTES + key.len() + value.len()
        };
        let headers: usize = self.headers.iter().map(of_header).sum();
        let id = self.id.as_ref().map_or(0, |id| HEADER_OVERHEAD_BYTES + id.len());
        EVENT_OVERHEAD_BYTES + self.payload.len() + headers + id
    }

    /// Refuses an event above the limits.
    pub(crate) fn check(&self) -> Result<(), BusError> {
        check_size("an event", self.size_bytes(), MAX_EVENT_BYTES)
    }
}

/// What a subscriber gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// An event.
    Event(Arc<Event>),
    /// At this place so many events are missing, because the subscriber was too slow or the bus
    /// was away (then it is at least 1): read what they said from its source.
    Lost(u64),
}

/// Receives the events of one filter. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    inbox: Arc<Inbox>,
    _registration: Registration,
}

impl Subscription {
    pub(crate) fn new(inbox: Arc<Inbox>, registration: Registration) -> Self {
        Self { inbox, _registration: registration }
    }

    /// The next delivery; `None` after the bus was shut down. Cancel-safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let changed = self.inbox.changed.notified();
            if let Some(delivery) = self.inbox.try_pop() {
                return delivery;
            }
            changed.await;
        }
    }

    /// What is there already, without waiting: for taking several deliveries as one batch.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.inbox.try_pop().flatten()
    }
}

/// The queue between an adapter and one [`Subscription`].
#[derive(Debug)]
pub(crate) struct Inbox {
    capacity: usize,
    state: Mutex<InboxState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct InboxState {
    queue: VecDeque<Delivery>,
    bytes: usize,
    /// Lost since the last entry of the queue.
    lost: u64,
    closed: bool,
}

impl Inbox {
    /// A queue of at most `capacity` events.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues the event, or counts it as lost.
    pub(crate) fn push(&self, event: &Arc<Event>) {
        let mut state = self.state();
        let full = state.queue.len() >= self.capacity
            || state.bytes + event.payload.len() > MAX_SUBSCRIPTION_BYTES;
        if full {
            state.lost += 1;
            return;
        }
        if state.lost > 0 {
            let lost = std::mem::take(&mut state.lost);
            state.queue.push_back(Delivery::Lost(lost));
        }
        state.bytes += event.payload.len();
        state.queue.push_back(Delivery::Event(Arc::clone(event)));
        drop(state);
        self.changed.notify_one();
    }

    /// Counts events that the adapter knows to be lost at this place.
    pub(crate) fn lose(&self, events: u64) {
        self.state().lost += events;
        self.changed.notify_one();
    }

    /// No more deliveries come after those that are queued.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// `None`: nothing yet. `Some(None)`: closed and empty.
    fn try_pop(&self) -> Option<Option<Delivery>> {
        let mut state = self.state();
        if let Some(delivery) = state.queue.pop_front() {
            if let Delivery::Event(event) = &delivery {
                state.bytes -= event.payload.len();
            }
            return Some(Some(delivery));
        }
        if state.lost > 0 {
            return Some(Some(Delivery::Lost(std::mem::take(&mut state.lost))));
        }
        state.closed.then_some(None)
    }
}
