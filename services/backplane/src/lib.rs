//! What edges, workers and the control-plane say to each other over the bus, typed.
//!
//! - [`Replica`]: the configuration in memory, from a snapshot and the published events.
//! - [`Journal`]: writes what an edge or a worker saw to the log, batched and bounded.
//! - [`entry`]: journal entries from domain events and back, for both ends.
//! - [`exchange`]: one client request to the worker that owns the server, and the frames back.
//! - [`LeaseKeeper`]: which servers a worker owns.
//! - [`fetch_catalogue`]: the body of a catalogue by its hash.
//! - [`subject`]: where each of these goes.
//!
//! What always holds: nothing here is a record; what is known is refused rather than served once
//! it is stale (the caller asks [`ReplicaHandle::freshness`]); every queue has a limit in number
//! and in bytes; an entry that was reported as recorded is in the log.

mod catalogue;
mod clock;
pub mod entry;
pub mod exchange;
mod hedge;
mod jitter;
mod journal;
mod lease;
mod replica;
pub mod subject;

pub use catalogue::{FetchError, fetch_catalogue};
pub use clock::Clock;
pub use entry::{Body, Entry, InvalidEntry};
pub use journal::{Full, Journal, JournalConfig, JournalError, JournalOutcome};
pub use lease::{LeaseHandle, LeaseKeeper, Owned, WorkerIdentity};
pub use replica::{Changes, ConfigurationGuard, Notice, Replica, ReplicaHandle, Stopped};
