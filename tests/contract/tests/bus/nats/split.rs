//! A bus of which one process speaks and another one hears.

use async_trait::async_trait;
use bus::{
    Announcement, Bus, BusError, ClientSide, Connectivity, Event, NatsBus, Presence, PresenceWatch,
    Server, Subject, SubjectFilter, Subscription,
};
use bytes::Bytes;
use tokio::sync::watch;

use super::{config, connect, url};

pub(super) struct Split {
    speaks: NatsBus,
    hears: NatsBus,
}

impl Split {
    pub(super) async fn connect() -> Self {
        let namespace = fixtures::nats::namespace();
        let speaks = connect(config("control-plane", &url(), &namespace)).await;
        let hears = connect(config("worker", &url(), &namespace)).await;
        Self { speaks, hears }
    }
}

#[async_trait]
impl Bus for Split {
    fn instance(&self) -> &str {
        self.speaks.instance()
    }

    fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.speaks.connectivity()
    }

    async fn publish(&self, event: Event) -> Result<(), BusError> {
        self.speaks.publish(event).await
    }

    async fn subscribe(
        &self,
        filter: SubjectFilter,
        capacity: usize,
    ) -> Result<Subscription, BusError> {
        self.hears.subscribe(filter, capacity).await
    }

    async fn serve(&self, filter: SubjectFilter, capacity: usize) -> Result<Server, BusError> {
        self.hears.serve(filter, capacity).await
    }

    async fn open(&self, subject: &Subject, first: Bytes) -> Result<ClientSide, BusError> {
        self.speaks.open(subject, first).await
    }

    async fn announce(&self, key: Subject, value: Bytes) -> Result<Announcement, BusError> {
        self.speaks.announce(key, value).await
    }

    async fn present(&self, filter: &SubjectFilter) -> Result<Vec<Presence>, BusError> {
        self.hears.present(filter).await
    }

    async fn watch(&self, filter: SubjectFilter) -> Result<PresenceWatch, BusError> {
        self.hears.watch(filter).await
    }
}
