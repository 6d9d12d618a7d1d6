//! Several edges on one bus, each as if it was a process of its own: it can be killed.

use std::sync::Arc;
use std::time::Duration;

use authz::Authorizer;
use backplane::{Journal, JournalConfig, Replica, ReplicaHandle};
use bus::{Bus, SharedMemory, Subject};
use edge::{Edge, EdgeConfig, EdgeDeps, EdgeLimits};
use secrecy::SecretBox;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::bridge::Bridge;
use crate::client::Client;
use crate::stage::{soon, until};
use crate::world::{KEY, World};

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(15), waiting).await;
    assert!(reached.is_ok(), "not reached: {what}");
}

/// One edge.
pub(crate) struct Member {
    pub(crate) url: String,
    pub(crate) instance: String,
    replica: ReplicaHandle,
    shutdown: CancellationToken,
    ended: tokio::sync::watch::Receiver<bool>,
    /// All that it runs.
    runtime: Option<Runtime>,
}

impl Member {
    async fn start(world: &World, between: &Between, limits: EdgeLimits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (end, ended) = tokio::sync::watch::channel(false);
        let shutdown = CancellationToken::new();
        let (stop, world, between) = (shutdown.clone(), world.clone(), between.clone());
        runtime.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let inside = world.bus.another_instance();
            let (bus, memory): (Arc<dyn Bus>, Arc<dyn SharedMemory>) = match between {
                Between::Process => (Arc::new(inside.clone()), Arc::new(inside)),
                Between::Nats { url, namespace } => {
                    let bridge = Bridge::connect(&url, &namespace, inside).await;
                    (Arc::new(bridge.clone()), Arc::new(bridge.between))
                }
            };
            let (edge, replica) = build(&world, &bus, memory, limits).await;
            let router = edge.router();
            tokio::spawn(async move { axum::serve(listener, router).await });
            let _ = sender.send((url, bus.instance().to_owned(), replica));
            edge.run(stop, Duration::from_secs(5)).await;
            let _ = end.send(true);
        });
        let (url, instance, replica) = soon(receiver).await.unwrap();
        Self { url, instance, replica, shutdown, ended, runtime: Some(runtime) }
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Tells it to end, as a supervisor does.
    pub(crate) fn terminate(&self) {
        self.shutdown.cancel();
    }

    /// Waits until it has ended, and takes it away.
    pub(crate) async fn ended(&mut self) {
        soon(self.ended.wait_for(|ended| *ended)).await.unwrap();
        self.kill();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn build(
    world: &World,
    bus: &Arc<dyn Bus>,
    memory: Arc<dyn SharedMemory>,
    limits: EdgeLimits,
) -> (Edge, ReplicaHandle) {
    let config = EdgeConfig {
        public_url: "https://mcp.example.com/gateway".to_owned(),
        loopback: true,
        allowed_origins: Vec::new(),
        shared_sessions: true,
        cluster: false,
        limits,
    };
    let bus = Arc::clone(bus);
    let background = CancellationToken::new();
    let replica = Replica::start(Arc::clone(&bus), "edge", world.clock(), background.clone());
    let journal =
        JournalConfig { record_timeout: Duration::from_millis(500), ..JournalConfig::default() };
    let journal = Journal::start(Arc::clone(&bus), journal, background);
    let deps = EdgeDeps {
        bus,
        replica: replica.clone(),
        journal,
        authorizer: Arc::new(Authorizer::new().await.unwrap()),
        clock: world.clock(),
        shared: memory,
        state_key: SecretBox::new(Box::new([7; 32])),
    };
    (Edge::build(config, deps), replica)
}

/// How edges meet each other.
#[derive(Clone)]
enum Between {
    /// Inside this process.
    Process,
    /// Over a real server.
    Nats { url: String, namespace: String },
}

/// Edges that share their sessions.
pub(crate) struct Fleet {
    pub(crate) world: World,
    /// What they share.
    pub(crate) memory: Arc<dyn SharedMemory>,
    pub(crate) edges: Vec<Member>,
    http: reqwest::Client,
}

impl Fleet {
    pub(crate) async fn start(edges: usize, limits: EdgeLimits) -> Self {
        let world = World::start().await;
        let (bus, memory) = (Arc::new(world.bus.clone()), Arc::new(world.bus.clone()));
        Self::meeting(world, (bus, memory), Between::Process, edges, limits).await
    }

    /// Edges that meet over a real server.
    pub(crate) async fn over_nats(edges: usize, limits: EdgeLimits) -> Self {
        let (url, namespace) = (fixtures::nats::url().unwrap(), fixtures::nats::namespace());
        let world = World::start().await;
        let bridge = Bridge::connect(&url, &namespace, world.bus.another_instance()).await;
        let (bus, memory) = (Arc::new(bridge.clone()), Arc::new(bridge.between));
        Self::meeting(world, (bus, memory), Between::Nats { url, namespace }, edges, limits).await
    }

    async fn meeting(
        world: World,
        (bus, memory): (Arc<dyn Bus>, Arc<dyn SharedMemory>),
        between: Between,
        edges: usize,
        limits: EdgeLimits,
    ) -> Self {
        let mut members = Vec::new();
        for _ in 0..edges {
            members.push(Member::start(&world, &between, limits.clone()).await);
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let fleet = Self { world, memory, edges: members, http };
        for member in &fleet.edges {
            soon(member.replica.ready()).await.unwrap();
            let key = backplane::subject::edge(&member.instance).unwrap().into();
            let is_there = async || !bus.present(&key).await.unwrap().is_empty();
            eventually("the edge is there for others", is_there).await;
        }
        fleet
    }

    /// Waits until all edges that live know all that was written.
    pub(crate) async fn settled(&self) {
        let position = self.world.position();
        for member in self.edges.iter().filter(|member| member.runtime.is_some()) {
            let is_there = || member.replica.position() >= position;
            until("the replica is up to date", is_there).await;
        }
    }

    /// Whether an edge was not killed.
    pub(crate) fn is_alive(&self, edge: usize) -> bool {
        self.edges[edge].runtime.is_some()
    }

    /// A client of one edge, with the Owner's key.
    pub(crate) fn client(&self, edge: usize) -> Client {
        self.client_with(edge, KEY)
    }

    pub(crate) fn client_with(&self, edge: usize, key: &str) -> Client {
        let base = format!("{}/projects/search/unified", self.edges[edge].url);
        Client::new(self.http.clone(), base, key)
    }

    /// The same client, as its balancer sends it to another edge.
    pub(crate) fn moved(&self, client: &Client, edge: usize) -> Client {
        let mut moved = client.clone();
        moved.base = format!("{}/projects/search/unified", self.edges[edge].url);
        moved
    }

    /// The key of a session's record.
    pub(crate) fn record_key(&self, client: &Client) -> Subject {
        let id = client.session.as_ref().unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, id.as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Subject::new(format!("mcp_session.{hex}")).unwrap()
    }

    /// Whether a session has a record.
    pub(crate) async fn is_shared(&self, client: &Client) -> bool {
        self.memory.read(&self.record_key(client)).await.unwrap().is_some()
    }
}
