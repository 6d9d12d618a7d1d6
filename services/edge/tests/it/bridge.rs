//! A bus on which edges meet each other over NATS, and everybody else inside this process.

use async_trait::async_trait;
use bus::{
    Announcement, Bus, BusError, ClientSide, Connectivity, Event, InProcessBus, NatsBus,
    NatsConfig, Presence, PresenceWatch, Server, Subject, SubjectFilter, Subscription,
};
use bytes::Bytes;
use tokio::sync::watch;

/// What edges say to each other goes over a real server.
#[derive(Clone)]
pub(crate) struct Bridge {
    pub(crate) between: NatsBus,
    inside: InProcessBus,
}

impl Bridge {
    pub(crate) async fn connect(url: &str, namespace: &str, inside: InProcessBus) -> Self {
        let config = NatsConfig {
            urls: vec![url.to_owned()],
            service: "edge",
            nkey_seed: None,
            ca: None,
            namespace: namespace.to_owned(),
            replicas: 1,
        };
        Self { between: NatsBus::connect(config).await.unwrap(), inside }
    }

    fn of(&self, subject: &str) -> &dyn Bus {
        if subject.starts_with("edge.") { &self.between } else { &self.inside }
    }
}

#[async_trait]
impl Bus for Bridge {
    fn instance(&self) -> &str {
        self.between.instance()
    }

    fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.between.connectivity()
    }

    async fn publish(&self, event: Event) -> Result<(), BusError> {
        self.inside.publish(event).await
    }

    async fn subscribe(
        &self,
        filter: SubjectFilter,
        capacity: usize,
    ) -> Result<Subscription, BusError> {
        self.inside.subscribe(filter, capacity).await
    }

    async fn serve(&self, filter: SubjectFilter, capacity: usize) -> Result<Server, BusError> {
        let of = self.of(filter.as_str());
        of.serve(filter, capacity).await
    }

    async fn open(&self, subject: &Subject, first: Bytes) -> Result<ClientSide, BusError> {
        self.of(subject.as_str()).open(subject, first).await
    }

    async fn announce(&self, key: Subject, value: Bytes) -> Result<Announcement, BusError> {
        let of = self.of(key.as_str());
        of.announce(key, value).await
    }

    async fn present(&self, filter: &SubjectFilter) -> Result<Vec<Presence>, BusError> {
        self.of(filter.as_str()).present(filter).await
    }

    async fn watch(&self, filter: SubjectFilter) -> Result<PresenceWatch, BusError> {
        let of = self.of(filter.as_str());
        of.watch(filter).await
    }
}
