//! What the processes of one kind share: small values with compare-and-swap, and short trails.
//!
//! What always holds: it is bounded and lossy. A value that nobody wrote for [`VALUE_LIFETIME`]
//! may be gone, a trail keeps its latest [`MAX_TRAIL_ENTRIES`] entries for [`TRAIL_LIFETIME`],
//! and either may vanish with the server that holds it. What must not be lost belongs into the
//! event store. A write is never lost to another one unseen: it names the revision it replaces.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Subject;

/// Largest value, and largest entry of a trail: 1,000,000 bytes, so that it is one message.
pub const MAX_SHARED_BYTES: usize = 1_000_000;
/// Most entries of a trail; the oldest fall out.
pub const MAX_TRAIL_ENTRIES: usize = 256;
/// For how long an entry of a trail is kept.
pub const TRAIL_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// For how long a value is kept after its last write.
pub const VALUE_LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);

/// Which write of a key: later writes of the same key have greater revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    pub(crate) const fn new(revision: u64) -> Self {
        Self(revision)
    }

    /// As a number, for logs.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Why the shared memory refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Somebody else wrote the key meanwhile, or it is gone: read it again.
    #[error("somebody else changed the key")]
    Changed,
    /// A value or an entry is above [`MAX_SHARED_BYTES`].
    #[error("{size_bytes} bytes are more than the {limit_bytes} that can be shared")]
    TooLarge {
        /// What was given.
        size_bytes: usize,
        /// What is accepted.
        limit_bytes: usize,
    },
    /// The memory cannot be reached. A write may have happened: read before writing again.
    #[error("the shared memory is unavailable: {detail}")]
    Unavailable {
        /// What failed, for the operator.
        detail: String,
    },
}

/// Small, bounded, and lossy memory; see the module.
#[async_trait]
pub trait SharedMemory: Send + Sync + 'static {
    /// Writes the value if the current revision is `expected`; `None`: there must be none.
    ///
    /// # Errors
    /// [`MemoryError::Changed`] otherwise, [`MemoryError::TooLarge`],
    /// [`MemoryError::Unavailable`].
    async fn write(
        &self,
        key: &Subject,
        value: Bytes,
        expected: Option<Revision>,
    ) -> Result<Revision, MemoryError>;

    /// The latest value, also right after another process wrote it.
    ///
    /// # Errors
    /// [`MemoryError::Unavailable`].
    async fn read(&self, key: &Subject) -> Result<Option<(Revision, Bytes)>, MemoryError>;

    /// Removes the key, whatever its revision; no error if there is none.
    ///
    /// # Errors
    /// [`MemoryError::Unavailable`].
    async fn remove(&self, key: &Subject) -> Result<(), MemoryError>;

    /// Adds to the end of a trail, and does not wait for the server. Oldest entries fall out. The
    /// entries of one process keep their order.
    ///
    /// # Errors
    /// [`MemoryError::TooLarge`], [`MemoryError::Unavailable`].
    async fn push(&self, trail: &Subject, entry: Bytes) -> Result<(), MemoryError>;

    /// The entries, oldest first. What was just pushed may not be there yet.
    ///
    /// # Errors
    /// [`MemoryError::Unavailable`].
    async fn trail(&self, trail: &Subject) -> Result<Vec<Bytes>, MemoryError>;

    /// Removes all entries; no error if there are none.
    ///
    /// # Errors
    /// [`MemoryError::Unavailable`].
    async fn drop_trail(&self, trail: &Subject) -> Result<(), MemoryError>;
}

/// Refuses what is above [`MAX_SHARED_BYTES`].
pub(crate) fn check_shared(value: &Bytes) -> Result<(), MemoryError> {
    let (size_bytes, limit_bytes) = (value.len(), MAX_SHARED_BYTES);
    if size_bytes > limit_bytes {
        return Err(MemoryError::TooLarge { size_bytes, limit_bytes });
    }
    Ok(())
}
