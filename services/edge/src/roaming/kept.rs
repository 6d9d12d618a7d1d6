//! The record of one session of this edge, as other edges see it.
//!
//! What always holds: it is written one write at a time; several changes that wait together are
//! one write; once it is gone, or another edge's, nothing is written any more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use backplane::exchange::Exchange;
use bus::{MemoryError, Revision};
use bytes::Bytes;
use prost::Message as _;
use proto::internal::v1::{McpSession, StreamedCall, TrailEntry};

use super::{Digest, MEMORY_WAIT, Roaming, digest_of, session_key, trail, trail_key};
use crate::replay::StreamLog;
use crate::session::Session;

/// How long after a client was given the end of an answer it may still come back for it.
const TOLD: Duration = Duration::from_secs(5);
/// How often a write is tried when another one came between.
const ATTEMPTS: usize = 4;

/// Why a record was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsaved {
    /// The session is another edge's now.
    Moved,
    /// What edges share cannot be reached, or is full.
    Unavailable,
}

/// What other edges know of a session.
pub(crate) struct Kept {
    roaming: Arc<Roaming>,
    digest: Digest,
    generation: u32,
    ends_with_stream: AtomicBool,
    /// Goes up with each change.
    changes: AtomicU64,
    saved: tokio::sync::Mutex<Saved>,
    calls: Mutex<Vec<Streamed>>,
    has_trail: AtomicBool,
    /// Whether what the home before said unasked was not looked at yet.
    recalls: AtomicBool,
}

struct Saved {
    revision: Option<Revision>,
    /// What of the changes is in it.
    changes: u64,
    at: Instant,
    is_gone: bool,
}

struct Streamed {
    log: Weak<StreamLog>,
    call: StreamedCall,
    /// Lets the worker keep the answer until the client has it.
    held: Option<Exchange>,
}

