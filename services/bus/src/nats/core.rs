//! What all parts of the adapter share, and the tasks that keep it going.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Subscriber, jetstream};
use tokio::sync::{OnceCell, oneshot};
use tokio_util::sync::CancellationToken;

use super::connection::{Signals, away};
use super::links::Links;
use super::names::Names;
use super::outbox::{Item, Outbox};
use super::peers::{Peer, Peers};
use super::roll::Roll;
use super::{audit, router};
use crate::{BusError, Connectivity};

/// How long the server may take to show that it did what it was told.
const ROUND_TRIP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last words of this process may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is looked whether they are complete.
const FAREWELL_PAUSE: Duration = Duration::from_millis(2);
/// Most subscriptions and servers together, and most watches.
pub(super) const MAX_REGISTRATIONS: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) client: Client,
    pub(super) jetstream: jetstream::Context,
    pub(super) names: Names,
    pub(super) instance: Arc<str>,
    /// Where others send to this process, without the last token.
    pub(super) inbox: String,
    pub(super) replicas: usize,
    pub(super) signals: Arc<Signals>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) links: Links,
    pub(super) peers: Peers,
    pub(super) roll: Arc<Roll>,
    /// Set once this process hears of the presence of all.
    pub(super) watching: OnceCell<()>,
    /// Our beats that came back to us; and the one that is under way.
    pub(super) beats: AtomicU64,
    pub(super) beat_under_way: AtomicU64,
    pub(super) registrations: AtomicUsize,
    pub(super) round_trips: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    next_round_trip: AtomicU64,
    /// Whether this process saw to it that these streams are there.
    pub(super) has_event_stream: AtomicBool,
    pub(super) has_trail_stream: AtomicBool,
    /// The bus was shut down; and its last words are said.
    pub(super) closed: CancellationToken,
    pub(super) silent: CancellationToken,
}

impl Core {
    pub(super) fn new(
        (client, signals): (Client, Arc<Signals>),
        names: Names,
        instance: Arc<str>,
        replicas: u8,
    ) -> Self {
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(ROUND_TRIP_TIMEOUT);
        Self {
            client,
            jetstream,
            inbox: names.inbox(),
            names,
            instance,
            replicas: usize::from(replicas.max(1)),
            signals,
            outbox: Arc::default(),
            links: Links::default(),
            peers: Peers::default(),
            roll: Arc::default(),
            watching: OnceCell::new(),
            beats: AtomicU64::new(1),
            beat_under_way: AtomicU64::new(0),
            registrations: AtomicUsize::new(0),
            round_trips: Mutex::default(),
            next_round_trip: AtomicU64::new(0),
            has_event_stream: AtomicBool::new(false),
            has_trail_stream: AtomicBool::new(false),
            closed: CancellationToken::new(),
            silent: CancellationToken::new(),
        }
    }

