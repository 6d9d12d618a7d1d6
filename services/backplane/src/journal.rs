//! Writes what an edge or a worker saw to the log, over the bus.
//!
//! What always holds: [`JournalOutcome::Recorded`] is said after the commit; memory is bounded
//! per tenant and in all, in number and in bytes, and who comes beyond is told at once; entries
//! keep their event ids over repetitions, so that none is in the log twice; one tenant's full
//! share takes nothing from another's.
//!
//! [`Journal::record`] waits for the commit; entries that are handed in while a request is under
//! way share the next one, so that many callers share commits. [`Journal::queue`] does not wait;
//! what it took is sent in the background and repeated until it is recorded, and is lost if the
//! process dies before.

mod config;
mod lanes;
mod queues;
mod reach;
mod sending;
mod weight;

use std::sync::Arc;

use bus::{Bus, BusError};
use domain::TenantId;
use proto::internal::v1;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::queues::{Queues, Waiting};
use self::weight::Load;

pub use self::config::JournalConfig;

/// What became of an entry that was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalOutcome {
    /// It is in the log.
    Recorded,
    /// It is not, and repeating it does not help unless the code is one of waiting.
    Refused {
        /// The stable reason, e.g. `RESOURCE_EXHAUSTED`.
        code: String,
        /// For the operator.
        message: String,
    },
}

/// Nothing was taken, because the tenant's share of the memory, or all of it, is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is full")]
pub struct Full;

/// Why entries are not known to be recorded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JournalError {
    /// Nothing was sent, see [`Full`].
    #[error(transparent)]
    Full(#[from] Full),
    /// Nothing was sent: more entries at once than [`JournalConfig::batch_entries`], or none that
    /// fits on the bus.
    #[error("too much for one request")]
    TooLarge,
    /// Nothing was sent: an entry's tenant is no tenant id.
    #[error("an entry has no tenant")]
    NoTenant,
    /// The record could not be reached in time. The entries may be recorded or not.
    #[error("the record cannot be reached: {0}")]
    Unavailable(BusError),
    /// The answer makes no sense. The entries may be recorded or not.
    #[error("the journal's answer cannot be read")]
    Malformed,
    /// The journal was stopped. The entries may be recorded or not.
    #[error("the journal was stopped")]
    Stopped,
}

/// A handle; clones share queues and limits.
#[derive(Clone)]
pub struct Journal {
    queues: Arc<Queues>,
}

impl Journal {
    /// Starts the background tasks, which end when `shutdown` is cancelled. Call
    /// [`flush`](Self::flush) before.
    pub fn start(bus: Arc<dyn Bus>, config: JournalConfig, shutdown: CancellationToken) -> Self {
        let queues = Arc::new(Queues::new(config));
        lanes::spawn(&queues, &bus, &shutdown);
        Self { queues }
    }

    /// Records `entries` and waits for the commit. One outcome for each, in their order. What was
    /// handed over is sent even if the caller stops waiting.
    ///
    /// # Errors
    /// [`JournalError`], which says whether anything was sent.
    pub async fn record(
        &self,
        entries: Vec<v1::JournalEntry>,
    ) -> Result<Vec<JournalOutcome>, JournalError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let load = Load::of(&entries, self.queues.config())?;
        let (reply, answer) = oneshot::channel();
        self.queues.wait(Waiting { entries, load, reply })?;
        answer.await.unwrap_or(Err(JournalError::Stopped))
    }

    /// Takes an entry to be recorded soon.
    ///
    /// # Errors
    /// [`Full`], also once the journal was stopped and for an entry that could never be sent.
    pub fn queue(&self, entry: v1::JournalEntry) -> Result<(), Full> {
        let load = Load::of(std::slice::from_ref(&entry), self.queues.config());
        self.queues.buffer(entry, load.map_err(|_| Full)?)
    }

    /// Whether a call of `tenant` that is forwarded now can be recorded afterwards: a quarter of
    /// its share is kept for calls that are under way. Says nothing of whether the record can be
    /// reached: for calls that wait for it, ask [`can_record`](Self::can_record).
    pub fn has_room(&self, tenant: TenantId) -> bool {
        self.queues.has_room(tenant)
    }

    /// Whether a call whose answer waits for its record may be forwarded: there is room, and the
    /// record answered when it was asked last. While it does not, it is asked in the background;
    /// while it refuses as unavailable, one second after each refusal somebody may try again.
    pub fn can_record(&self, tenant: TenantId) -> bool {
        self.queues.has_room(tenant) && self.queues.reach().is_open()
    }

    /// Whether the last entry that was sent was taken, or none was yet. While it is not so, what
    /// must not happen unrecorded should be recorded before it happens.
    pub fn is_sure(&self) -> bool {
        self.queues.reach().is_sure()
    }

    /// Waits until everything that was queued is recorded or refused. It may wait for ever while
    /// the record is away: give it a time limit.
    pub async fn flush(&self) {
        self.queues.settled().await;
    }
}
