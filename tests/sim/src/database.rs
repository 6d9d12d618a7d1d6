//! The shared database: transactions over streams and outbox, the row of the sequencer, the
//! log, and leases by a clock that may jump.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use event_store::postgres::LEADER;
use event_store::{Claim, Leases, MemoryEventStore};
use futures::FutureExt;

/// How long a lease is granted for.
pub const TTL: Duration = Duration::from_secs(4);
/// A transaction that stands still so long is ended by the server.
const IDLE_MS: i64 = 3_000;

/// What is appended: `id` is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: u64,
    /// Its stream.
    pub stream: u8,
    /// Its version in the stream, from 1.
    pub version: u64,
}

/// An event with its position, and who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The event.
    pub event: Event,
    /// From 1.
    pub position: u64,
    /// The epoch of the sequencer.
    pub epoch: u64,
}

/// An append that is not committed: it holds its stream.
#[derive(Debug, Clone, Copy)]
struct Append {
    event: Event,
    seq: u64,
    began_ms: i64,
}

/// A step of a sequencer that is not committed.
#[derive(Debug, Clone)]
pub struct Step {
    /// Rows of the outbox, in their order.
    pub taken: Vec<(u64, Event)>,
    /// Where the log ended.
    pub base: u64,
    /// In whose epoch.
    pub epoch: u64,
    owner: usize,
    began_ms: i64,
}

/// The database. Nothing in it is lost: what is lost is who talks to it.
pub struct Database {
    clock: Arc<AtomicI64>,
    leases: MemoryEventStore,
    /// Time as it passes, whatever the clock says.
    now_ms: i64,
    versions: BTreeMap<u8, u64>,
    known: BTreeMap<u64, Event>,
    appends: BTreeMap<u64, Append>,
    next_append: u64,
    next_seq: u64,
    outbox: BTreeMap<u64, Event>,
    /// What has a position.
    pub log: Vec<Placed>,
    epoch: u64,
    /// Up to here the leader says that it published.
    pub published: u64,
    /// Who holds the row of the sequencer, and since when.
    row: Option<(usize, i64)>,
    /// Left out for the check of the checker: whether epochs and the row's lock count.
    pub fenced: bool,
}

impl Database {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(1_000_000_000));
        let of_leases = Arc::clone(&clock);
        let now = move || Timestamp::from_micros(of_leases.load(Ordering::Relaxed));
        Self {
            clock,
            leases: MemoryEventStore::new(Arc::new(now)),
            now_ms: 0,
            versions: BTreeMap::new(),
            known: BTreeMap::new(),
            appends: BTreeMap::new(),
            next_append: 0,
            next_seq: 0,
            outbox: BTreeMap::new(),
            log: Vec::new(),
            epoch: 0,
            published: 0,
            row: None,
            fenced: true,
        }
    }

    /// Time passes, and what stood still too long is ended.
    pub fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        self.jump(ms);
        let over = self.now_ms - IDLE_MS;
        self.appends.retain(|_, append| append.began_ms > over);
        self.row = self.row.filter(|(_, since)| *since > over);
    }

    /// The clock jumps, forwards or backwards; no time passes.
    pub fn jump(&self, ms: i64) {
        self.clock.fetch_add(ms * 1_000, Ordering::Relaxed);
    }

    /// Begins an append. `Err(true)`: the event is there already. `Err(false)`: another holds
    /// the stream.
    pub fn begin_append(&mut self, id: u64, stream: u8) -> Result<u64, bool> {
        if self.known.contains_key(&id) {
            return Err(true);
        }
        if self.appends.values().any(|append| append.event.stream == stream) {
            return Err(false);
        }
        let version = self.versions.get(&stream).copied().unwrap_or(0) + 1;
        // Drawn under the lock of the stream.
        self.next_seq += 1;
        self.next_append += 1;
        let event = Event { id, stream, version };
        let append = Append { event, seq: self.next_seq, began_ms: self.now_ms };
        self.appends.insert(self.next_append, append);
        Ok(self.next_append)
    }

    /// Commits; false when the server ended the transaction before.
    pub fn commit_append(&mut self, append: u64) -> bool {
        let Some(Append { event, seq, .. }) = self.appends.remove(&append) else {
            return false;
        };
        self.versions.insert(event.stream, event.version);
        self.known.insert(event.id, event);
        self.outbox.insert(seq, event);
        true
    }

    /// Its connection ended.
    pub fn abort_append(&mut self, append: u64) {
        self.appends.remove(&append);
    }

    /// Whether a committed append has the event.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        self.known.contains_key(&id)
    }

    /// The epoch in which `holder` has the lead; `None` when another has it.
    pub fn claim(&self, holder: &str) -> Option<u64> {
        let claim = Claim {
            name: LEADER.to_owned(),
            holder: holder.to_owned(),
            ttl: TTL,
            note: Bytes::new(),
        };
        // The memory adapter never waits.
        let claimed = self.leases.claim(&[claim]).now_or_never()?.ok()?;
        claimed.into_iter().next().flatten().map(|lease| lease.epoch)
    }

    /// Gives the lead up.
    pub fn release(&self, holder: &str, epoch: u64) {
        let held = [(LEADER.to_owned(), epoch)];
        let _ = self.leases.release(holder, &held).now_or_never();
    }

    /// Takes the sequencer over: false when it has a higher epoch, or its row is held.
    pub fn take_over(&mut self, epoch: u64) -> bool {
        if self.row.is_some() || self.epoch > epoch {
            return !self.fenced;
        }
        self.epoch = epoch;
        true
    }

    /// The first statements of a step: lock the row, take from the outbox. `None` when the row
    /// is held, the epoch is stale or nothing is there.
    pub fn begin_step(&mut self, owner: usize, epoch: u64, most: usize) -> Option<Step> {
        if self.fenced && (self.row.is_some() || self.epoch != epoch) {
            return None;
        }
        let taken: Vec<_> =
            self.outbox.iter().take(most).map(|(seq, event)| (*seq, *event)).collect();
        if taken.is_empty() {
            return None;
        }
        self.row = Some((owner, self.now_ms));
        let base = self.log.len() as u64;
        Some(Step { taken, base, epoch, owner, began_ms: self.now_ms })
    }

    /// The last ones: write where the epoch is still the last, and commit. False when refused.
    pub fn commit_step(&mut self, step: &Step) -> bool {
        let mine = self.row == Some((step.owner, step.began_ms));
        if self.fenced && (!mine || self.epoch != step.epoch) {
            return false;
        }
        for (position, (seq, event)) in (step.base + 1..).zip(&step.taken) {
            self.outbox.remove(seq);
            self.log.push(Placed { event: *event, position, epoch: step.epoch });
        }
        if mine {
            self.row = None;
        }
        true
    }

    /// Its connection ended.
    pub fn abort_step(&mut self, owner: usize) {
        self.row = self.row.filter(|(holder, _)| *holder != owner);
    }

    /// Notes what was published. False when the epoch is stale.
    pub fn mark_published(&mut self, epoch: u64, position: u64) -> bool {
        if self.fenced && self.epoch != epoch {
            return false;
        }
        self.published = self.published.max(position);
        true
    }

    /// Whether everything has its position.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.outbox.is_empty() && self.appends.is_empty()
    }

    /// How many events were committed.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.known.len()
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}
