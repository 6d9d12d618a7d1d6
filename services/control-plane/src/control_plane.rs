//! Putting it together: configuration, build, run.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use authz::{Authorizer, RulesError};
use backplane::subject;
use bus::{BusError, Server};
use domain::Refusal;
use event_store::StoreError;
use runtime::health::{HealthRegistry, HealthReporter};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::app::{App, Deps, PublishedMark};
use crate::backbone::{self, DigestKeys, Journal, JournalLimits, Leading, Published};
use crate::freshness::Freshness;
use crate::identity::{LoginLimiter, PasswordHashing, TokenAuthority};
use crate::ownership::{Ownership, OwnershipTimes, Surveyor};
use crate::use_case::denial::DenialLimiter;
use crate::views::{Projector, ProjectorError};

/// What a control plane is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The prepared file of the views.
    pub views_path: PathBuf,
    /// Where everybody reaches this installation.
    pub public_url: Url,
    /// How long a command waits for the views before it says that they are behind.
    pub read_back: Duration,
    /// How much is journaled at once.
    pub journal: JournalLimits,
    /// Whether other processes are there: replicas of this one, workers and edges.
    pub cluster: bool,
    /// The times of ownership, in a cluster.
    pub ownership: OwnershipTimes,
    /// How long an edge is not there before its unfinished calls are closed, in a cluster.
    pub edge_gone: Duration,
}

impl Config {
    /// The defaults for a file and a public URL.
    pub fn new(views_path: impl Into<PathBuf>, public_url: Url) -> Self {
        Self {
            views_path: views_path.into(),
            public_url,
            read_back: Duration::from_secs(10),
            journal: JournalLimits::default(),
            cluster: false,
            ownership: OwnershipTimes::default(),
            edge_gone: backbone::EDGE_GONE,
        }
    }
}

/// Why a control plane was not built or did not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The views cannot be opened or brought up to the log.
    #[error(transparent)]
    Views(#[from] ProjectorError),
    /// The log does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The embedded rules are wrong.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The bus refused.
    #[error("the bus refused")]
    Bus(#[from] BusError),
    /// The secret store or the store refused.
    #[error("{0}")]
    Refused(Refusal),
}

impl From<Refusal> for BuildError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A control plane that is ready to run; its views are up to the log.
pub struct ControlPlane {
    app: Arc<App>,
    projector: Projector,
    health: HealthReporter,
    journal: JournalLimits,
    lead: Lead,
}

/// What it needs when it is this replica's turn to lead.
struct Lead {
    leadership: watch::Receiver<Option<u64>>,
    mark: Arc<dyn PublishedMark>,
    /// Only in a cluster.
    ownership: Option<OwnershipTimes>,
}

/// What a running control plane serves on the bus.
struct Served {
    journal: Server,
    snapshot: Server,
    catalogue: Server,
    /// Leases that are asked for, and those that are given up; only in a cluster.
    ownership: Option<(Server, Server)>,
}

impl ControlPlane {
    /// Opens the views, brings them up to the log and loads keys and rules.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build(
        config: Config,
        deps: Deps,
        health: &HealthRegistry,
    ) -> Result<Self, BuildError> {
        let health = health.register("control-plane views");
        let (mut projector, views) =
            Projector::open(&config.views_path, Arc::clone(&deps.store)).await?;
        let head = deps.store.head().await?;
        let behind = head.as_u64().saturating_sub(projector.checkpoint().position.as_u64());
        if behind > 10_000 {
            tracing::info!(events = behind, "bringing the views up to the log");
        }
        projector.catch_up(head).await?;
        let issuer = config.public_url.as_str().trim_end_matches('/').to_owned();
        let tokens = TokenAuthority::open(&*deps.secrets, &issuer).await?;
        let app = App {
            store: deps.store,
            secrets: deps.secrets,
            bus: deps.bus,
            clock: deps.clock,
            ids: deps.ids,
            public_url: config.public_url,
            freshness: Freshness::new(views.clone(), config.cluster),
            views,
            authorizer: Authorizer::new().await?,
            tokens,
            passwords: PasswordHashing::new().await?,
            logins: LoginLimiter::default(),
            denials: DenialLimiter::default(),
            digests: DigestKeys::default(),
            read_back: config.read_back,
            grpc_health: crate::grpc::health().await,
            leases: deps.leases,
            edge_gone: config.edge_gone,
        };
        let lead = Lead {
            leadership: deps.leadership,
            mark: deps.published,
            ownership: config.cluster.then_some(config.ownership),
        };
        Ok(Self { app: Arc::new(app), projector, health, journal: config.journal, lead })
    }

    /// What the use cases work with. Commands are answered once the control plane runs.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Every route of the control plane, for one listener: gRPC, grpc-web, health, reflection and
    /// the REST of the console and of the guide.
    pub fn router(&self) -> axum::Router {
        router(&self.app)
    }

    /// Starts everything and returns when edges and workers are served.
    ///
    /// # Errors
    /// When the bus refuses, or unfinished calls of the former process cannot be closed.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Handle, BuildError> {
        let Self { app, projector, health, journal, lead } = self;
        let checkpoint = projector.checkpoint().clone();
        let started = checkpoint.position;
        let from =
            Published { position: checkpoint.position, configuration: checkpoint.configuration };
        let served = serve(&app, journal.waiting, lead.ownership.is_some()).await?;
        // Each stage stops after the one before: what was taken is finished, then projected.
        let (views_stop, own) = (CancellationToken::new(), shutdown.child_token());
        let mut views = JoinSet::new();
        views.spawn(projector.run(views_stop.clone(), health));
        // In a cluster the others may be in the middle of their calls: the leader looks at them.
        if lead.ownership.is_none()
            && let Err(refusal) = close(&app, started).await
        {
            views_stop.cancel();
            while views.join_next().await.is_some() {}
            return Err(refusal.into());
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(app.freshness.keep(Arc::clone(&app.store), own.clone()));
        tasks.spawn(Journal::new(Arc::clone(&app), journal).run(served.journal, own.clone()));
        let store = Arc::clone(&app.store);
        tasks.spawn(backbone::snapshots(store, served.snapshot, own.clone()));
        tasks.spawn(backbone::catalogues(Arc::clone(&app), served.catalogue, own.clone()));
        let cluster = lead.ownership.zip(served.ownership).map(|(times, (asked, released))| {
            let (ownership, surveyor) = own_servers(&app, &times);
            tasks.spawn(ownership.run(asked, released, own.clone()));
            (surveyor, times)
        });
        let (leadership, mark) = (lead.leadership, lead.mark);
        let leading = Leading { app: Arc::clone(&app), leadership, mark, from, cluster };
        tasks.spawn(leading.run(own.clone()));
        Ok(Handle { app, stop: own, tasks, views_stop, views })
    }
}

