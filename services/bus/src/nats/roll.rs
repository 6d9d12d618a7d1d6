//! Who is present, as far as this process heard. Time is counted in beats of this process.
//!
//! Each announcement has a stamp; of two for the same key the greater one holds it. A key that is
//! not heard again in time is gone, unless it is our own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::check_size;
use crate::{BusError, MAX_PRESENCE_BYTES, MAX_PRESENT, Presence, Subject};

const HERE: u8 = 1;
const GONE: u8 = 2;

/// Which announcement: later ones are greater, also across processes, as far as their clocks
/// agree.
pub(super) type Stamp = u128;

/// What processes tell each other of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// The announcement stands.
    Here(Stamp, Bytes),
    /// It was withdrawn.
    Gone(Stamp),
}

impl Notice {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Here(stamp, value) => {
                out.put_u8(HERE);
                out.put_u128(*stamp);
                out.put_slice(value);
            }
            Self::Gone(stamp) => {
                out.put_u8(GONE);
                out.put_u128(*stamp);
            }
        }
        out.freeze()
    }

    /// `None` if this is none.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        let kind = bytes.try_get_u8().ok()?;
        let stamp = bytes.try_get_u128().ok()?;
        match kind {
            HERE if bytes.len() <= MAX_PRESENCE_BYTES => Some(Self::Here(stamp, bytes)),
            GONE => Some(Self::Gone(stamp)),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    value: Bytes,
    heard_at: u64,
    is_own: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Roll {
    entries: Mutex<BTreeMap<Subject, Entry>>,
    /// `None` after the bus was shut down.
    published: Mutex<Option<watch::Sender<Arc<Vec<Presence>>>>>,
}

impl Default for Roll {
    fn default() -> Self {
        Self { entries: Mutex::default(), published: Mutex::new(Some(watch::Sender::default())) }
    }
}

type Entries<'a> = MutexGuard<'a, BTreeMap<Subject, Entry>>;

impl Roll {
    fn entries(&self) -> Entries<'_> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Announces a key of this process.
    pub(super) fn enter(&self, key: &Subject, value: Bytes) -> Result<Stamp, BusError> {
        check_size("a presence value", value.len(), MAX_PRESENCE_BYTES)?;
        let mut entries = self.entries();
        if entries.len() >= MAX_PRESENT && !entries.contains_key(key) {
            return Err(BusError::Busy { limit: "too many presence keys" });
        }
        // Also after the clock of the holder that is replaced.
        let held = entries.get(key).map_or(0, |entry| entry.stamp);
        let stamp = Uuid::now_v7().as_u128().max(held.saturating_add(1));
        entries.insert(key.clone(), Entry { stamp, value, heard_at: 0, is_own: true });
        self.publish(&entries);
        Ok(stamp)
    }

    /// Replaces the value of an announcement of this process.
    pub(super) fn update(&self, key: &Subject, stamp: Stamp, value: Bytes) -> Result<(), BusError> {
        check_size("a presence value", value.len(), MAX_PRESENCE_BYTES)?;
        let mut entries = self.entries();
        match entries.get_mut(key) {
            Some(entry) if entry.stamp == stamp => entry.value = value,
            _ => return Err(BusError::Closed),
        }
        self.publish(&entries);
        Ok(())
    }

    /// Somebody said something of a key.
    pub(super) fn hear(&self, key: &Subject, notice: Notice, beats: u64) {
        let mut entries = self.entries();
        let changed = match (notice, entries.get_mut(key)) {
            (Notice::Here(stamp, _), Some(entry)) if stamp < entry.stamp => false,
            (Notice::Here(stamp, value), Some(entry)) if stamp == entry.stamp => {
                entry.heard_at = beats;
                // Of our own ones we know better, and they come back to us late.
                let is_news = !entry.is_own && entry.value != value;
                if is_news {
                    entry.value = value;
                }
                is_news
            }
            (Notice::Here(stamp, value), held) => {
                if held.is_none() && entries.len() >= MAX_PRESENT {
                    return;
                }
                let entry = Entry { stamp, value, heard_at: beats, is_own: false };
                entries.insert(key.clone(), entry);
                true
            }
            (Notice::Gone(stamp), Some(entry)) if stamp == entry.stamp => {
                entries.remove(key);
                true
            }
            (Notice::Gone(_), _) => false,
        };
        if changed {
            self.publish(&entries);
        }
    }

    /// Removes the key, if `stamp` still holds it.
    pub(super) fn leave(&self, key: &Subject, stamp: Stamp) {
        self.hear(key, Notice::Gone(stamp), 0);
    }

    /// Forgets the keys of others that were not heard for `silence` beats.
    pub(super) fn expire(&self, beats: u64, silence: u64) {
        let mut entries = self.entries();
        let before = entries.len();
        entries.retain(|_, entry| entry.is_own || beats.saturating_sub(entry.heard_at) < silence);
        if entries.len() != before {
            self.publish(&entries);
        }
    }

    /// What this process announces.
    pub(super) fn own(&self) -> Vec<(Subject, Notice)> {
        let entries = self.entries();
        let own = entries.iter().filter(|(_, entry)| entry.is_own);
        own.map(|(key, entry)| (key.clone(), Notice::Here(entry.stamp, entry.value.clone())))
            .collect()
    }

    pub(super) fn all(&self) -> Arc<Vec<Presence>> {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.as_ref().map(|published| Arc::clone(&published.borrow())).unwrap_or_default()
    }

    /// Follows all sets; `None` at `limit` followers, or after the end.
    pub(super) fn follow(&self, limit: usize) -> Option<watch::Receiver<Arc<Vec<Presence>>>> {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let published = published.as_ref()?;
        (published.receiver_count() < limit).then(|| published.subscribe())
    }

    /// No more changes come.
    pub(super) fn close(&self) {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Called with the entries locked, so that the sets are published in their order.
    fn publish(&self, entries: &Entries<'_>) {
        let present = |(key, entry): (&Subject, &Entry)| Presence {
            key: key.clone(),
            value: entry.value.clone(),
        };
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(published) = published.as_ref() {
            published.send_replace(Arc::new(entries.iter().map(present).collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Subject {
        Subject::new("worker.1").unwrap()
    }

    fn here(stamp: Stamp, value: &'static str) -> Notice {
        Notice::Here(stamp, value.into())
    }

    fn values(roll: &Roll) -> Vec<Bytes> {
        roll.all().iter().map(|present| present.value.clone()).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        for notice in [here(7, "value"), here(u128::MAX, ""), Notice::Gone(8)] {
            assert_eq!(Notice::decode(notice.encode()), Some(notice));
        }
        assert_eq!(Notice::decode("\u{3}short".into()), None);
    }

    #[test]
    fn the_greater_stamp_holds_the_key() {
        let roll = Roll::default();
        roll.hear(&key(), here(2, "new"), 1);
        roll.hear(&key(), here(1, "old"), 1);
        roll.hear(&key(), Notice::Gone(1), 1);
        assert_eq!(values(&roll), ["new"]);
        roll.hear(&key(), Notice::Gone(2), 1);
        assert_eq!(values(&roll), [""; 0]);
    }

    #[test]
    fn an_announcement_replaces_what_is_held_whatever_the_clocks_say() {
        let roll = Roll::default();
        roll.hear(&key(), here(u128::MAX - 1, "ahead"), 1);
        let own = roll.enter(&key(), "own".into()).unwrap();
        assert_eq!(own, u128::MAX);
        roll.hear(&key(), here(u128::MAX - 1, "ahead"), 1);
        assert_eq!(values(&roll), ["own"]);
    }

    #[test]
    fn a_key_that_was_taken_over_cannot_be_updated() {
        let roll = Roll::default();
        let own = roll.enter(&key(), "own".into()).unwrap();
        roll.update(&key(), own, "still".into()).unwrap();
        roll.hear(&key(), here(own + 1, "other"), 1);
        assert_eq!(roll.update(&key(), own, "stale".into()), Err(BusError::Closed));
        assert!(roll.own().is_empty());
        roll.leave(&key(), own);
        assert_eq!(values(&roll), ["other"]);
    }

    #[test]
    fn only_the_keys_of_others_expire() {
        let roll = Roll::default();
        roll.enter(&Subject::new("own").unwrap(), "own".into()).unwrap();
        roll.hear(&key(), here(1, "other"), 10);
        roll.expire(17, 8);
        assert_eq!(roll.all().len(), 2);
        roll.expire(18, 8);
        assert_eq!(values(&roll), ["own"]);
    }
}
