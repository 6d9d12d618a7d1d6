//! A control plane in a folder of its own, and callers of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bus::{Bus, InProcessBus, InProcessConfig};
use control_plane::use_case::{
    Bootstrap, Bootstrapped, FirstOwner, Login, RegisterUser, bootstrap, create_organization,
    create_project, create_user, login, register_user,
};
use control_plane::{
    App, Config, ControlPlane, Ctx, Deps, Principal, Unmarked, leads_alone, views,
};
use domain::{ProjectId, TenantId, Timestamp, UserId};
use event_store::{Clock, SqliteConfig, SqliteEventStore};
use proto::control::v1 as pb;
use proto::control::v1::api_key_service_client::ApiKeyServiceClient;
use proto::control::v1::audit_service_client::AuditServiceClient;
use proto::control::v1::call_service_client::CallServiceClient;
use proto::control::v1::project_service_client::ProjectServiceClient;
use proto::control::v1::server_service_client::ServerServiceClient;
use runtime::health::HealthRegistry;
use secrecy::{ExposeSecret as _, SecretString};
use secrets::{LocalStore, SecretStore};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A time that tests move.
#[derive(Clone, Default)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn starting() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000_000_000)))
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1, Ordering::SeqCst))
    }

    pub(crate) fn advance_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// The parts of a running control plane.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) clock: TestClock,
    pub(crate) store: SqliteEventStore,
    pub(crate) secrets: Arc<dyn SecretStore>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) app: Arc<App>,
    pub(crate) health: HealthRegistry,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    stopped: JoinHandle<()>,
    served: JoinHandle<()>,
}

impl World {
    /// An empty data folder, started.
    pub(crate) async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start(folder, TestClock::starting()).await
    }

    /// Started, and its first owner.
    pub(crate) async fn bootstrapped() -> (Self, Owner) {
        let world = Self::empty().await;
        let owner = world.bootstrap().await;
        (world, owner)
    }

    async fn start(folder: TempDir, clock: TestClock) -> Self {
        let events = folder.path().join("events.db");
        SqliteEventStore::prepare(&events).await.unwrap();
        views::prepare(&folder.path().join("views.db")).await.unwrap();
        let config = SqliteConfig::new(events, clock.clock());
        let store = SqliteEventStore::open(config).await.unwrap();
        let secrets: Arc<dyn SecretStore> = Arc::new(LocalStore::open(folder.path()).unwrap());
        let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new(InProcessConfig::default()));
        let deps = Deps {
            store: Arc::new(store.clone()),
            secrets: Arc::clone(&secrets),
            bus: Arc::clone(&bus),
            clock: clock.clock(),
            ids: Arc::new(Uuid::now_v7),
            leases: Arc::new(store.clone()),
            leadership: leads_alone(),
            published: Arc::new(Unmarked),
        };
        let health = HealthRegistry::default();
        let url = "http://mcp.example.org".parse().unwrap();
        let config = Config {
            read_back: std::time::Duration::from_secs(5),
            ..Config::new(folder.path().join("views.db"), url)
        };
        let plane = ControlPlane::build(config, deps, &health).await.unwrap();
        let shutdown = CancellationToken::new();
        let handle = plane.run(shutdown.clone()).await.unwrap();
        let (app, router) = (handle.app(), handle.router());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = shutdown.clone();
        let served = tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await
                .unwrap();
        });
        let stopped = tokio::spawn(async move { drop(handle.stopped().await) });
        Self { folder, clock, store, secrets, bus, app, health, address, shutdown, stopped, served }
    }

    /// Stops everything; the folder stays.
    pub(crate) async fn stop(self) -> (TempDir, TestClock) {
        self.shutdown.cancel();
        self.served.abort();
        self.stopped.await.unwrap();
        self.store.close().await;
        (self.folder, self.clock)
    }

    /// Stops and starts on the same folder, after `meanwhile` worked on it.
    pub(crate) async fn restart_after(self, meanwhile: impl AsyncFnOnce(&std::path::Path)) -> Self {
        let (folder, clock) = self.stop().await;
        meanwhile(folder.path()).await;
        Self::start(folder, clock).await
    }

    pub(crate) async fn restart(self) -> Self {
        self.restart_after(async |_| {}).await
    }

    pub(crate) fn views_path(&self) -> PathBuf {
        self.folder.path().join("views.db")
    }

    pub(crate) async fn bootstrap(&self) -> Owner {
        let made = bootstrap(&self.app, Bootstrap::default()).await.unwrap();
        let Bootstrapped { tenant, project, first: Some(first) } = made else {
            panic!("not the first start")
        };
        let caller = self.log_in(&first.email, first.password.expose_secret()).await;
        Owner { tenant, project, first, caller }
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Caller {
        let attempt =
            Login { email: email.to_owned(), password: SecretString::from(password.to_owned()) };
        let session = login(&self.app, attempt).await.unwrap();
        Caller::new(self.address, session.user, session.token.expose_secret())
    }

    /// A person in the owner's organization, logged in, in no project yet.
    pub(crate) async fn person(&self, owner: &Owner, name: &str) -> Caller {
        let register = RegisterUser {
            email: format!("{name}@example.org"),
            display_name: name.to_owned(),
            password: SecretString::from(PASSWORD.to_owned()),
        };
        let ctx = self.app.system(owner.tenant);
        register_user(&self.app, &ctx, register).await.unwrap();
        self.log_in(&format!("{name}@example.org"), PASSWORD).await
    }

    /// A member of the owner's project with that role.
    pub(crate) async fn member(&self, owner: &Owner, name: &str, role: pb::Role) -> Caller {
        let person = self.person(owner, name).await;
        let request = pb::SetMemberRequest {
            project_id: owner.project.to_string(),
            user: Some(pb::set_member_request::User::UserId(person.user.to_string())),
            role: role.into(),
            idempotency_key: String::new(),
        };
        owner.caller.projects().set_member(request).await.unwrap();
        person
    }

    /// Another organization with a project of its own.
    pub(crate) async fn other_organization(&self, name: &str) -> (Caller, ProjectId) {
        let system = self.app.system(TenantId::SYSTEM);
        let register = RegisterUser {
            email: format!("{name}@example.com"),
            display_name: name.to_owned(),
            password: SecretString::from(PASSWORD.to_owned()),
        };
        let user = create_user(&self.app, &system, &register).await.unwrap();
        let tenant = create_organization(&self.app, &system, name, user).await.unwrap();
        let caller = self.log_in(&register.email, PASSWORD).await;
        let ctx = Ctx { principal: Principal::User(user), ..self.app.system(tenant) };
        let command = control_plane::use_case::CreateProject {
            name: name.to_owned(),
            description: String::new(),
            id: None,
            idempotency_key: None,
        };
        let project = create_project(&self.app, &ctx, command).await.unwrap();
        (caller, project.id)
    }

    pub(crate) async fn channel(&self) -> Channel {
        channel(self.address)
    }
}