async fn serve(app: &App, waiting: usize, cluster: bool) -> Result<Served, BusError> {
    let ownership = if cluster {
        let asked = app.bus.serve(subject::lease().into(), 4_096).await?;
        Some((asked, app.bus.serve(subject::lease_release().into(), 4_096).await?))
    } else {
        None
    };
    Ok(Served {
        journal: app.bus.serve(subject::journal().into(), waiting).await?,
        snapshot: app.bus.serve(subject::snapshot().into(), 256).await?,
        catalogue: app.bus.serve(subject::catalogue().into(), 4_096).await?,
        ownership,
    })
}

/// Who answers what workers ask, and who reads the leases for it.
fn own_servers(app: &App, times: &OwnershipTimes) -> (Arc<Ownership>, Arc<Surveyor>) {
    let (leases, clock) = (Arc::clone(&app.leases), Arc::clone(&app.clock));
    let surveyor =
        Surveyor::new(Arc::clone(&leases), app.views.clone(), Arc::clone(&clock), times.clone());
    let bus = Arc::clone(&app.bus);
    let ownership = Ownership::new(leases, Arc::clone(&surveyor), bus, clock, times.clone());
    (ownership, surveyor)
}

async fn close(app: &App, started: event_store::Position) -> Result<(), Refusal> {
    let closed = backbone::close_unfinished(app, started).await?;
    if closed > 0 {
        tracing::warn!(calls = closed, "calls that were never finished are closed as unknown");
    }
    Ok(())
}

/// Every route over an [`App`].
pub fn router(app: &Arc<App>) -> axum::Router {
    crate::grpc::router(app).merge(crate::rest::router(app))
}

/// A running control plane.
pub struct Handle {
    app: Arc<App>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    views_stop: CancellationToken,
    views: JoinSet<Result<(), ProjectorError>>,
}

impl Handle {
    /// What the use cases work with.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Every route of the control plane.
    pub fn router(&self) -> axum::Router {
        router(&self.app)
    }

    /// Serves the routes on `address` until the control plane stops.
    ///
    /// # Errors
    /// When the address cannot be bound or the listener fails.
    pub async fn serve(&self, address: SocketAddr) -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let stop = self.stop.clone();
        axum::serve(listener, self.router()).with_graceful_shutdown(stop.cancelled_owned()).await
    }

    /// Waits for the shutdown that `run` was given, then until everything has stopped: the
    /// journal first finishes what it took, then the views take it in.
    ///
    /// # Errors
    /// When the projector had stopped before.
    pub async fn stopped(mut self) -> Result<(), ProjectorError> {
        self.stop.cancelled().await;
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the control plane failed");
            }
        }
        self.views_stop.cancel();
        let mut result = Ok(());
        while let Some(ended) = self.views.join_next().await {
            match ended {
                Ok(ended) => result = ended,
                Err(error) => tracing::error!(%error, "the projector failed"),
            }
        }
        self.app.views.close().await;
        result
    }
}
