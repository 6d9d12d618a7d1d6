//! Publishes the log but for calls on `evt.*`, and says every second how far it is.

use std::sync::Arc;
use std::time::Duration;

use backplane::subject;
use bus::{Bus, BusError, Event};
use domain::StreamKind;
use event_store::{EventStore, Position, ReadFilter, Recorded, StoreError};
use prost::Message as _;
use proto::internal::v1::Beat;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::stored;

/// Most events taken from the log at once.
const BATCH: usize = 500;
/// How long to wait before a publish that was refused is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// Largest payload that fits into a bus event with everything around it.
const MAX_PAYLOAD: usize = bus::MAX_EVENT_BYTES - 8 * 1024;

/// Calls are most of the log, and nobody follows them on the bus: who wants them reads them.
const UNPUBLISHED: StreamKind = StreamKind::Call;

/// How far the log is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// The last event.
    pub(crate) position: Position,
    /// The last configuration event.
    pub(crate) configuration: Position,
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

    /// Publishes until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let from = self.published.borrow().position;
        let mut log = self.store.subscribe(from, ReadFilter::all());
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                batch = log.next_batch(BATCH) => batch,
            };
            match batch {
                Ok(batch) => {
                    let mut published = *self.published.borrow();
                    for event in batch.iter().filter(|event| event.stream.kind != UNPUBLISHED) {
                        tokio::select! {
                            biased;
                            () = shutdown.cancelled() => return,
                            () = self.publish(event, published.configuration) => {}
                        }
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
        while let Err(error) = self.bus.publish(event.clone()).await {
            if matches!(error, BusError::TooLarge { .. }) {
                tracing::error!(%error, position = %recorded.position, "event not published");
                break;
            }
            tracing::warn!(%error, "the bus is away, the publisher waits");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The bus event of an event; none for one that can have no subject or is too large: followers
/// find the gap and ask for a snapshot.
fn bus_event(recorded: &Recorded, previous: Position) -> Option<Event> {
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

/// Beats every second until `shutdown`.
pub(crate) async fn beat(
    bus: Arc<dyn Bus>,
    published: watch::Receiver<Published>,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let now = *published.borrow();
        let beat =
            Beat { position: now.position.as_u64(), configuration: now.configuration.as_u64() };
        if let Err(error) = bus.publish(Event::new(subject::beat(), beat.encode_to_vec())).await {
            tracing::warn!(%error, "no beat");
        }
    }
}
