//! The worker as a whole: what it needs, how it starts, how it ends.

use std::sync::Arc;

use backplane::{Clock, Journal, LeaseHandle, ReplicaHandle, subject};
use bus::{Bus, BusError};
use domain::EventId;
use secrets::SecretStore;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::WorkerConfig;
use crate::connection::{ActorDeps, Dialer};
use crate::exchange::Lines;
use crate::owner::Owner;
use crate::session::Projects;
use crate::{handshake, meters, presence};

/// Most requests for tests that wait.
const TEST_QUEUE: usize = 64;

/// Makes ids of events: UUIDs of version 7, each once.
pub type EventIds = Arc<dyn Fn() -> EventId + Send + Sync>;

/// Makes random numbers from 0 to 1, for jitter.
pub type Random = Arc<dyn Fn() -> f64 + Send + Sync>;

/// What a worker needs of its surroundings.
#[derive(Clone)]
pub struct WorkerDeps {
    /// Where exchanges come from and observations go to.
    pub bus: Arc<dyn Bus>,
    /// Where the sealed values of its servers are.
    pub secrets: Arc<dyn SecretStore>,
    /// Which servers it owns: [`LeaseHandle::all`] where there is one worker. It must live longer
    /// than the worker.
    pub lease: LeaseHandle,
    /// What is configured. It must live longer than the worker.
    pub replica: ReplicaHandle,
    /// Writes what is observed. It must live longer than the worker.
    pub journal: Journal,
    /// What time it is.
    pub clock: Clock,
    /// Makes ids.
    pub event_ids: EventIds,
    /// Makes jitter.
    pub random: Random,
}

/// Why a worker does not start.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WorkerError {
    /// The bus refuses to be served.
    #[error("the bus refuses: {0}")]
    Bus(#[from] BusError),
}

/// Keeps the connections to upstream servers, and carries requests to them.
pub struct Worker {
    deps: Arc<ActorDeps>,
    tests: bus::Server,
}

impl Worker {
    /// Puts a worker together; nothing is connected before [`run`](Self::run). From now on the
    /// requests for tests of servers come here.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn build(config: WorkerConfig, deps: WorkerDeps) -> Result<Self, WorkerError> {
        meters::describe();
        let tests = deps.bus.serve(subject::worker_test().into(), TEST_QUEUE).await?;
        let config = Arc::new(config);
        let tasks = TaskTracker::new();
        let WorkerDeps { bus, secrets, lease, replica, journal, clock, event_ids, random } = deps;
        let deps = ActorDeps {
            bus,
            dialer: Dialer::new(secrets, Arc::clone(&config), tasks.clone()),
            journal,
            replica,
            clock,
            event_ids,
            random,
            starts: Semaphore::new(config.max_starts),
            projects: Projects::new(config.max_sessions_per_project),
            lines: Lines::new(config.max_adoptable_calls, config.max_adoptable_bytes),
            under_way: Arc::default(),
            lease,
            tasks,
            config,
        };
        Ok(Self { deps: Arc::new(deps), tests })
    }

    /// Starts to keep connections, in the background, until `shutdown` is cancelled.
    pub fn run(self, shutdown: CancellationToken) -> WorkerHandle {
        let Self { deps, tests } = self;
        if !deps.lease.is_all() {
            deps.tasks.spawn(presence::announce(Arc::clone(&deps), shutdown.clone()));
        }
        deps.tasks.spawn(handshake::serve(Arc::clone(&deps), tests, shutdown.clone()));
        WorkerHandle { owner: tokio::spawn(Owner::new(deps).run(shutdown)) }
    }
}

/// A worker that runs.
#[derive(Debug)]
pub struct WorkerHandle {
    owner: JoinHandle<()>,
}

impl WorkerHandle {
    /// Waits until the worker has drained after its shutdown: its servers handed over to others as
    /// far as there were any, exchanges ended or cut off after the grace, connections closed, no
    /// child process left, and every lease released.
    pub async fn stopped(self) {
        if let Err(error) = self.owner.await {
            tracing::error!(%error, "the worker ended in an error");
        }
    }
}
