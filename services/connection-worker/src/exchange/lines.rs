//! The calls that other edges may adopt, by their ids.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backplane::exchange::Answering;
use domain::{ServerId, TenantId};
use proto::internal::v1::ExchangeOpen;

use super::line::Line;
use super::outlet::Outlet;
use crate::connection::ConnectionSpec;

/// The longest time that a call goes on without an edge.
const MAX_ORPHAN: Duration = Duration::from_secs(600);
/// The longest id of a call that can be adopted, in bytes.
const MAX_ID_BYTES: usize = 128;

/// A call, for its tenant alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CallKey {
    pub(super) tenant: TenantId,
    pub(super) server: ServerId,
    pub(super) call: String,
}

/// See the module.
pub(crate) struct Lines {
    lines: Mutex<HashMap<CallKey, Arc<Line>>>,
    max_calls: usize,
    bytes: Arc<Bytes>,
}

struct Bytes {
    used: AtomicUsize,
    max: usize,
}

/// What one call takes of the memory for all.
pub(super) struct Room {
    bytes: Arc<Bytes>,
    taken: usize,
}

impl Room {
    /// Takes so many bytes, if they are to be had.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let max = self.bytes.max;
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= max);
        let taken = self.bytes.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        if taken.is_ok() {
            self.taken += bytes;
        }
        taken.is_ok()
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        self.taken -= bytes;
        self.bytes.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bytes.used.fetch_sub(self.taken, Ordering::AcqRel);
    }
}

/// A call that can be adopted, as long as this lives.
pub(super) struct Registered {
    lines: Arc<Lines>,
    key: CallKey,
    line: Arc<Line>,
}

impl Registered {
    pub(super) const fn line(&self) -> &Arc<Line> {
        &self.line
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut lines = self.lines.lines();
        if lines.get(&self.key).is_some_and(|line| Arc::ptr_eq(line, &self.line)) {
            lines.remove(&self.key);
        }
        drop(lines);
        self.line.close();
    }
}

impl Lines {
    /// At most so many calls, and so many bytes of all their frames.
    pub(crate) fn new(max_calls: usize, max_bytes: usize) -> Arc<Self> {
        let bytes = Arc::new(Bytes { used: AtomicUsize::new(0), max: max_bytes });
        Arc::new(Self { lines: Mutex::default(), max_calls, bytes })
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<CallKey, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the frames of a call go. At the limits, and where another call has its id, it is one
    /// that ends with its edge.
    pub(super) fn outlet(
        self: &Arc<Self>,
        spec: &ConnectionSpec,
        open: &ExchangeOpen,
        edge: Answering,
    ) -> Outlet {
        let is_call = (1..=MAX_ID_BYTES).contains(&open.call_id.len());
        if open.orphan_ms == 0 || !is_call {
            return Outlet::Plain(edge);
        }
        let (tenant, server) = (spec.tenant, spec.server);
        let key = CallKey { tenant, server, call: open.call_id.clone() };
        let orphan = Duration::from_millis(open.orphan_ms).min(MAX_ORPHAN);
        let mut lines = self.lines();
        if lines.len() >= self.max_calls {
            return Outlet::Plain(edge);
        }
        match lines.entry(key.clone()) {
            Entry::Occupied(known) if !known.get().is_finished() => Outlet::Plain(edge),
            entry => {
                let room = Room { bytes: Arc::clone(&self.bytes), taken: 0 };
                let line = Arc::new(Line::new(edge, orphan, room));
                entry.insert_entry(Arc::clone(&line));
                Outlet::Kept(Registered { lines: Arc::clone(self), key, line })
            }
        }
    }

    /// The call, if it can be adopted.
    pub(super) fn find(&self, key: &CallKey) -> Option<Arc<Line>> {
        self.lines().get(key).cloned()
    }
}
