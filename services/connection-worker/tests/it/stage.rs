//! A worker and what it needs around it.

mod authority;
mod conformance;
mod fellow;
mod named;
mod record;
mod vault;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backplane::exchange::{Exchange, Frame};
use backplane::{Clock, Journal, JournalConfig, LeaseHandle, Replica};
use bus::{Bus, InProcessBus};
use bytes::Bytes;
use connection_worker::{ReaperCommand, Worker, WorkerConfig, WorkerDeps, WorkerHandle};
use domain::connection::{ConnectionState, Observation};
use domain::event::ServerEvent;
use domain::server::{HttpTarget, Isolation, ServerConfig, ServerName, Transport};
use domain::{EventId, ProjectId, SecretRef, ServerId, StreamKind, TenantId, Timestamp};
use events::ConnectionView;
use proto::internal::v1::{
    ExchangeKind, ExchangeOpen, Finished, Notification, Peer, ServerRequest, finished,
};
use secrets::{SecretPath, SecretStore, SecretValue};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use self::authority::Authority;
pub(crate) use self::conformance::conformance;
pub(crate) use self::record::Record;
use self::vault::Vault;

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Stage {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) record: Arc<Record>,
    lease: LeaseHandle,
    pub(crate) secrets: Arc<Vault>,
    shutdown: CancellationToken,
    /// What must live longer than the worker.
    surroundings: CancellationToken,
    worker: Option<WorkerHandle>,
    servers: AtomicU64,
}

pub(crate) fn tenant() -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(7))
}

pub(crate) fn project() -> ProjectId {
    "project".parse().unwrap()
}

fn clock() -> Clock {
    static NOW: AtomicU64 = AtomicU64::new(1);
    Arc::new(|| {
        let now = NOW.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_micros(i64::try_from(now).unwrap())
    })
}

pub(crate) fn reaper() -> ReaperCommand {
    let running = std::env::current_exe().unwrap();
    let program = running.ancestors().nth(2).unwrap().join("examples/reaper");
    assert!(program.is_file(), "no {}: build the examples", program.display());
    ReaperCommand { program, args: vec![] }
}