    /// Our beats that came back to us so far.
    pub(super) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`BusError::Unavailable`] if the bus cannot be reached now.
    pub(super) fn check_reachable(&self) -> Result<(), BusError> {
        if self.closed.is_cancelled() {
            return Err(away("the bus was shut down"));
        }
        self.check_connected()
    }

    fn check_connected(&self) -> Result<(), BusError> {
        match *self.signals.connectivity.borrow() {
            Connectivity::Connected => Ok(()),
            Connectivity::Disconnected { since } => {
                let seconds = since.elapsed().as_secs();
                Err(away(&format!("not connected since {seconds} s")))
            }
        }
    }

    /// Waits for an answer of the server, but not for a server that is away.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] as soon as the connection is lost.
    pub(super) async fn while_connected<T>(
        &self,
        answer: impl Future<Output = T>,
    ) -> Result<T, BusError> {
        self.check_connected()?;
        let mut connectivity = self.signals.connectivity.subscribe();
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            _ = connectivity.wait_for(|connectivity| !connectivity.is_connected()) => {
                Err(away("the connection was lost"))
            }
            () = self.silent.cancelled() => Err(away("the bus was shut down")),
        }
    }

    /// Returns once the server did what it was told before.
    pub(super) async fn round_trip(&self) -> Result<(), BusError> {
        self.check_connected()?;
        let number = self.next_round_trip.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting_for_round_trips(|waiting| waiting.insert(number, sender));
        let subject = format!("{}.{}", self.inbox, router::ROUND_TRIP);
        let payload = number.to_be_bytes().to_vec().into();
        let trip = async {
            self.client
                .publish(subject, payload)
                .await
                .map_err(|error| away(&error.to_string()))?;
            receiver.await.map_err(|_| away("the bus was shut down"))
        };
        let trip = tokio::time::timeout(ROUND_TRIP_TIMEOUT, trip);
        let outcome = self.while_connected(trip).await;
        self.waiting_for_round_trips(|waiting| waiting.remove(&number));
        outcome?.unwrap_or_else(|_| Err(away("the server did not answer in time")))
    }

    fn waiting_for_round_trips<T>(
        &self,
        change: impl FnOnce(&mut HashMap<u64, oneshot::Sender<()>>) -> T,
    ) -> T {
        change(&mut self.round_trips.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a subscription or a server.
    ///
    /// # Errors
    /// [`BusError::Busy`] at the limit.
    pub(super) fn register(self: &Arc<Self>, limit: &'static str) -> Result<Registered, BusError> {
        if self.registrations.fetch_add(1, Ordering::Relaxed) >= MAX_REGISTRATIONS {
            self.registrations.fetch_sub(1, Ordering::Relaxed);
            return Err(BusError::Busy { limit });
        }
        Ok(Registered(Arc::clone(self)))
    }

    /// Subscribes, and returns once the server knows of it.
    pub(super) async fn subscribed(&self, subject: String) -> Result<Subscriber, BusError> {
        self.check_reachable()?;
        let subscriber = self.client.subscribe(subject).await;
        let subscriber = subscriber.map_err(|error| away(&error.to_string()))?;
        self.round_trip().await?;
        Ok(subscriber)
    }

    /// Waits until the server is there, and knows of all subscriptions.
    pub(super) async fn subscribed_again(&self) {
        let mut connectivity = self.signals.connectivity.subscribe();
        loop {
            // An error is the end of the bus, which others see.
            let _ = connectivity.wait_for(|connectivity| connectivity.is_connected()).await;
            if self.round_trip().await.is_ok() || self.closed.is_cancelled() {
                return;
            }
        }
    }

    /// Ends everything, and lets others know.
    pub(super) fn close(&self) {
        if self.closed.is_cancelled() {
            return;
        }
        for link in self.links.all() {
            link.close();
        }
        for (key, notice) in self.roll.own() {
            self.withdraw(&key, &notice);
        }
        self.roll.close();
        self.closed.cancel();
    }
}

/// A place among the registrations; given back on drop.
#[derive(Debug)]
pub(super) struct Registered(Arc<Core>);

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.registrations.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends what the outbox has, until the bus is shut down and the last words are said.
pub(super) async fn pump(core: Arc<Core>) {
    while !core.closed.is_cancelled() {
        while let Some(item) = core.outbox.try_next() {
            tokio::select! {
                biased;
                () = send(&core, item) => {}
                () = core.closed.cancelled() => break,
            }
        }
        tokio::select! {
            () = core.outbox.changed() => {}
            () = core.closed.cancelled() => {}
        }
    }
    let last_words = async {
        loop {
            while let Some(item) = core.outbox.try_next() {
                send(&core, item).await;
            }
            // Those that serve refuse what is on its way to them still.
            if core.registrations.load(Ordering::Relaxed) == 0 {
                break;
            }
            tokio::time::sleep(FAREWELL_PAUSE).await;
        }
        while let Some(item) = core.outbox.try_next() {
            send(&core, item).await;
        }
        let _ = core.client.flush().await;
    };
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, last_words).await;
    core.silent.cancel();
}

async fn send(core: &Core, item: Item) {
    match item {
        Item::Link(link) => {
            link.begin_turn();
            while let Some(message) = link.next_message() {
                publish(core, message.subject, message.payload).await;
            }
            if link.is_over() {
                core.links.remove(link.id());
            }
        }
        Item::Message { subject, payload } => publish(core, subject, payload).await,
        Item::Audit(peer) => send_audits(core, peer.as_deref()).await,
    }
}

async fn publish(core: &Core, subject: String, payload: bytes::Bytes) {
    // Waits while the connection is away. What is lost shows as a gap.
    if let Err(error) = core.client.publish(subject, payload).await {
        tracing::debug!(%error, "a message could not be sent");
    }
}

/// Sent from here, so that it comes after all that it counts.
async fn send_audits(core: &Core, only: Option<&Peer>) {
    let mut by_inbox: HashMap<String, Vec<audit::Progress>> = HashMap::new();
    for (peer, progress) in core.links.all().iter().filter_map(|link| link.progress()) {
        if only.is_none_or(|only| only.inbox() == peer.inbox()) {
            match by_inbox.get_mut(peer.inbox()) {
                Some(entries) => entries.push(progress),
                None => {
                    by_inbox.insert(peer.inbox().to_owned(), vec![progress]);
                }
            }
        }
    }
    for (inbox, entries) in by_inbox {
        for entries in entries.chunks(audit::MAX_ENTRIES) {
            let payload = audit::encode(&core.inbox, entries);
            publish(core, format!("{inbox}.{}", router::AUDIT), payload).await;
        }
    }
}
