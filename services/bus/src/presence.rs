//! Who is there: keys with a value, for as long as their announcement lives.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::registration::Registration;
use crate::{BusError, Subject, SubjectFilter};

/// Largest value of a presence key: 64 KiB.
pub const MAX_PRESENCE_BYTES: usize = 64 * 1024;
/// Most keys present at a time.
pub const MAX_PRESENT: usize = 10_000;

/// A key that is announced, and what its owner says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The key, e.g. `worker.<id>`.
    pub key: Subject,
    /// The value of the latest announcement.
    pub value: Bytes,
}

type Update = Box<dyn Fn(Bytes) -> Result<(), BusError> + Send + Sync>;

/// Keeps a key present; dropping it withdraws the key. A key that was announced again since
/// belongs to the newer announcement and stays.
pub struct Announcement {
    key: Subject,
    update: Update,
    _registration: Registration,
}

impl Announcement {
    pub(crate) fn new(key: Subject, update: Update, registration: Registration) -> Self {
        Self { key, update, _registration: registration }
    }

    /// The announced key.
    pub const fn key(&self) -> &Subject {
        &self.key
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`BusError::TooLarge`] above [`MAX_PRESENCE_BYTES`], [`BusError::Closed`] if a newer
    /// announcement holds the key, [`BusError::Unavailable`].
    pub fn update(&self, value: impl Into<Bytes>) -> Result<(), BusError> {
        (self.update)(value.into())
    }
}

impl fmt::Debug for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Announcement").field(&self.key).finish()
    }
}

/// Follows the set of keys that a filter matches. Changes in quick succession may be seen as
/// one; the latest set is always seen.
#[derive(Debug)]
pub struct PresenceWatch {
    filter: SubjectFilter,
    all: watch::Receiver<Arc<Vec<Presence>>>,
    seen: Option<Vec<Presence>>,
}

impl PresenceWatch {
    /// Follows `all`, which the adapter keeps sorted by key.
    pub(crate) fn new(filter: SubjectFilter, all: watch::Receiver<Arc<Vec<Presence>>>) -> Self {
        Self { filter, all, seen: None }
    }

    /// The whole set, sorted by key: at once on the first call, later as soon as it differs from
    /// what was returned before. `None` after the bus was shut down. Cancel-safe.
    pub async fn next(&mut self) -> Option<Vec<Presence>> {
        loop {
            let set = matching(&self.all.borrow_and_update(), &self.filter);
            if self.seen.as_ref() != Some(&set) {
                self.seen = Some(set.clone());
                return Some(set);
            }
            self.all.changed().await.ok()?;
        }
    }
}

/// The present keys that `filter` matches.
pub(crate) fn matching(all: &[Presence], filter: &SubjectFilter) -> Vec<Presence> {
    all.iter().filter(|present| filter.matches(&present.key)).cloned().collect()
}