impl Stage {
    /// A worker with nothing to do.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A worker with another configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut WorkerConfig)) -> Self {
        let mut stage = Self::empty().await;
        let mut config = WorkerConfig::new(reaper());
        change(&mut config);
        stage.start(config).await;
        stage
    }

    /// A record and no worker.
    pub(crate) async fn empty() -> Self {
        Self::over(Arc::new(InProcessBus::default())).await
    }

    /// The same over another bus.
    pub(crate) async fn over(bus: Arc<dyn Bus>) -> Self {
        let surroundings = CancellationToken::new();
        let record = Record::start(&bus).await;
        Self {
            bus,
            record,
            lease: LeaseHandle::all(),
            secrets: Arc::new(Vault::new()),
            shutdown: CancellationToken::new(),
            surroundings,
            worker: None,
            servers: AtomicU64::new(1),
        }
    }

    async fn start(&mut self, config: WorkerConfig) {
        let bus = Arc::clone(&self.bus);
        let journal =
            Journal::start(Arc::clone(&bus), JournalConfig::default(), self.surroundings.clone());
        let replica =
            Replica::start(Arc::clone(&bus), "worker", clock(), self.surroundings.clone());
        let deps = WorkerDeps {
            bus,
            secrets: Arc::clone(&self.secrets) as Arc<dyn SecretStore>,
            lease: self.lease.clone(),
            replica,
            journal,
            clock: clock(),
            event_ids: Arc::new(|| EventId::from_uuid(Uuid::now_v7())),
            random: Arc::new(|| 0.0),
        };
        let worker = Worker::build(config, deps).await.unwrap();
        self.worker = Some(worker.run(self.shutdown.clone()));
    }

    /// Registers a server with what is secret of it.
    pub(crate) async fn register(&self, transport: Transport, launch: Value) -> ServerId {
        self.register_with(transport, launch, |_| {}).await
    }

    pub(crate) async fn register_with(
        &self,
        transport: Transport,
        launch: Value,
        change: impl FnOnce(&mut ServerConfig),
    ) -> ServerId {
        let server = self.announce_with(transport, launch, change).await;
        // From then on it is served.
        self.until(server, |view| view.observed_at.is_some()).await;
        server
    }

    /// Registers a server that need not be served.
    pub(crate) async fn announce(&self, transport: Transport, launch: Value) -> ServerId {
        self.announce_with(transport, launch, |_| {}).await
    }

    async fn announce_with(
        &self,
        transport: Transport,
        launch: Value,
        change: impl FnOnce(&mut ServerConfig),
    ) -> ServerId {
        let number = self.servers.fetch_add(1, Ordering::Relaxed);
        let server = ServerId::from_uuid(Uuid::from_u128(u128::from(number)));
        let mut config = self.config(server, transport, launch).await;
        change(&mut config);
        let name = ServerName::parse("name", &format!("server-{number}")).unwrap();
        let event = ServerEvent::Registered { project: project(), name, config, disabled: false };
        self.change(server, event).await;
        server
    }

    /// A configuration whose secret values are sealed as the next version.
    pub(crate) async fn config(
        &self,
        server: ServerId,
        transport: Transport,
        launch: Value,
    ) -> ServerConfig {
        let path = format!("servers/{server}/launch");
        let secret = SecretPath::new(tenant(), &path).unwrap();
        let sealed =
            self.secrets.put(&secret, SecretValue::from(launch.to_string())).await.unwrap();
        ServerConfig {
            transport,
            launch: Some(SecretRef { path, version: sealed.version() }),
            timeout_s: 20,
            read_timeout_s: Some(30),
            auto_approve: vec![],
            isolation: Isolation::default(),
            placement_labels: Default::default(),
        }
    }

    pub(crate) async fn change(&self, server: ServerId, event: ServerEvent) {
        self.record.append(StreamKind::Server, server, domain::Event::Server(event)).await;
    }

    /// Waits until what is recorded of a server is as wanted.
    pub(crate) async fn until(
        &self,
        server: ServerId,
        wanted: impl Fn(&ConnectionView) -> bool,
    ) -> Arc<ConnectionView> {
        self.record.until(server, wanted).await
    }

    /// Waits for a state, and returns what was observed with it.
    pub(crate) async fn until_state(
        &self,
        server: ServerId,
        state: ConnectionState,
    ) -> Observation {
        self.until(server, |view| view.observed_at.is_some() && view.observation.state == state)
            .await
            .observation
            .clone()
    }

    pub(crate) async fn open(&self, server: ServerId, open: &ExchangeOpen) -> Exchange {
        Exchange::open(&*self.bus, server, open).await.unwrap()
    }

    /// Calls a tool and waits for the end.
    pub(crate) async fn call(&self, server: ServerId, tool: &str, arguments: Value) -> Finished {
        let open = open(server, tool, arguments);
        let exchange = self.open(server, &open).await;
        finish(&exchange).await.1
    }

    /// Ends the worker, and starts another one on the same record.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.shutdown = CancellationToken::new();
        self.start(WorkerConfig::new(reaper())).await;
    }

    /// Ends the worker and waits for it.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(worker) = self.worker.take() {
            tokio::time::timeout(LIMIT, worker.stopped()).await.unwrap();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.surroundings.cancel();
    }
}

/// The request of a tool's call.
pub(crate) fn open(server: ServerId, tool: &str, arguments: Value) -> ExchangeOpen {
    let params = json!({"name": tool, "arguments": arguments});
    ExchangeOpen {
        tenant: tenant().to_string(),
        project: project().to_string(),
        server: server.to_string(),
        call_id: Uuid::now_v7().to_string(),
        method: "tools/call".to_owned(),
        params: Bytes::from(params.to_string()),
        record: true,
        ..ExchangeOpen::default()
    }
}

