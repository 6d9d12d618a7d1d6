//! The bus side: what edges and workers, which have no database, ask of the control plane.
//!
//! - [`publisher`](self): every event but those of calls on `evt.*`, in the order of positions,
//!   and a beat every second that says how far it is.
//! - `snapshot`: the configuration events up to a position, for who begins or lost something.
//! - `journal`: appends of what edges and workers saw, answered after the commit.
//! - `catalogue`: a server's last catalogue by its hash.
//!
//! Every replica answers; what only one may do is in [`leading`](self).
//!
//! What always holds: events are published in the order of their positions, each configuration
//! event with the position of the one before it; every queue and every tenant's share is bounded.

mod body;
mod catalogue;
mod digests;
mod journal;
mod leading;
mod publisher;
mod rebuild;
mod serving;
mod share;
mod snapshot;
mod stored;
mod unfinished;
mod upkeep;

pub use digests::{DigestKey, DigestKeys};
pub(crate) use journal::Journal;
pub use journal::JournalLimits;
pub(crate) use leading::{Leader, Leading};
pub(crate) use publisher::{Published, Publisher, beat};
pub use rebuild::{RebuildError, rebuild_stream};
pub(crate) use serving::serve_each;
pub(crate) use unfinished::{EDGE_GONE, close_gone, close_unfinished};
pub(crate) use upkeep::upkeep;

pub(crate) use catalogue::catalogues;
pub(crate) use snapshot::snapshots;
