//! The task that keeps a replica up to date.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bus::{Bus, BusError, Delivery, Subscription};
use domain::Timestamp;
use events::{Configuration, Follower, Offer};
use futures::future::select_all;
use prost::Message;
use proto::internal::v1::{Beat, StoredEvent};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Notice, Shared, snapshot};
use crate::clock::Clock;
use crate::jitter::Jitter;
use crate::subject;

/// Most published events that wait while a snapshot is read.
const EVENT_CAPACITY: usize = 16_384;
const BEAT_CAPACITY: usize = 16;

/// First pause before asking again; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Over so long those who miss the same event are spread: they would all ask at once.
const SPREAD: Duration = Duration::from_millis(500);

/// How often it is looked at whether what is missing has come.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where the configuration comes from.
pub(super) struct Source {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) service: String,
    pub(super) clock: Clock,
}

/// Follows until `shutdown`; `ready` becomes true with the first snapshot.
pub(super) async fn run(
    shared: Arc<Shared>,
    source: Source,
    ready: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let following = async {
        let mut jitter = Jitter::of(source.bus.instance());
        let mut pause = MIN_PAUSE;
        loop {
            match follow(&shared, &source, &ready).await {
                Ok(reason) => {
                    tracing::info!(reason, service = source.service, "asking for a new snapshot");
                    pause = MIN_PAUSE;
                    tokio::time::sleep(SPREAD.mul_f64(jitter.next())).await;
                }
                Err(error) => {
                    tracing::warn!(%error, service = source.service, "no snapshot, trying again");
                }
            }
            tokio::time::sleep(pause.mul_f64(0.5 + jitter.next() / 2.0)).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    };
    let following: Option<()> = shutdown.run_until_cancelled(following).await;
    debug_assert!(following.is_none(), "following ends only by shutdown");
}

/// The subscriptions of a replica.
struct Inflow {
    events: Vec<Subscription>,
    beats: Subscription,
}

impl Inflow {
    async fn open(bus: &dyn Bus) -> Result<Self, BusError> {
        let mut events = Vec::new();
        for filter in subject::configuration_events() {
            events.push(bus.subscribe(filter, EVENT_CAPACITY).await?);
        }
        let beats = bus.subscribe(subject::beat().into(), BEAT_CAPACITY).await?;
        Ok(Self { events, beats })
    }

    /// The next published event, of whichever subscription.
    async fn next_event(events: &mut [Subscription]) -> Option<Delivery> {
        let next = events.iter_mut().map(|subscription| Box::pin(subscription.next()));
        select_all(next).await.0
    }
}

/// Reads a snapshot and follows on from it. Returns why another one is needed.
async fn follow(
    shared: &Shared,
    source: &Source,
    ready: &watch::Sender<bool>,
) -> Result<&'static str, snapshot::SnapshotError> {
    // Before the snapshot is asked for, so that nothing falls between the two.
    let mut inflow = Inflow::open(source.bus.as_ref()).await?;
    let asked_at = (source.clock)();
    let (configuration, position) = snapshot::fetch(source.bus.as_ref(), &source.service).await?;
    let mut following = Following { shared, follower: Follower::new(position, asked_at) };
    following.replace(configuration);
    ready.send_replace(true);
    // Beats from before tell of a past that the snapshot has overtaken.
    while inflow.beats.try_next().is_some() {}
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let reason = tokio::select! {
            delivery = Inflow::next_event(&mut inflow.events) => {
                following.take(delivery, (source.clock)())
            }
            beat = inflow.beats.next() => following.beat(beat, (source.clock)()),
            _ = look.tick(), if following.follower.is_waiting() => None,
        };
        if let Some(reason) = reason {
            return Ok(reason);
        }
        if following.follower.is_overdue((source.clock)()) {
            return Ok("an event is missing");
        }
    }
}

/// A replica between two snapshots.
struct Following<'a> {
    shared: &'a Shared,
    follower: Follower<StoredEvent>,
}

impl Following<'_> {
    /// Takes a delivery in; says why a new snapshot is needed.
    fn take(&mut self, delivery: Option<Delivery>, now: Timestamp) -> Option<&'static str> {
        let event = match delivery {
            Some(Delivery::Event(event)) => event,
            Some(Delivery::Lost(_)) => return Some("events were lost"),
            None => return Some("the bus was shut down"),
        };
        let Ok(stored) = snapshot::published(&event.payload) else {
            tracing::error!(subject = %event.subject, "a published event cannot be read");
            return None;
        };
        let (position, previous) = (stored.position, stored.previous_configuration);
        match self.follower.offer(position, previous, stored, now) {
            Offer::Kept => self.apply_ready(),
            Offer::Ignored => {}
            Offer::Overflow => return Some("too many events wait for one that is missing"),
        }
        None
    }

    fn beat(&mut self, delivery: Option<Delivery>, now: Timestamp) -> Option<&'static str> {
        match delivery {
            Some(Delivery::Event(event)) => {
                if let Ok(beat) = Beat::decode(event.payload.clone()) {
                    self.follower.beat(beat.position, beat.configuration, now);
                    self.publish_progress();
                }
                None
            }
            // The next one says the same.
            Some(Delivery::Lost(_)) => None,
            None => Some("the bus was shut down"),
        }
    }

    fn apply_ready(&mut self) {
        while let Some(event) = self.follower.next_ready() {
            let mut configuration =
                self.shared.configuration.write().unwrap_or_else(PoisonError::into_inner);
            let change = snapshot::apply(&mut configuration, event);
            drop(configuration);
            self.publish_progress();
            if change.is_some() {
                // Nobody listening is fine.
                let _ = self.shared.notices.send(Notice::Changed(change));
            }
        }
    }

    /// Puts a snapshot in the place of everything.
    fn replace(&self, configuration: Configuration) {
        let mut current = self.shared.configuration.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, configuration);
        drop(current);
        drop(before);
        self.publish_progress();
        let _ = self.shared.notices.send(Notice::Everything);
    }

    fn publish_progress(&self) {
        self.shared.position.store(self.follower.position(), Ordering::Release);
        let fresh_at = self.follower.fresh_at().as_micros();
        self.shared.fresh_at.store(fresh_at, Ordering::Release);
    }
}
