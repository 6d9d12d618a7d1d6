//! Publishes the log but for calls on `evt.*`, and says every second how far it is.
//!
//! While the bus is away publishing waits; nothing else does. Whoever leads next begins at the
//! mark: what was published after it is published again, under the same ids.

use std::sync::Arc;
use std::time::Duration;

use backplane::subject;
use bus::{Bus, BusError, Event};
use domain::StreamKind;
use event_store::{EventStore, Position, ReadFilter, Recorded, StoreError};
use prost::Message as _;
use proto::internal::v1::Beat;
use tokio::sync::watch;

use super::stored;
use crate::app::PublishedMark;

/// Most events taken from the log at once.
const BATCH: usize = 500;
/// How long to wait before a publish that was refused is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the mark is moved, at most.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// Largest payload that fits into a bus event with everything around it.
const MAX_PAYLOAD: usize = bus::MAX_EVENT_BYTES - 8 * 1024;

/// Calls are most of the log, and nobody follows them on the bus: who wants them reads them.
pub(super) const UNPUBLISHED: StreamKind = StreamKind::Call;

/// How far the log is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// The last event.
    pub(crate) position: Position,
    /// The last configuration event.
    pub(crate) configuration: Position,
}

/// Where a new leader begins: at the mark, or at `from` where none is kept. Waits for the store.
pub(super) async fn begin(
    store: &dyn EventStore,
    mark: &dyn PublishedMark,
    from: Published,
) -> Published {
    loop {
        match begin_once(store, mark, from).await {
            Ok(begin) => return begin,
            Err(error) => {
                tracing::warn!(%error, "it is not known how far the log is published");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn begin_once(
    store: &dyn EventStore,
    mark: &dyn PublishedMark,
    from: Published,
) -> Result<Published, StoreError> {
    let Some(position) = mark.published().await? else { return Ok(from) };
    Ok(Published { position, configuration: last_configuration(store, position).await? })
}

/// The position of the last configuration event up to `until`. There is no index that leads to it:
/// windows before `until` are read, each larger than the one before.
async fn last_configuration(
    store: &dyn EventStore,
    until: Position,
) -> Result<Position, StoreError> {
    let mut window = 1_024;
    loop {
        let begin = until.as_u64().saturating_sub(window);
        let (mut after, mut found) = (Position::new(begin), None);
        while after < until {
            let page = store.read(after, &ReadFilter::configuration(), BATCH).await?;
            let in_window = page.events.iter().map(|event| event.position);
            found = in_window.filter(|position| *position <= until).max().or(found);
            if page.next <= after {
                break;
            }
            after = page.next;
        }
        match found {
            Some(found) => return Ok(found),
            None if begin == 0 => return Ok(Position::START),
            None => window = window.saturating_mul(16),
        }
    }
}

/// Moves the mark after what is published, until it is dropped.
pub(super) async fn keep_mark(
    mark: &dyn PublishedMark,
    epoch: u64,
    mut published: watch::Receiver<Published>,
) {
    let mut marked = published.borrow().position;
    loop {
        if published.changed().await.is_err() {
            return std::future::pending().await;
        }
        let position = published.borrow_and_update().position;
        if position > marked {
            match mark.mark(epoch, position).await {
                Ok(()) => marked = position,
                // Who leads next publishes a little more again.
                Err(error) => tracing::warn!(%error, "how far the log is published is not kept"),
            }
        }
        tokio::time::sleep(MARK_EVERY).await;
    }
}

/// Follows the log and publishes it.
pub(crate) struct Publisher {
    store: Arc<dyn EventStore>,
    bus: Arc<dyn Bus>,
    published: watch::Sender<Published>,
}

impl Publisher {
    /// Begins after `from`; what was published after it before is published again.
    pub(crate) fn new(
        store: Arc<dyn EventStore>,
        bus: Arc<dyn Bus>,
        from: Published,
    ) -> (Self, watch::Receiver<Published>) {
        let (published, receiver) = watch::channel(from);
        (Self { store, bus, published }, receiver)
    }

    /// Publishes until it is dropped, or the store is closed.
    pub(crate) async fn run(self) {
        let from = self.published.borrow().position;
        let mut log = self.store.subscribe(from, ReadFilter::all());
        loop {
            match log.next_batch(BATCH).await {
                Ok(batch) => {
                    let mut published = *self.published.borrow();
                    for event in batch.iter().filter(|event| event.stream.kind != UNPUBLISHED) {
                        self.publish(event, published.configuration).await;
                        if event.stream.kind.is_configuration() {
                            published.configuration = event.position;
                        }
                    }
                    published.position = batch.last().map_or(published.position, |e| e.position);
                    self.published.send_replace(published);
                }
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the log is away, the publisher waits");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Publishes one event, until the bus takes it: the order is never broken.
    async fn publish(&self, recorded: &Recorded, previous: Position) {
        let Some(event) = bus_event(recorded, previous) else { return };
        let mut away = false;
        while let Err(error) = self.bus.publish(event.clone()).await {
            if matches!(error, BusError::TooLarge { .. }) {
                tracing::error!(%error, position = %recorded.position, "event not published");
                return;
            }
            if !away {
                tracing::warn!(%error, "the bus is away, the publisher waits");
            }
            away = true;
            tokio::time::sleep(PAUSE).await;
        }
        if away {
            tracing::info!(position = %recorded.position, "the publisher goes on");
        }
    }
}

/// The bus event of an event; none for one that can have no subject or is too large: followers
/// find the gap and ask for a snapshot.
pub(super) fn bus_event(recorded: &Recorded, previous: Position) -> Option<Event> {
    let stream = &recorded.stream;
    let to = subject::event(stream.tenant, stream.kind, &recorded.event_type).ok()?;
    if recorded.payload.len() > MAX_PAYLOAD {
        return None;
    }
    let event = Event::new(to, stored::message(recorded, previous).encode_to_vec());
    // Followers build on configuration; the others are many, and once too often does no harm.
    let repeatable = !stream.kind.is_configuration();
    Some(if repeatable { event } else { event.with_id(format!("evt:{}", recorded.position)) })
}

/// Beats every second until it is dropped.
pub(crate) async fn beat(bus: Arc<dyn Bus>, published: watch::Receiver<Published>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut away = false;
    loop {
        ticks.tick().await;
        let now = *published.borrow();
        let beat =
            Beat { position: now.position.as_u64(), configuration: now.configuration.as_u64() };
        let beat = Event::new(subject::beat(), beat.encode_to_vec());
        match (bus.publish(beat).await, away) {
            (Ok(()), _) => away = false,
            (Err(error), false) => {
                tracing::warn!(%error, "no beat");
                away = true;
            }
            (Err(_), true) => {}
        }
    }
}