/// An attachment, or a request, of a client.
pub(crate) fn of_peer(mut open: ExchangeOpen, peer: &Peer) -> ExchangeOpen {
    open.peer = Some(peer.clone());
    open
}

/// A client with a session of that name and these capabilities.
pub(crate) fn peer(session: &str, capabilities: &Value) -> Peer {
    Peer {
        session: session.to_owned(),
        capabilities: Bytes::from(capabilities.to_string()),
        client_info: Bytes::from_static(br#"{"name":"a client","version":"1"}"#),
        revision: "2025-11-25".to_owned(),
        ..Peer::default()
    }
}

/// The attachment of a client.
pub(crate) fn attachment(server: ServerId, peer: &Peer) -> ExchangeOpen {
    ExchangeOpen {
        tenant: tenant().to_string(),
        project: project().to_string(),
        server: server.to_string(),
        kind: ExchangeKind::Attachment.into(),
        peer: Some(peer.clone()),
        ..ExchangeOpen::default()
    }
}

/// The next frame of an exchange.
pub(crate) async fn next(exchange: &Exchange) -> Frame {
    tokio::time::timeout(LIMIT, exchange.next()).await.unwrap().unwrap()
}

/// The next thing that the upstream asks; notifications before it are passed over.
pub(crate) async fn question(exchange: &Exchange) -> ServerRequest {
    loop {
        match next(exchange).await {
            Frame::Request(request) => return request,
            Frame::Notification(_) => {}
            other => panic!("no question but {other:?}"),
        }
    }
}

/// All frames of an exchange.
pub(crate) async fn finish(exchange: &Exchange) -> (Vec<Notification>, Finished) {
    let mut notifications = Vec::new();
    loop {
        match tokio::time::timeout(LIMIT, exchange.next()).await.unwrap().unwrap() {
            Frame::Notification(notification) => notifications.push(notification),
            Frame::Finished(finished) => return (notifications, finished),
            other => panic!("nobody asked for {other:?}"),
        }
    }
}

/// The result of an exchange that has one.
pub(crate) fn result(finished: &Finished) -> Value {
    match &finished.answer {
        Some(finished::Answer::Result(result)) => serde_json::from_slice(result).unwrap(),
        other => panic!("no result: {other:?}"),
    }
}

/// The failure of an exchange that has one: reason and message.
pub(crate) fn failure(finished: &Finished) -> (&str, &str) {
    match &finished.answer {
        Some(finished::Answer::Failure(failure)) => (&failure.reason, &failure.message),
        other => panic!("no failure: {other:?}"),
    }
}

/// The fixture over stdio, and the sealed arguments that go with it.
pub(crate) fn fixture(arguments: &[&str]) -> (Transport, Value) {
    let program: PathBuf = fixtures::binary("fixture-upstream").unwrap();
    let args: Vec<&str> = [&["stdio"], arguments].concat();
    let shown_args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let command = program.display().to_string();
    let transport = Transport::Stdio { command, shown_args, env_names: vec![], cwd: None };
    (transport, json!({ "args": args }))
}

/// A shell script as a server.
pub(crate) fn script(text: &str) -> (Transport, Value) {
    let transport = Transport::Stdio {
        command: "sh".to_owned(),
        shown_args: vec!["-c".to_owned(), "…".to_owned()],
        env_names: vec![],
        cwd: None,
    };
    (transport, json!({ "args": ["-c", text] }))
}

/// An HTTP upstream.
pub(crate) fn at(url: &str) -> HttpTarget {
    HttpTarget { url: url.to_owned(), header_names: vec![], ca_file: None, proxy: None }
}

/// Fails the test when `condition` does not come true.
pub(crate) async fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until no process has that id.
pub(crate) async fn until_gone(pid: u64) {
    let gone = async {
        loop {
            let stat = tokio::fs::read_to_string(format!("/proc/{pid}/stat")).await;
            if stat.map_or(true, |stat| stat.contains(") Z ")) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap_or_else(|_| panic!("{pid} is still there"));
}
