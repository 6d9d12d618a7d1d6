//! What can go wrong, named after what the caller can do about it.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use domain::{EventId, StreamId};

use crate::append::{Expected, ReservationSet};

/// The adapter's own error, for logs; never part of a public answer.
pub type Cause = Arc<dyn Error + Send + Sync + 'static>;

/// Why an append was not made.
///
/// After every variant but [`OutcomeUnknown`](Self::OutcomeUnknown) it is certain that nothing
/// of the append was written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The stream is at another version: reload, decide again, retry a bounded number of times.
    #[error("stream {stream} is at version {actual}, not at {expected}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// What the append expected.
        expected: Expected,
        /// The version it has.
        actual: u64,
    },
    /// The idempotency key belongs to a command with other content: a new key is needed.
    #[error("idempotency key {key:?} was used for another request")]
    IdempotencyMismatch {
        /// The key.
        key: String,
    },
    /// Another holder has the value: choose another one.
    #[error("{value:?} in {set} is held by another")]
    NameTaken {
        /// The set of unique values.
        set: ReservationSet,
        /// The value.
        value: String,
    },
    /// The event id is in use by an event with other content or in another stream.
    #[error("event id {0} belongs to another event")]
    DuplicateEventId(EventId),
    /// A limit of this crate is exceeded: split or shorten.
    #[error("{what}: {actual} is more than {limit}")]
    TooLarge {
        /// What is limited.
        what: &'static str,
        /// What was given.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// The append breaks a rule that no retry mends: a fault of the caller's code.
    #[error("invalid append: {what}")]
    Invalid {
        /// The rule.
        what: &'static str,
    },
    /// The lease was taken by another with a higher epoch: stop acting as its holder.
    #[error("lease {lease:?} of epoch {epoch} was taken by another")]
    Fenced {
        /// The lease.
        lease: String,
        /// The epoch of the append.
        epoch: u64,
    },
    /// The store cannot write now. Nothing was written; a later retry may succeed.
    #[error("the event store cannot append: {reason}")]
    Unavailable {
        /// What is the matter.
        reason: &'static str,
        /// The adapter's error, if there was one.
        #[source]
        cause: Option<Cause>,
    },
    /// The store failed while committing. Retry with the same event ids: if the events are
    /// there, the former result comes back.
    #[error("the outcome of the append is unknown")]
    OutcomeUnknown {
        /// The adapter's error, if there was one.
        #[source]
        cause: Option<Cause>,
    },
}

/// Why a read or an upkeep of the store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store cannot answer now; a later retry may succeed.
    #[error("the event store is unavailable: {reason}")]
    Unavailable {
        /// What is the matter.
        reason: &'static str,
        /// The adapter's error, if there was one.
        #[source]
        cause: Option<Cause>,
    },
    /// The lease was taken by another with a higher epoch: stop acting as its holder.
    #[error("lease {lease:?} of epoch {epoch} was taken by another")]
    Fenced {
        /// The lease.
        lease: String,
        /// The epoch of the caller.
        epoch: u64,
    },
    /// A limit of this crate is exceeded: split or shorten.
    #[error("{what}: {actual} is more than {limit}")]
    TooLarge {
        /// What is limited.
        what: &'static str,
        /// What was given.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// The store was closed; nothing more comes from it.
    #[error("the event store is closed")]
    Closed,
    /// A stored row cannot be what this crate wrote.
    #[error("the stored event at position {position} is damaged: {what}")]
    Damaged {
        /// Where.
        position: u64,
        /// What does not fit.
        what: &'static str,
    },
}

/// Why a database file was not opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// There is no such file, or it has no schema: prepare it first.
    #[error("{} is not prepared: run the migrations of the data directory", path.display())]
    NotPrepared {
        /// The database file.
        path: PathBuf,
    },
    /// The schema is older than this build: run the migrations.
    #[error(
        "{} has schema {found}, this build needs {needed}: run the migrations of the data directory",
        path.display()
    )]
    Older {
        /// The database file.
        path: PathBuf,
        /// The schema version of the file.
        found: i64,
        /// The schema version of this build.
        needed: i64,
    },
    /// The schema is newer than this build: use the newer build.
    #[error(
        "{} has schema {found}, this build knows {needed}: use the build that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The schema version of the file.
        found: i64,
        /// The schema version of this build.
        needed: i64,
    },
    /// The file is a database of something else.
    #[error("{} is not an event store", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// Another process has the file open for writing: stop it, or choose another directory.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The file system or the database refused.
    #[error("{} cannot be opened: {what}", path.display())]
    Failed {
        /// The database file.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// The error of it.
        #[source]
        cause: Cause,
    },
}
