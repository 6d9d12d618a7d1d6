//! The configuration in the memory of an edge or a worker.
//!
//! What always holds: a reader sees the state after some configuration event, never between two;
//! events are applied in the order of the log, each once; when one is missing, a new snapshot
//! replaces everything. While the control-plane is away the last state stays readable, and
//! [`ReplicaHandle::freshness`] says how old it is: the caller decides when to refuse.

mod changes;
mod follow;
mod snapshot;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bus::Bus;
use domain::Timestamp;
use events::Configuration;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

pub use self::changes::{Changes, Notice};

/// Most notices that wait for a slow [`Changes`].
const NOTICES: usize = 1_024;

/// Read access to the configuration. Hold it for a look-up only: while it is held, changes wait.
pub type ConfigurationGuard<'a> = RwLockReadGuard<'a, Configuration>;

/// The replica was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the replica was stopped")]
pub struct Stopped;

/// Keeps a configuration up to date; see the module.
pub struct Replica;

impl Replica {
    /// Starts to follow, in the background, until `shutdown` is cancelled. `service` is `edge` or
    /// `worker`.
    pub fn start(
        bus: Arc<dyn Bus>,
        service: &str,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> ReplicaHandle {
        let (ready, is_ready) = watch::channel(false);
        let shared = Arc::new(Shared {
            configuration: RwLock::default(),
            position: AtomicU64::new(0),
            fresh_at: AtomicI64::new(NEVER),
            notices: broadcast::Sender::new(NOTICES),
        });
        let source = follow::Source { bus, service: service.to_owned(), clock };
        tokio::spawn(follow::run(Arc::clone(&shared), source, ready, shutdown));
        ReplicaHandle { shared, is_ready }
    }
}

/// No snapshot yet.
const NEVER: i64 = i64::MIN;

/// What the task writes and the handles read.
struct Shared {
    configuration: RwLock<Configuration>,
    position: AtomicU64,
    /// Microseconds since the epoch.
    fresh_at: AtomicI64,
    notices: broadcast::Sender<Notice>,
}

/// Reads a replica; clones read the same one.
#[derive(Clone)]
pub struct ReplicaHandle {
    shared: Arc<Shared>,
    is_ready: watch::Receiver<bool>,
}

impl ReplicaHandle {
    /// The configuration now; empty before the first snapshot.
    pub fn read(&self) -> ConfigurationGuard<'_> {
        self.shared.configuration.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the first snapshot.
    ///
    /// # Errors
    /// [`Stopped`] if the replica stops before.
    pub async fn ready(&self) -> Result<(), Stopped> {
        self.is_ready.clone().wait_for(|ready| *ready).await.map(drop).map_err(|_| Stopped)
    }

    /// Whether there was a snapshot.
    pub fn is_ready(&self) -> bool {
        *self.is_ready.borrow()
    }

    /// What changes from now on.
    pub fn changes(&self) -> Changes {
        Changes::new(self.shared.notices.subscribe())
    }

    /// How long ago this was last known to be what the log says; `None` before the first
    /// snapshot.
    pub fn freshness(&self, now: Timestamp) -> Option<Duration> {
        let fresh_at = self.shared.fresh_at.load(Ordering::Acquire);
        (fresh_at != NEVER).then(|| Duration::from_micros(now.as_micros().abs_diff(fresh_at)))
    }

    /// The last configuration event that is in here, or the snapshot's position.
    pub fn position(&self) -> u64 {
        self.shared.position.load(Ordering::Acquire)
    }
}
