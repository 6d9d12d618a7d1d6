//! The record of everything that happened: an append-only log of events.
//!
//! The crate knows streams, versions and positions, and nothing of what an event means. What
//! always holds, on every adapter:
//!
//! - An answered append survives any crash, and is there once.
//! - Positions are global, start at 1 and have no gaps; `tenant_position` is dense per tenant.
//!   Within a stream, a higher version has a higher position.
//! - An event never changes and is never deleted; only its body, kept beside it, may go.
//! - Reservations, idempotency keys and bodies are written in the transaction of their append.
//!
//! Adapters: [`SqliteEventStore`] (a file) and [`MemoryEventStore`] (tests of pure rules). Both
//! share the rules of admission (`admission.rs`), and the contract suite runs against both. A
//! new adapter implements [`EventStore`] and [`Directory`] and adds itself to that suite.

mod admission;
mod append;
mod copy;
mod error;
mod hook;
mod leaf;
mod lease;
mod limits;
mod memory;
mod port;
pub mod postgres;
mod recorded;
mod sqlite;
mod subscription;

pub use append::{
    Append, Appended, Body, Expected, Fence, Idempotency, NewEvent, ReservationChange,
    ReservationSet, Retention,
};
pub use copy::{Copied, CopyError, copy};
pub use error::{AppendError, Cause, OpenError, StoreError};
pub use hook::CommitHook;
pub use leaf::leaf_hash;
pub use lease::{Claim, Lease, MAX_CLAIMS, MAX_LEASE, MAX_NOTE_BYTES};
pub use limits::{
    MAX_APPEND_BYTES, MAX_BODY_BYTES, MAX_EVENTS_PER_APPEND, MAX_ID_BYTES, MAX_PAGE_BYTES,
    MAX_PAGE_EVENTS, MAX_PAYLOAD_BYTES, MAX_RESERVATIONS_PER_APPEND,
};
pub use memory::MemoryEventStore;
pub use port::{Clock, Directory, EventStore, Leases};
pub use postgres::{PostgresConfig, PostgresEventStore, Sequencer};
pub use recorded::{Page, Position, ReadFilter, Recorded};
pub use sqlite::{SqliteConfig, SqliteEventStore};
pub use subscription::Subscription;
