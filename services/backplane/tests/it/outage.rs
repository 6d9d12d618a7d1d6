//! A bus that can be away, with another one behind it: what is asked meanwhile fails at once, what
//! is published is lost, and who subscribed is told so afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::{
    Announcement, Bus, BusError, ClientSide, Connectivity, Event, InProcessBus, Presence,
    PresenceWatch, Server, Subject, SubjectFilter, Subscription,
};
use bytes::Bytes;
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Outage {
    bus: InProcessBus,
    is_away: Arc<AtomicBool>,
}

impl Outage {
    pub(crate) fn over(bus: InProcessBus) -> Self {
        Self { bus, is_away: Arc::default() }
    }

    pub(crate) fn begin(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), BusError> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(BusError::Unavailable { detail: "it is away".to_owned() }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Bus for Outage {
    fn instance(&self) -> &str {
        self.bus.instance()
    }

    fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.bus.connectivity()
    }

    async fn publish(&self, event: Event) -> Result<(), BusError> {
        self.check()?;
        self.bus.publish(event).await
    }

    async fn subscribe(
        &self,
        filter: SubjectFilter,
        capacity: usize,
    ) -> Result<Subscription, BusError> {
        self.check()?;
        self.bus.subscribe(filter, capacity).await
    }

    async fn serve(&self, filter: SubjectFilter, capacity: usize) -> Result<Server, BusError> {
        self.check()?;
        self.bus.serve(filter, capacity).await
    }

    async fn open(&self, subject: &Subject, first: Bytes) -> Result<ClientSide, BusError> {
        self.check()?;
        self.bus.open(subject, first).await
    }

    async fn request(
        &self,
        subject: &Subject,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, BusError> {
        self.check()?;
        self.bus.request(subject, payload, timeout).await
    }

    async fn announce(&self, key: Subject, value: Bytes) -> Result<Announcement, BusError> {
        self.check()?;
        self.bus.announce(key, value).await
    }

    async fn present(&self, filter: &SubjectFilter) -> Result<Vec<Presence>, BusError> {
        self.check()?;
        self.bus.present(filter).await
    }

    async fn watch(&self, filter: SubjectFilter) -> Result<PresenceWatch, BusError> {
        self.check()?;
        self.bus.watch(filter).await
    }
}
