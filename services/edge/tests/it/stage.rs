//! A running edge with its world.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use authz::Authorizer;
use backplane::{Journal, JournalConfig, Replica, ReplicaHandle};
use bus::Bus;
use edge::{Edge, EdgeConfig, EdgeDeps, EdgeLimits};
use secrecy::SecretBox;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::line::Line;
use crate::world::{KEY, World};

/// Fails instead of hanging.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(15), future).await.expect("took too long")
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(15), waiting).await;
    assert!(reached.is_ok(), "not reached: {what}");
}

/// Limits with which only what says something before its answer becomes a stream, however slow the
/// machine is.
pub(crate) fn patient() -> EdgeLimits {
    EdgeLimits { early_stream: Duration::from_secs(60), ..EdgeLimits::default() }
}

/// How an edge is set up.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) limits: EdgeLimits,
    pub(crate) journal: JournalConfig,
    pub(crate) cluster: bool,
}

pub(crate) struct Stage {
    pub(crate) world: World,
    /// The edge's way to the bus.
    pub(crate) line: Line,
    /// Scheme, host and port.
    pub(crate) url: String,
    pub(crate) replica: ReplicaHandle,
    pub(crate) http: reqwest::Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: Option<JoinHandle<()>>,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::with(EdgeLimits::default()).await
    }

    pub(crate) async fn with(limits: EdgeLimits) -> Self {
        Self::with_journal(limits, JournalConfig::default()).await
    }

    pub(crate) async fn with_journal(limits: EdgeLimits, journal: JournalConfig) -> Self {
        Self::of(Setup { limits, journal, ..Setup::default() }).await
    }

    /// An edge whose servers move between workers.
    pub(crate) async fn in_cluster(limits: EdgeLimits) -> Self {
        Self::of(Setup { limits, cluster: true, ..Setup::default() }).await
    }

    pub(crate) async fn of(setup: Setup) -> Self {
        let Setup { limits, journal, cluster } = setup;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = EdgeConfig {
            public_url: "https://mcp.example.com/gateway".to_owned(),
            loopback: true,
            allowed_origins: vec!["https://console.example.com".to_owned()],
            shared_sessions: false,
            cluster,
            limits,
        };
        let world = World::start().await;
        let line = Line::new(world.bus.clone());
        let bus: Arc<dyn Bus> = Arc::new(line.clone());
        let background = CancellationToken::new();
        let replica = Replica::start(Arc::clone(&bus), "edge", world.clock(), background.clone());
        let journal_config =
            JournalConfig { record_timeout: Duration::from_millis(500), ..journal };
        let journal = Journal::start(Arc::clone(&bus), journal_config, background);
        let deps = EdgeDeps {
            bus,
            replica: replica.clone(),
            journal,
            authorizer: Arc::new(Authorizer::new().await.unwrap()),
            clock: world.clock(),
            shared: Arc::new(world.bus.clone()),
            state_key: SecretBox::new(Box::new([7; 32])),
        };
        let edge = Edge::build(config, deps);
        let shutdown = CancellationToken::new();
        let router = edge.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let stop = shutdown.clone();
        let running = tokio::spawn(async move { edge.run(stop, Duration::from_secs(10)).await });
        soon(replica.ready()).await.unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            world,
            line,
            url: format!("http://{address}"),
            replica,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            shutdown,
            running: Some(running),
        }
    }

    /// Waits until the edge knows all that was written.
    pub(crate) async fn settled(&self) {
        let position = self.world.position();
        until("the replica is up to date", || self.replica.position() >= position).await;
    }

    /// A client of the unified endpoint, with the Owner's key.
    pub(crate) fn client(&self) -> Client {
        self.client_of("/projects/search/unified", KEY)
    }

    pub(crate) fn client_of(&self, place: &str, key: &str) -> Client {
        Client::new(self.http.clone(), format!("{}{place}", self.url), key)
    }

    /// A client whose session is open.
    pub(crate) async fn opened(&self) -> Client {
        self.settled().await;
        let mut client = self.client();
        client.initialize("2025-06-18").await;
        client
    }
}
