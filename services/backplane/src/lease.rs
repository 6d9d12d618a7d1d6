//! Which servers this process owns: asked for every second, and given up when nobody answers.
//!
//! What always holds: what is owned is owned until a moment that is counted from when it was
//! *asked* for, by the monotonic clock, so that no slow answer and no jump of the wall clock
//! makes it longer; after that moment [`LeaseHandle::epoch`] says `None`, whether or not any task
//! had a chance to run; an epoch that was given up is never taken again; asking never ends before
//! the keeper does, however long the bus is away.

mod book;
mod handle;
mod keeper;
mod owned;

use std::sync::Arc;

use bus::Bus;
use tokio_util::sync::CancellationToken;

pub use self::handle::LeaseHandle;
pub use self::owned::Owned;

/// What a worker says of itself when it asks for servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerIdentity {
    /// Its name: unique for each start, see [`Bus::instance`].
    pub instance: String,
    /// What is special about it, e.g. `docker`.
    pub labels: Vec<String>,
    /// Its share of the servers, relative to the other workers; 0 counts as 1.
    pub weight: u32,
    /// Most servers that it takes; 0 for no limit of its own.
    pub capacity: u32,
}

/// Keeps leases; see the module.
pub struct LeaseKeeper;

impl LeaseKeeper {
    /// Starts to ask, in the background, until `shutdown` is cancelled: then everything that is
    /// still held is released. Call [`LeaseHandle::release_all`] before, to be sure that the
    /// others know.
    pub fn start(
        bus: Arc<dyn Bus>,
        identity: WorkerIdentity,
        shutdown: CancellationToken,
    ) -> LeaseHandle {
        let shared = Arc::new(keeper::Shared::new(identity));
        tokio::spawn(keeper::run(Arc::clone(&shared), bus, shutdown));
        LeaseHandle::kept(shared)
    }
}
