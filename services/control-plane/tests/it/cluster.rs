//! Several control planes on one log, one bus and one secret store.

mod away;
mod leading;
mod ownership;
mod postgres;
mod reading;
mod starting;
mod store;
mod unfinished;
mod verifying;
mod worker;

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::{InProcessBus, InProcessConfig};
use control_plane::ownership::OwnershipTimes;
use control_plane::use_case::{Bootstrap, Bootstrapped, Login, bootstrap, login};
use control_plane::{App, Config, ControlPlane, Deps, PublishedMark, views};
use event_store::{EventStore as _, Leases, MemoryEventStore, Position, StoreError};
use runtime::health::HealthRegistry;
use secrecy::ExposeSecret as _;
use secrets::{MemoryStore, SecretStore};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::store::Reached;
use crate::support::{Caller, Owner, TestClock};

/// What the replicas share.
pub(crate) struct Cluster {
    pub(crate) clock: TestClock,
    pub(crate) store: MemoryEventStore,
    pub(crate) bus: InProcessBus,
    pub(crate) mark: Arc<Mark>,
    pub(crate) times: OwnershipTimes,
    pub(crate) edge_gone: Duration,
    secrets: Arc<dyn SecretStore>,
}

/// How far the log is published, in memory: every epoch may move it.
#[derive(Default)]
pub(crate) struct Mark(Mutex<Position>);

#[async_trait]
impl PublishedMark for Mark {
    async fn published(&self) -> Result<Option<Position>, StoreError> {
        Ok(Some(*self.0.lock().unwrap()))
    }

    async fn mark(&self, _epoch: u64, position: Position) -> Result<(), StoreError> {
        *self.0.lock().unwrap() = position;
        Ok(())
    }
}

/// One control plane that leads when it is told to, and whose way to the log can be cut.
pub(crate) struct Replica {
    running: Running,
    pub(crate) lead: watch::Sender<Option<u64>>,
    /// The log as this replica reaches it.
    pub(crate) store: Reached,
}

impl Deref for Replica {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// One control plane.
pub(crate) struct Running {
    pub(crate) app: Arc<App>,
    pub(crate) address: SocketAddr,
    pub(crate) health: HealthRegistry,
    pub(crate) views: PathBuf,
    shutdown: CancellationToken,
    stopped: JoinHandle<()>,
    _folder: TempDir,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let clock = TestClock::starting();
        // What tests wait for comes soon; leases end when the clock is moved.
        let times = OwnershipTimes {
            survey: Duration::ZERO,
            settle: Duration::ZERO,
            unplaced: Duration::from_millis(20),
            ..OwnershipTimes::default()
        };
        Self {
            store: MemoryEventStore::new(clock.clock()),
            bus: InProcessBus::new(InProcessConfig::default()),
            mark: Arc::default(),
            times,
            edge_gone: Duration::from_millis(100),
            secrets: Arc::new(MemoryStore::new()),
            clock,
        }
    }

    /// Starts a replica that does not lead.
    pub(crate) async fn replica(&self) -> Replica {
        let store = Reached::new(self.store.clone());
        let (lead, leadership) = watch::channel(None);
        let deps = Deps {
            store: Arc::new(store.clone()),
            secrets: Arc::clone(&self.secrets),
            bus: Arc::new(self.bus.another_instance()),
            clock: self.clock.clock(),
            ids: Arc::new(Uuid::now_v7),
            leases: Arc::new(store.clone()),
            leadership,
            published: Arc::clone(&self.mark) as Arc<dyn PublishedMark>,
        };
        let (ownership, edge_gone) = (self.times.clone(), self.edge_gone);
        let told = |config| Config { ownership, edge_gone, ..config };
        Replica { running: Running::start(deps, told).await, lead, store }
    }

    /// Two replicas, of which the first leads, and the first owner, who talks to it.
    pub(crate) async fn two(&self) -> (Replica, Replica, Owner) {
        let (one, other) = (self.replica().await, self.replica().await);
        one.lead(1);
        let owner = one.bootstrap().await;
        (one, other, owner)
    }

    /// The lease that the leading replica holds.
    pub(crate) async fn leader_lease(&self, holder: &str) -> u64 {
        let claim = event_store::Claim {
            name: "leader".to_owned(),
            holder: holder.to_owned(),
            ttl: Duration::from_secs(60),
            note: bytes::Bytes::new(),
        };
        let leases = self.store.claim(&[claim]).await.unwrap();
        leases.into_iter().flatten().next().unwrap().epoch
    }

    /// Waits until the views of a replica have everything.
    pub(crate) async fn caught_up(&self, replica: &Replica) {
        let head = self.store.head().await.unwrap();
        replica.app.views().reached(head).await.unwrap();
    }
}

impl Replica {
    pub(crate) fn lead(&self, epoch: u64) {
        self.lead.send_replace(Some(epoch));
    }

    pub(crate) fn follow(&self) {
        self.lead.send_replace(None);
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}

impl Running {
    /// Starts a control plane of a cluster, with a folder of its own.
    pub(crate) async fn start(deps: Deps, told: impl FnOnce(Config) -> Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let views = folder.path().join("views.db");
        views::prepare(&views).await.unwrap();
        let config = Config {
            read_back: Duration::from_secs(5),
            cluster: true,
            ..Config::new(&views, "http://mcp.example.org".parse().unwrap())
        };
        let health = HealthRegistry::default();
        let plane = ControlPlane::build(told(config), deps, &health).await.unwrap();
        let shutdown = CancellationToken::new();
        let handle = plane.run(shutdown.clone()).await.unwrap();
        let (app, router) = (handle.app(), handle.router());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let stopped = tokio::spawn(async move { drop(handle.stopped().await) });
        Self { app, address, health, views, shutdown, stopped, _folder: folder }
    }

    pub(crate) async fn bootstrap(&self) -> Owner {
        let made = bootstrap(&self.app, Bootstrap::default()).await.unwrap();
        let Bootstrapped { tenant, project, first: Some(first) } = made else {
            panic!("not the first start")
        };
        let attempt = Login { email: first.email.clone(), password: first.password.clone() };
        let session = login(&self.app, attempt).await.unwrap();
        let caller = Caller::new(self.address, session.user, session.token.expose_secret());
        Owner { tenant, project, first, caller }
    }

    /// The same person, talking to this replica.
    pub(crate) fn caller(&self, of: &Owner) -> Caller {
        Caller::new(self.address, of.caller.user, of.caller.token())
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.stopped.await.unwrap();
    }
}

/// Waits until `look` sees what it looks for, at most ten seconds.
pub(crate) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), looking).await.unwrap()
}
