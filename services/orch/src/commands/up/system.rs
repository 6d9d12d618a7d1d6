//! The services of one process, wired to each other through the embedded ports.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use authz::Authorizer;
use axum::Router;
use backplane::{Journal, JournalConfig, LeaseHandle, Replica};
use bus::{Bus, InProcessBus};
use connection_worker::{Worker, WorkerDeps, WorkerHandle};
use control_plane::use_case::{Bootstrap, bootstrap};
use control_plane::{App, Config, ControlPlane, Ctx, Deps, Unmarked, leads_alone};
use domain::{EventId, ProjectId};
use edge::{EdgeConfig, EdgeDeps, EdgeLimits};
use event_store::{SqliteConfig, SqliteEventStore};
use runtime::clock::{self, Clock};
use runtime::health::{Health, HealthRegistry};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::failpoint;
use crate::cli::UpArgs;
use crate::commands::announce::{FirstStart, first};
use crate::wiring::{
    LOG_FILE, Listening, RunningEdge, VIEWS_FILE, jitter, make_private, make_state_key, open_local,
    start_edge, state_key, worker_config,
};

/// Everything that runs.
pub(super) struct System {
    control: control_plane::Handle,
    edge: RunningEdge,
    worker: WorkerHandle,
    store: SqliteEventStore,
    ctx: Ctx,
    project: ProjectId,
    first: Mutex<Option<FirstStart>>,
    /// Stopped in this order: what takes requests, what keeps connections, what records.
    stops: Stops,
}

#[derive(Default)]
struct Stops {
    edge: CancellationToken,
    worker: CancellationToken,
    journal: CancellationToken,
    replica: CancellationToken,
    control: CancellationToken,
}

impl System {
    /// Starts everything and returns when requests can be served.
    pub(super) async fn start(
        args: &UpArgs,
        listening: &Listening,
        health: &HealthRegistry,
    ) -> Result<Self> {
        let stops = Stops::default();
        make_private(&args.data)?;
        let clock = clock::system();
        let secrets = open_local(&args.data).await?;
        let store = open_log(&args.data, &clock).await?;
        let shared = Arc::new(InProcessBus::default());
        let bus: Arc<dyn Bus> = Arc::<InProcessBus>::clone(&shared);
        let views = args.data.join(VIEWS_FILE);
        control_plane::views::prepare(&views).await?;
        let deps = Deps {
            store: Arc::new(store.clone()),
            secrets: Arc::clone(&secrets),
            bus: Arc::clone(&bus),
            clock: Arc::clone(&clock),
            ids: Arc::new(Uuid::now_v7),
            leases: Arc::new(store.clone()),
            leadership: leads_alone(),
            published: Arc::new(Unmarked),
        };
        let config = Config::new(views, listening.public_url.parse().context("--public-url")?);
        let control = ControlPlane::build(config, deps, health).await?;
        let control = control.run(stops.control.clone()).await?;
        let app = control.app();
        let bootstrapped = bootstrap(&app, wanted(args)?).await?;

        // One replica and one journal serve both edge and worker: they are in one process.
        let replica =
            Replica::start(Arc::clone(&bus), "edge", Arc::clone(&clock), stops.replica.clone());
        let journal =
            Journal::start(Arc::clone(&bus), JournalConfig::default(), stops.journal.clone());
        replica.ready().await.context("the configuration cannot be read")?;
        make_state_key(&*secrets).await?;
        let state_key = state_key(&*secrets).await?;
        let worker = WorkerDeps {
            bus: Arc::clone(&bus),
            secrets,
            lease: LeaseHandle::all(),
            replica: replica.clone(),
            journal: journal.clone(),
            clock: Arc::clone(&clock),
            event_ids: Arc::new(|| EventId::from_uuid(Uuid::now_v7())),
            random: Arc::new(jitter),
        };
        let worker = Worker::build(worker_config()?, worker).await?.run(stops.worker.clone());
        let authorizer = Arc::new(Authorizer::new().await?);
        let deps = EdgeDeps { bus, shared, state_key, replica, journal, authorizer, clock };
        let edge = start_edge(edge_config(args, listening), deps, stops.edge.clone());
        health.register("edge").set(Health::Ok);
        health.register("worker").set(Health::Ok);
        Ok(Self {
            ctx: app.system(bootstrapped.tenant),
            project: bootstrapped.project.clone(),
            first: Mutex::new(first(bootstrapped)),
            control,
            edge,
            worker,
            store,
            stops,
        })
    }

    /// The MCP endpoints, and behind them gRPC, grpc-web and REST.
    pub(super) fn router(&self) -> Router {
        self.edge.router().fallback_service(self.control.router())
    }

    /// What the use cases work with.
    pub(super) fn app(&self) -> Arc<App> {
        self.control.app()
    }

    /// The operator's own context.
    pub(super) fn ctx(&self) -> Ctx {
        Ctx { now: self.app().now(), ..self.ctx.clone() }
    }

    /// The first project.
    pub(super) fn project(&self) -> &ProjectId {
        &self.project
    }

    /// Key and password of a first start; the second time there is nothing.
    pub(super) fn take_first(&self) -> Option<FirstStart> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Drains: calls finish, children end, what was recorded is projected.
    pub(super) async fn stop(self) {
        self.stops.edge.cancel();
        self.edge.stopped().await;
        self.stops.worker.cancel();
        self.worker.stopped().await;
        self.stops.journal.cancel();
        self.stops.replica.cancel();
        self.stops.control.cancel();
        if let Err(error) = self.control.stopped().await {
            tracing::error!(%error, "the views had stopped before");
        }
        self.store.close().await;
    }
}

async fn open_log(data: &Path, clock: &Clock) -> Result<SqliteEventStore> {
    let path = data.join(LOG_FILE);
    SqliteEventStore::prepare(&path).await?;
    let mut config = SqliteConfig::new(path, Arc::clone(clock));
    config.hook = failpoint::from_environment()?;
    Ok(SqliteEventStore::open(config).await?)
}

fn wanted(args: &UpArgs) -> Result<Bootstrap> {
    let key = std::env::var("MCP_ORCH_BOOTSTRAP_API_KEY").ok().map(SecretString::from);
    let project_id = args.project_id.as_deref().map(str::parse).transpose()?;
    Ok(Bootstrap { project_id, api_key: key, ..Bootstrap::default() })
}

fn edge_config(args: &UpArgs, listening: &Listening) -> EdgeConfig {
    EdgeConfig {
        public_url: listening.public_url.clone(),
        loopback: listening.loopback,
        allowed_origins: Vec::new(),
        shared_sessions: false,
        cluster: false,
        limits: EdgeLimits {
            session_idle: Duration::from_secs(args.session_idle),
            sessions_per_key: args.sessions_per_key,
            ..EdgeLimits::default()
        },
    }
}
