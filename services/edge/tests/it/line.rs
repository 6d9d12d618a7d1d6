//! An edge's way to the bus, which can be cut, and slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bus::{
    Announcement, Bus, BusError, ClientSide, Connectivity, Event, InProcessBus, Presence,
    PresenceWatch, Server, Subject, SubjectFilter, Subscription,
};
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

/// The real bus behind a line.
#[derive(Clone)]
pub(crate) struct Line {
    bus: InProcessBus,
    is_cut: Arc<AtomicBool>,
    connectivity: watch::Sender<Connectivity>,
    /// Each exchange with a worker takes a permit before it is opened.
    pub(crate) opens: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
}

impl Line {
    pub(crate) fn new(bus: InProcessBus) -> Self {
        Self {
            bus,
            is_cut: Arc::default(),
            connectivity: watch::Sender::new(Connectivity::Connected),
            opens: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            waiting: Arc::default(),
            opened: Arc::default(),
        }
    }

    /// Nothing is delivered from here any more. What is open stays, and what was published is heard.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.connectivity.send_replace(Connectivity::Disconnected { since: Instant::now() });
    }

    pub(crate) fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
        self.connectivity.send_replace(Connectivity::Connected);
    }

    /// From now on no exchange with a worker is opened until permits are given.
    pub(crate) fn hold(&self) {
        self.opens.forget_permits(usize::MAX);
    }

    /// Exchanges with workers that wait for their permit.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// How often an exchange with a worker was to be opened.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), BusError> {
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(BusError::Unavailable { detail: "the line is cut".to_owned() });
        }
        Ok(())
    }
}

#[async_trait]
impl Bus for Line {
    fn instance(&self) -> &str {
        self.bus.instance()
    }

    fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.connectivity.subscribe()
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
        if subject.as_str().starts_with("x.") {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let permit = self.opens.acquire().await;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            permit.unwrap().forget();
        }
        let opened = async {
            self.check()?;
            self.bus.open(subject, first).await
        };
        let opened = opened.await;
        if subject.as_str().starts_with("x.") {
            self.opened.fetch_add(1, Ordering::SeqCst);
        }
        opened
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
