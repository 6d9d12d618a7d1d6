//! The read models: tables in `views.db`, folded from the log by one projector.
//!
//! What always holds: a row is in the state that the log gives it at the checkpoint, which moves
//! in the same transaction; every query names the tenant, except the few that find it; the file
//! may be deleted at any time and is rebuilt.
//!
//! To add a table: a migration, an arm in `apply`, its key in [`TABLES`] so that `verify`
//! compares it, and a file with its queries.

mod api_keys;
mod apply;
mod audit;
mod bulk;
mod calls;
mod checkpoint;
mod decoded;
mod definitions;
mod file;
mod identity;
mod insert;
mod model;
mod projector;
mod projects;
mod rows;
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::{ErrorCode, Refusal};
use event_store::Position;
use sqlx::SqlitePool;
use tokio::sync::watch;

pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::read as read_checkpoint;
pub(crate) use decoded::Decoded;
pub(crate) use definitions::Definition;
pub(crate) use file::connect;
pub use file::{OpenViewsError, TABLES, prepare};
pub use model::{
    ApiKeyView, AuditView, CallView, CallWithBody, MemberView, ProjectView, ServerView, ToolView,
    UserView,
};
pub use projector::{Projector, ProjectorError};

/// How far the views are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last event that was taken in.
    pub position: Position,
    /// The projector stopped at an event it cannot take in.
    pub halted: bool,
}

/// The projector stopped, or the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the views do not move any more")]
pub struct Halted;

/// Reads the views. Cheap to clone.
#[derive(Clone)]
pub struct Views {
    pool: SqlitePool,
    progress: watch::Receiver<Progress>,
    decoded: Arc<Decoded>,
    /// How often the servers changed.
    servers: Arc<AtomicU64>,
}

impl Views {
    /// How far the views are now.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Returns when the views have taken in `position`.
    ///
    /// # Errors
    /// [`Halted`] when that will not happen.
    pub async fn reached(&self, position: Position) -> Result<(), Halted> {
        let mut progress = self.progress.clone();
        let seen = progress
            .wait_for(|now| now.position >= position || now.halted)
            .await
            .map_err(|_| Halted)?;
        if seen.position >= position { Ok(()) } else { Err(Halted) }
    }

    /// What the events say that were written last: the projector asks here first.
    pub(crate) fn decoded(&self) -> &Decoded {
        &self.decoded
    }

    /// Another number after each change of what servers there are and how they are configured.
    pub(crate) fn servers_generation(&self) -> u64 {
        self.servers.load(Ordering::Acquire)
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Why a view was not read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The database refused.
    #[error("the views are not available")]
    Unavailable(#[from] sqlx::Error),
    /// A row holds what the projector never writes: delete the file, it is rebuilt.
    #[error("the views are damaged: {0}")]
    Damaged(String),
}

impl ViewError {
    /// A stored text that is none of its kind.
    pub(crate) fn damaged(error: impl std::fmt::Display) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<ViewError> for Refusal {
    fn from(error: ViewError) -> Self {
        match &error {
            ViewError::Unavailable(cause) => tracing::error!(%cause, "a view was not read"),
            ViewError::Damaged(what) => tracing::error!(what, "a view is damaged"),
        }
        Refusal::new(ErrorCode::Unavailable, "the read models are not available, try again")
    }
}

/// A stored count or size. Negative ones are never written.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A stored count, cut at the largest that is shown.
pub(crate) fn small(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// A number as it is stored.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// One row more than a page, to know whether there is another page.
pub(crate) fn one_more(limit: u32) -> i64 {
    i64::from(limit) + 1
}