impl Kept {
    /// Of a session that is new, or was just taken over with that revision of its record.
    pub(crate) fn new(
        roaming: &Arc<Roaming>,
        id: &str,
        generation: u32,
        revision: Option<Revision>,
    ) -> Arc<Self> {
        // Whoever took it over wrote it.
        let changes = u64::from(revision.is_some());
        Arc::new(Self {
            roaming: Arc::clone(roaming),
            digest: digest_of(id.as_bytes()),
            generation,
            ends_with_stream: AtomicBool::new(false),
            changes: AtomicU64::new(1),
            saved: tokio::sync::Mutex::new(Saved {
                revision,
                changes,
                at: Instant::now(),
                is_gone: false,
            }),
            calls: Mutex::default(),
            has_trail: AtomicBool::new(generation > 0),
            recalls: AtomicBool::new(generation > 0),
        })
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Streamed>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often the session was taken over.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The name of this edge.
    pub(crate) fn home(&self) -> &str {
        &self.roaming.instance
    }

    /// The session is one of HTTP+SSE: nobody takes it over.
    pub(crate) fn end_with_stream(&self) {
        self.ends_with_stream.store(true, Ordering::Relaxed);
    }

    /// Whether the session ends with its stream.
    pub(crate) fn ends_with_stream(&self) -> bool {
        self.ends_with_stream.load(Ordering::Relaxed)
    }

    /// Something that another edge would need is another than before.
    pub(crate) fn change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// A call whose client may come back for its stream.
    pub(crate) fn stream(&self, log: &Arc<StreamLog>, call: StreamedCall) {
        let mut calls = self.calls();
        // A call that is sent again takes its own place.
        calls.retain(|known| known.call.stream != call.stream);
        calls.push(Streamed { log: Arc::downgrade(log), call, held: None });
        drop(calls);
        self.change();
    }

    /// The call of a stream is over, and its worker keeps the answer as long as `held`.
    pub(crate) fn hold(&self, stream: u64, held: Option<Exchange>) {
        let mut calls = self.calls();
        if let Some(known) = calls.iter_mut().find(|known| known.call.stream == stream) {
            known.held = held;
        }
    }

    /// Forgets the calls whose clients have all of them.
    pub(crate) fn prune(&self) {
        self.prune_told(TOLD);
    }

    fn prune_told(&self, since: Duration) {
        let mut calls = self.calls();
        let before = calls.len();
        calls.retain(|known| known.is_wanted(since));
        let is_changed = calls.len() != before;
        drop(calls);
        if is_changed {
            self.change();
        }
    }

    /// The calls whose clients may come back.
    pub(crate) fn streamed(&self) -> Vec<StreamedCall> {
        let calls = self.calls();
        let wanted = calls.iter().filter(|known| known.is_wanted(TOLD));
        wanted.map(|known| known.call.clone()).collect()
    }

    /// Whether the record is older than that, or than the last change.
    pub(crate) fn is_due(&self, refresh: Duration) -> bool {
        // Who writes sees to it.
        self.saved.try_lock().is_ok_and(|saved| {
            let is_behind = saved.changes < self.changes.load(Ordering::Acquire);
            !saved.is_gone && (is_behind || saved.at.elapsed() >= refresh)
        })
    }

    /// Whether there are changes that are not in the record.
    pub(crate) fn is_behind(&self) -> bool {
        let changes = self.changes.load(Ordering::Acquire);
        self.saved.try_lock().is_ok_and(|saved| saved.changes < changes)
    }

    /// Writes the record, unless all changes up to now are in it.
    pub(crate) async fn save(&self, session: &Session) -> Result<(), Unsaved> {
        let wanted = self.changes.load(Ordering::Acquire);
        let mut saved = self.saved.lock().await;
        if saved.is_gone {
            return Err(Unsaved::Moved);
        }
        if saved.changes >= wanted {
            return Ok(());
        }
        let changes = self.changes.load(Ordering::Acquire);
        let written = self.write(&mut saved, session.record(self)).await;
        match written {
            Ok(()) => {
                saved.changes = changes;
                saved.at = Instant::now();
            }
            Err(Unsaved::Moved) => saved.is_gone = true,
            Err(Unsaved::Unavailable) => {
                metrics::counter!("mcp_orch_sessions_unshared_total").increment(1);
            }
        }
        written
    }

    async fn write(&self, saved: &mut Saved, mut record: McpSession) -> Result<(), Unsaved> {
        record.seen_at_ms = self.roaming.now_ms();
        if !self.roaming.bus.connectivity().borrow().is_connected() {
            // What cannot be told is not waited for: it is told when it can be.
            return Err(Unsaved::Unavailable);
        }
        let key = session_key(&self.digest);
        let memory = &self.roaming.memory;
        for _ in 0..ATTEMPTS {
            let value = Bytes::from(record.encode_to_vec());
            let writing = memory.write(&key, value, saved.revision);
            match tokio::time::timeout(MEMORY_WAIT, writing).await {
                Ok(Ok(revision)) => {
                    saved.revision = Some(revision);
                    return Ok(());
                }
                Ok(Err(MemoryError::Changed)) => {
                    saved.revision = self.own_revision().await?;
                }
                Ok(Err(MemoryError::TooLarge { .. })) => {
                    // What is left lets a client come back; its calls can be asked for nothing.
                    for streamed in &mut record.calls {
                        if let Some(call) = &mut streamed.call {
                            call.params = Bytes::new();
                        }
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a session's record was not shared");
                    return Err(Unsaved::Unavailable);
                }
                Err(_) => {
                    tracing::warn!("a session's record was not shared in time");
                    return Err(Unsaved::Unavailable);
                }
            }
        }
        Err(Unsaved::Unavailable)
    }

    /// The revision of the record, if it is still of this edge: a write whose answer was lost
    /// may have been made.
    async fn own_revision(&self) -> Result<Option<Revision>, Unsaved> {
        let read = self.roaming.read_session(&self.digest).await;
        match read.map_err(|_| Unsaved::Unavailable)? {
            None => Ok(None),
            Some((revision, record))
                if record.home == self.home() && record.generation == self.generation =>
            {
                Ok(Some(revision))
            }
            Some(_) => Err(Unsaved::Moved),
        }
    }

    /// Gives the session up for whoever is asked for it next. Whether that was written.
    pub(crate) async fn give_up(&self, session: &Session) -> bool {
        let mut saved = self.saved.lock().await;
        if saved.is_gone {
            return true;
        }
        // Connections end in good order here: what was given to a client arrives.
        self.prune_told(Duration::ZERO);
        let record = McpSession { home: String::new(), ..session.record(self) };
        for streamed in self.calls().iter_mut() {
            if let Some(held) = streamed.held.take() {
                held.leave();
            }
        }
        let written = self.write(&mut saved, record).await.is_ok();
        saved.is_gone = true;
        written
    }

    /// The session ended: nobody finds it any more.
    pub(crate) fn forget(self: &Arc<Self>) {
        // Outside a runtime there is nobody left who could look.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let kept = Arc::clone(self);
        runtime.spawn(async move {
            let mut saved = kept.saved.lock().await;
            if saved.is_gone {
                return;
            }
            saved.is_gone = true;
            drop(saved);
            let roaming = &kept.roaming;
            let Ok(_permit) = roaming.beside.acquire().await else { return };
            let key = session_key(&kept.digest);
            let removing = roaming.memory.remove(&key);
            let _ = tokio::time::timeout(MEMORY_WAIT, removing).await;
            if kept.has_trail.load(Ordering::Relaxed) {
                let key = trail_key(&kept.digest);
                let dropping = roaming.memory.drop_trail(&key);
                let _ = tokio::time::timeout(MEMORY_WAIT, dropping).await;
            }
        });
    }

    /// Another edge may say it again: lost when too much of it waits.
    pub(crate) fn trail(&self, number: u64, message: &Bytes) {
        self.has_trail.store(true, Ordering::Relaxed);
        let entry = TrailEntry { number, message: message.clone() };
        let step = trail::Step { trail: trail_key(&self.digest), entry };
        if self.roaming.trail.try_send(step).is_err() {
            metrics::counter!("mcp_orch_replay_dropped_total").increment(1);
        }
    }

    /// What the home before said unasked, the first time it is asked for.
    pub(crate) async fn recall(&self) -> Vec<(u64, Bytes)> {
        if !self.recalls.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        trail::read(&*self.roaming.memory, &trail_key(&self.digest)).await
    }
}

impl Streamed {
    /// Whether its client may come back for it: not if it was given all of it that long ago.
    fn is_wanted(&self, since: Duration) -> bool {
        self.log.upgrade().is_some_and(|log| !log.is_told(since))
    }
}
