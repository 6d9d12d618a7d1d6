//! The in-process bus under another name, as if it was that of another process.

use async_trait::async_trait;
use bus::{
    Announcement, Bus, BusError, ClientSide, Connectivity, Event, Presence, PresenceWatch, Server,
    Subject, SubjectFilter, Subscription,
};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) struct Named {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) name: String,
}

#[async_trait]
impl Bus for Named {
    fn instance(&self) -> &str {
        &self.name
    }

    fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.bus.connectivity()
    }

    async fn publish(&self, event: Event) -> Result<(), BusError> {
        self.bus.publish(event).await
    }

    async fn subscribe(
        &self,
        filter: SubjectFilter,
        capacity: usize,
    ) -> Result<Subscription, BusError> {
        self.bus.subscribe(filter, capacity).await
    }

    async fn serve(&self, filter: SubjectFilter, capacity: usize) -> Result<Server, BusError> {
        self.bus.serve(filter, capacity).await
    }

    async fn open(&self, subject: &Subject, first: Bytes) -> Result<ClientSide, BusError> {
        self.bus.open(subject, first).await
    }

    async fn announce(&self, key: Subject, value: Bytes) -> Result<Announcement, BusError> {
        self.bus.announce(key, value).await
    }

    async fn present(&self, filter: &SubjectFilter) -> Result<Vec<Presence>, BusError> {
        self.bus.present(filter).await
    }

    async fn watch(&self, filter: SubjectFilter) -> Result<PresenceWatch, BusError> {
        self.bus.watch(filter).await
    }
}