/// The first owner, logged in.
pub(crate) struct Owner {
    pub(crate) tenant: TenantId,
    pub(crate) project: ProjectId,
    pub(crate) first: FirstOwner,
    pub(crate) caller: Caller,
}

fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// Somebody with a session.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    channel: Channel,
    bearer: Bearer,
}

#[derive(Clone)]
pub(crate) struct Bearer(String);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !self.0.is_empty() {
            let value = format!("Bearer {}", self.0).parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

pub(crate) type Authenticated = InterceptedService<Channel, Bearer>;

impl Caller {
    pub(crate) fn new(address: SocketAddr, user: UserId, token: &str) -> Self {
        Self { user, channel: channel(address), bearer: Bearer(token.to_owned()) }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { bearer: Bearer(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn token(&self) -> &str {
        &self.bearer.0
    }

    fn service(&self) -> Authenticated {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }

    pub(crate) fn projects(&self) -> ProjectServiceClient<Authenticated> {
        ProjectServiceClient::new(self.service())
    }

    pub(crate) fn servers(&self) -> ServerServiceClient<Authenticated> {
        ServerServiceClient::new(self.service())
    }

    pub(crate) fn keys(&self) -> ApiKeyServiceClient<Authenticated> {
        ApiKeyServiceClient::new(self.service())
    }

    pub(crate) fn calls(&self) -> CallServiceClient<Authenticated> {
        CallServiceClient::new(self.service())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Authenticated> {
        AuditServiceClient::new(self.service())
    }

    /// Registers a stdio server.
    pub(crate) async fn register(&self, project: &ProjectId, name: &str) -> pb::Server {
        let request = create_server(project, stdio(name));
        self.servers().create_server(request).await.unwrap().into_inner().server.unwrap()
    }

    /// The whole audit log of a project.
    pub(crate) async fn audit_of(&self, project: &ProjectId) -> Vec<pb::AuditEntry> {
        let request = pb::ListAuditEntriesRequest {
            project_id: project.to_string(),
            page_size: 500,
            ..Default::default()
        };
        self.audit().list_audit_entries(request).await.unwrap().into_inner().entries
    }
}

pub(crate) fn stdio(name: &str) -> pb::ServerSpec {
    pb::ServerSpec {
        name: name.to_owned(),
        transport: pb::Transport::Stdio.into(),
        command: "tool".to_owned(),
        ..pb::ServerSpec::default()
    }
}

pub(crate) fn create_server(project: &ProjectId, spec: pb::ServerSpec) -> pb::CreateServerRequest {
    pb::CreateServerRequest {
        project_id: project.to_string(),
        spec: Some(spec),
        idempotency_key: String::new(),
    }
}

/// The code of a refusal and its stable reason.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    (status.code(), reason.unwrap_or_default())
}
