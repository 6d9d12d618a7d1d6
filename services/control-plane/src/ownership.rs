//! Which worker owns which server: leases in the store, given out over the bus by every replica.
//!
//! A worker asks every second. The answer renews what it holds, grants what is free and should be
//! its own, and says what to make ready and what to let go, so that the servers come to where
//! [`placement`] wants them. What always holds: a server is granted only by a claim that the store
//! accepted, under a new epoch when somebody else may have had it; a worker may serve for less
//! long than its lease lasts; nothing free is given out until all workers had time to say what
//! they hold after the store was away, or after this process began.
//!
//! Cost, at 1,000 workers and 10,000 servers: 1,000 requests a second over the bus, each of about
//! ten claims, so 11,000 renewed rows a second in 1,000 statements, shared by the replicas; each
//! replica reads all 11,000 leases at most twice a second, and works out the directions from them
//! in a few milliseconds; the placement is worked out only when workers or servers change. With
//! two workers it is two statements of 5,000 rows. What grows with the servers is the renewals;
//! nothing grows with workers × servers but the placement.
//!
//! While no control plane reaches the store, nobody can take a server over: workers keep what
//! they have, see `grace`.

mod grace;
pub mod handover;
pub mod note;
pub mod placement;
mod service;
mod survey;
mod unplaced;

use std::time::Duration;

use domain::ServerId;

pub(crate) use service::Ownership;
pub(crate) use survey::Surveyor;
pub(crate) use unplaced::tell_unplaced;

/// The times of ownership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnershipTimes {
    /// How long a lease lasts without a renewal, by the store's clock.
    pub lease: Duration,
    /// For how long a worker may serve after it asked; less than [`lease`](Self::lease).
    pub valid: Duration,
    /// For how long what was read of the leases is taken as known.
    pub survey: Duration,
    /// How long nothing free is given out after a start and after the store was away.
    pub settle: Duration,
    /// After this time a worker that drains lets go of what nobody is ready for.
    pub drain: Duration,
    /// How long a server has no place before its state says so.
    pub unplaced: Duration,
    /// How long the store may take for one answer; a worker waits for one second.
    pub store: Duration,
}

impl Default for OwnershipTimes {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(4),
            valid: Duration::from_secs(3),
            survey: Duration::from_millis(500),
            settle: Duration::from_secs(3),
            drain: Duration::from_secs(10),
            unplaced: Duration::from_secs(10),
            store: Duration::from_millis(600),
        }
    }
}

/// Leases of servers begin with this.
const SERVERS: &str = "server/";
/// Leases that say that a worker lives begin with this.
const WORKERS: &str = "worker/";

/// The lease of a server.
pub(crate) fn lease_of(server: impl std::fmt::Display) -> String {
    format!("{SERVERS}{server}")
}

fn server_of(lease: &str) -> Option<ServerId> {
    lease.strip_prefix(SERVERS)?.parse().ok()
}
