//! The bus between processes, on NATS servers.
//!
//! Everything of a process goes over one connection, under one namespace, so that several
//! installations share a server. Events under `evt.` are also kept in a JetStream stream, which
//! recognizes repetitions; all others are fleeting. Whoever subscribed hears both directly, and is
//! told of a possible loss after each break of the connection.
//!
//! Exchanges are messages between the inboxes of two processes, numbered and within the window of
//! their reader; see `link`. Processes that share exchanges beat for each other: one that died is
//! noticed within 4 s, one that leaves says so. A connection that breaks for less than that breaks
//! no exchange, unless one of its messages was lost: both sides compare what they sent, after each
//! break and every 10 s.
//!
//! What always holds, besides what the crate promises: an exchange whose server died or fell
//! silent ends as [`BusError::Closed`], also if nobody is known to have taken the request, because
//! nobody can know; [`BusError::NoResponders`] comes only from the bus itself, or from a server
//! that is there and says so. Between several publishers subscribers may see different orders.

mod audit;
mod connection;
mod core;
mod events;
mod exchanges;
mod link;
mod links;
mod memory;
mod message;
mod names;
mod outbox;
mod peers;
mod presence;
mod pulse;
mod roll;
mod router;
mod stream;
mod text;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use secrecy::SecretString;
use tokio::sync::watch;

use self::core::Core;
use self::names::Names;
use crate::{
    Announcement, Bus, BusError, ClientSide, Connectivity, Event, Presence, PresenceWatch, Server,
    Subject, SubjectFilter, Subscription, connectivity,
};

pub use stream::{Rebuild, rebuild};

/// The namespace of an installation that has its servers for itself.
pub const DEFAULT_NAMESPACE: &str = "mcp_orch";

/// How a process reaches its NATS servers.
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// Where the servers are: `nats://host:port` or `tls://host:port`.
    pub urls: Vec<String>,
    /// What this process is: `control-plane`, `worker` or `edge`. Replies to it go to subjects
    /// that begin with it.
    pub service: &'static str,
    /// The seed of the service's NKey; `None` where the server asks for none.
    pub nkey_seed: Option<SecretString>,
    /// The certificate authority (PEM) that signed the servers' certificates. With one, TLS is
    /// required.
    pub ca: Option<PathBuf>,
    /// First token of all subjects, so that several installations share a server: letters,
    /// digits, `_` and `-`.
    pub namespace: String,
    /// On how many servers JetStream keeps a message.
    pub replicas: u8,
}

/// The bus between processes, on NATS servers. Clones are handles to the same connection; when
/// the last one is dropped, this process leaves the bus: its exchanges end, and others are told.
#[derive(Debug, Clone)]
pub struct NatsBus {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.close();
    }
}

impl NatsBus {
    /// Connects to one of the servers. Afterwards it connects again by itself, for as long as it
    /// takes.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when none answers, refuses this service, or is older than 2.10.
    pub async fn connect(config: NatsConfig) -> Result<Self, BusError> {
        let instance = connectivity::new_instance();
        let names = Names::new(&config.namespace, config.service, &instance)?;
        let connection = connection::connect(&config, &names, &instance).await?;
        let core = Arc::new(Core::new(connection, names, instance, config.replicas));
        let inbox = core.client.subscribe(format!("{}.>", core.inbox)).await;
        let inbox = inbox.map_err(|error| connection::away(&error.to_string()))?;
        let handle = Arc::new(Handle { core: Arc::clone(&core) });
        tokio::spawn(core::pump(Arc::clone(&core)));
        tokio::spawn(router::route(Arc::clone(&core), inbox));
        tokio::spawn(pulse::beat(Arc::clone(&core)));
        tokio::spawn(pulse::recover(Arc::clone(&core)));
        core.round_trip().await?;
        Ok(Self { handle })
    }

    /// Leaves the bus, and waits until others were told, at most 2 s. What is used afterwards is
    /// refused as [`BusError::Unavailable`].
    pub async fn close(&self) {
        self.core().close();
        self.core().silent.cancelled().await;
    }

    fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }
}

#[async_trait]
impl Bus for NatsBus {
    fn instance(&self) -> &str {
        &self.core().instance
    }

    fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.core().signals.connectivity.subscribe()
    }

    async fn publish(&self, event: Event) -> Result<(), BusError> {
        self.core().publish(event).await
    }

    async fn subscribe(
        &self,
        filter: SubjectFilter,
        capacity: usize,
    ) -> Result<Subscription, BusError> {
        self.core().subscribe(filter, capacity).await
    }

    async fn serve(&self, filter: SubjectFilter, capacity: usize) -> Result<Server, BusError> {
        self.core().serve(filter, capacity).await
    }

    async fn open(&self, subject: &Subject, first: Bytes) -> Result<ClientSide, BusError> {
        self.core().open(subject, first).await
    }

    async fn announce(&self, key: Subject, value: Bytes) -> Result<Announcement, BusError> {
        self.core().announce(key, value).await
    }

    async fn present(&self, filter: &SubjectFilter) -> Result<Vec<Presence>, BusError> {
        self.core().present(filter).await
    }

    async fn watch(&self, filter: SubjectFilter) -> Result<PresenceWatch, BusError> {
        self.core().watch(filter).await
    }
}
