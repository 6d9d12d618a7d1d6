//! Who is present in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::error::check_size;
use crate::{BusError, MAX_PRESENCE_BYTES, MAX_PRESENT, Presence, Subject};

/// The present keys, each with the ticket of the announcement that holds it.
#[derive(Debug, Default)]
pub(super) struct Roll {
    entries: Mutex<Entries>,
    published: watch::Sender<Arc<Vec<Presence>>>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: BTreeMap<Subject, (u64, Bytes)>,
    next_ticket: u64,
}

impl Roll {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the key, or takes it over from an older announcement.
    pub(super) fn enter(&self, key: &Subject, value: Bytes) -> Result<u64, BusError> {
        check_size("a presence value", value.len(), MAX_PRESENCE_BYTES)?;
        let mut entries = self.entries();
        if entries.by_key.len() >= MAX_PRESENT && !entries.by_key.contains_key(key) {
            return Err(BusError::Busy { limit: "too many presence keys" });
        }
        let ticket = entries.next_ticket;
        entries.next_ticket += 1;
        entries.by_key.insert(key.clone(), (ticket, value));
        self.publish(&entries);
        Ok(ticket)
    }

    /// Replaces the value, if `ticket` still holds the key.
    pub(super) fn update(&self, key: &Subject, ticket: u64, value: Bytes) -> Result<(), BusError> {
        check_size("a presence value", value.len(), MAX_PRESENCE_BYTES)?;
        let mut entries = self.entries();
        match entries.by_key.get_mut(key) {
            Some((holder, held)) if *holder == ticket => *held = value,
            _ => return Err(BusError::Closed),
        }
        self.publish(&entries);
        Ok(())
    }

    /// Removes the key, if `ticket` still holds it.
    pub(super) fn leave(&self, key: &Subject, ticket: u64) {
        let mut entries = self.entries();
        if entries.by_key.get(key).is_some_and(|(holder, _)| *holder == ticket) {
            entries.by_key.remove(key);
            self.publish(&entries);
        }
    }

    pub(super) fn all(&self) -> Arc<Vec<Presence>> {
        Arc::clone(&self.published.borrow())
    }

    /// Follows all sets; `None` at `limit` followers.
    pub(super) fn follow(&self, limit: usize) -> Option<watch::Receiver<Arc<Vec<Presence>>>> {
        (self.published.receiver_count() < limit).then(|| self.published.subscribe())
    }

    /// Called with the entries locked, so that the sets are published in their order.
    fn publish(&self, entries: &Entries) {
        let present = |(key, (_, value)): (&Subject, &(u64, Bytes))| Presence {
            key: key.clone(),
            value: value.clone(),
        };
        self.published.send_replace(Arc::new(entries.by_key.iter().map(present).collect()));
    }
}
