//! The shared memory of one process. Time is a parameter.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::shared::{MAX_TRAIL_ENTRIES, TRAIL_LIFETIME, VALUE_LIFETIME};
use crate::{MemoryError, Revision, Subject};

/// Most values, and most trails: above it, those that nobody used for longest are forgotten.
const MAX_KEYS: usize = 65_536;
/// How often expired entries are looked for, in writes.
const SWEEP_EVERY: u32 = 1_024;

/// Values and trails; see [`SharedMemory`](crate::SharedMemory) for what they promise.
#[derive(Debug, Default)]
pub(super) struct Memory {
    values: HashMap<Subject, Value>,
    trails: HashMap<Subject, VecDeque<(Instant, Bytes)>>,
    last_revision: u64,
    writes: u32,
}

#[derive(Debug)]
struct Value {
    revision: Revision,
    written: Instant,
    bytes: Bytes,
}

impl Memory {
    pub(super) fn write(
        &mut self,
        key: &Subject,
        bytes: Bytes,
        expected: Option<Revision>,
        now: Instant,
    ) -> Result<Revision, MemoryError> {
        self.sweep(now);
        let current = self.read(key, now).map(|(revision, _)| revision);
        if current != expected {
            return Err(MemoryError::Changed);
        }
        if current.is_none() && self.values.len() >= MAX_KEYS {
            let oldest = self.values.iter().min_by_key(|(_, value)| value.written);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|oldest| self.values.remove(&oldest));
        }
        self.last_revision += 1;
        let revision = Revision::new(self.last_revision);
        self.values.insert(key.clone(), Value { revision, written: now, bytes });
        Ok(revision)
    }

    pub(super) fn read(&self, key: &Subject, now: Instant) -> Option<(Revision, Bytes)> {
        let value = self.values.get(key)?;
        let is_alive = !expired(value.written, VALUE_LIFETIME, now);
        is_alive.then(|| (value.revision, value.bytes.clone()))
    }

    pub(super) fn remove(&mut self, key: &Subject) {
        self.values.remove(key);
    }

    pub(super) fn push(&mut self, trail: &Subject, entry: Bytes, now: Instant) {
        self.sweep(now);
        if self.trails.len() >= MAX_KEYS && !self.trails.contains_key(trail) {
            let last_used = |entries: &VecDeque<(Instant, Bytes)>| entries.back().map(|e| e.0);
            let oldest = self.trails.iter().min_by_key(|(_, entries)| last_used(entries));
            let oldest = oldest.map(|(trail, _)| trail.clone());
            oldest.and_then(|oldest| self.trails.remove(&oldest));
        }
        let entries = self.trails.entry(trail.clone()).or_default();
        if entries.len() >= MAX_TRAIL_ENTRIES {
            entries.pop_front();
        }
        entries.push_back((now, entry));
    }

    pub(super) fn trail(&self, trail: &Subject, now: Instant) -> Vec<Bytes> {
        let entries = self.trails.get(trail).into_iter().flatten();
        let alive = entries.filter(|(pushed, _)| !expired(*pushed, TRAIL_LIFETIME, now));
        alive.map(|(_, entry)| entry.clone()).collect()
    }

    pub(super) fn drop_trail(&mut self, trail: &Subject) {
        self.trails.remove(trail);
    }

    /// Forgets what expired, every now and then.
    fn sweep(&mut self, now: Instant) {
        self.writes = self.writes.wrapping_add(1);
        if !self.writes.is_multiple_of(SWEEP_EVERY) {
            return;
        }
        self.values.retain(|_, value| !expired(value.written, VALUE_LIFETIME, now));
        self.trails.retain(|_, entries| {
            entries.retain(|(pushed, _)| !expired(*pushed, TRAIL_LIFETIME, now));
            !entries.is_empty()
        });
    }
}

fn expired(since: Instant, lifetime: Duration, now: Instant) -> bool {
    now.saturating_duration_since(since) >= lifetime
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Subject {
        Subject::new(text).unwrap()
    }

    #[test]
    fn a_value_expires_after_its_last_write() {
        let start = Instant::now();
        let mut memory = Memory::default();
        let first = memory.write(&key("a"), "1".into(), None, start).unwrap();
        let later = start + VALUE_LIFETIME / 2;
        let second = memory.write(&key("a"), "2".into(), Some(first), later).unwrap();
        assert!(memory.read(&key("a"), start + VALUE_LIFETIME).is_some());
        let end = later + VALUE_LIFETIME;
        assert_eq!(memory.read(&key("a"), end), None);
        assert_eq!(memory.write(&key("a"), "3".into(), Some(second), end), {
            Err(MemoryError::Changed)
        });
        memory.write(&key("a"), "3".into(), None, end).unwrap();
    }

    #[test]
    fn the_entries_of_a_trail_expire_one_by_one() {
        let start = Instant::now();
        let mut memory = Memory::default();
        memory.push(&key("t"), "1".into(), start);
        memory.push(&key("t"), "2".into(), start + TRAIL_LIFETIME / 2);
        assert_eq!(memory.trail(&key("t"), start + TRAIL_LIFETIME / 2).len(), 2);
        assert_eq!(memory.trail(&key("t"), start + TRAIL_LIFETIME), ["2"]);
        assert_eq!(memory.trail(&key("t"), start + 2 * TRAIL_LIFETIME), [""; 0]);
    }

    #[test]
    fn what_expired_is_forgotten() {
        let start = Instant::now();
        let mut memory = Memory::default();
        memory.write(&key("a"), "1".into(), None, start).unwrap();
        memory.push(&key("t"), "1".into(), start);
        for _ in 0..SWEEP_EVERY {
            memory.push(&key("other"), "x".into(), start + VALUE_LIFETIME);
        }
        assert!(memory.values.is_empty());
        assert_eq!(memory.trails.len(), 1);
    }
}
