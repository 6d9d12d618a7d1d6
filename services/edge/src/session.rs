//! Sessions of the era that opens with `initialize`.
//!
//! A session belongs to the key that opened it and to its scope: with another key it does not
//! exist. It ends by DELETE, when its SSE stream closes, when its key or its scope is gone, after
//! being silent too long, or when its client does not read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::ApiKeyId;
use mcp::server::SessionId;
use mcp::{Id, Revision};
use ring::rand::SystemRandom;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::EdgeLimits;
use crate::outbox::{Events, Outbox, Undelivered, outbox};
use crate::scope::Scope;

/// One client's session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) key: ApiKeyId,
    pub(crate) scope: Scope,
    /// Cancelled when the session ends.
    pub(crate) ended: CancellationToken,
    opening: OnceLock<Opening>,
    outbox: Mutex<Option<Outbox>>,
    running: Mutex<HashMap<Id, (u64, CancellationToken)>>,
    /// Numbers requests, since a client may use an id twice.
    requests: AtomicU64,
    calls: Arc<Semaphore>,
    last_seen: Mutex<Instant>,
}

/// What was said in `initialize`.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) revision: Revision,
    /// The client's name as it said it.
    pub(crate) client: String,
}

/// Why a session ended, as counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its client said so.
    Deleted,
    /// Its stream closed.
    Closed,
    /// Its `initialize` was refused.
    Refused,
    /// It was silent too long.
    Idle,
    /// Its client does not read.
    NotReading,
    /// Its key ended, or what it was opened for is gone.
    Revoked,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Idle => "idle",
            Self::NotReading => "not_reading",
            Self::Revoked => "revoked",
        }
    }
}

impl Session {
    /// Notes what was said in `initialize`; a second one changes nothing.
    pub(crate) fn open(&self, opening: Opening) {
        let _ = self.opening.set(opening);
    }

    /// The client's name; empty before `initialize`.
    pub(crate) fn client(&self) -> &str {
        self.opening.get().map_or("", |opening| opening.client.as_str())
    }

    /// The agreed revision, once there is one.
    pub(crate) fn revision(&self) -> Option<Revision> {
        self.opening.get().map(|opening| opening.revision)
    }

    /// Makes a stream the one that unasked messages go to; the one before ends.
    pub(crate) fn attach(&self, limits: &EdgeLimits) -> Events {
        let (sender, receiver) = outbox(limits);
        *locked(&self.outbox) = Some(sender);
        receiver
    }

    /// Where unasked messages go, if a stream is open.
    pub(crate) fn outbox(&self) -> Option<Outbox> {
        locked(&self.outbox).clone()
    }

    /// Sends a message that may be lost: when no stream is open, and before `initialize`.
    ///
    /// # Errors
    /// [`Undelivered`] when a stream is there but takes nothing.
    pub(crate) fn notify(&self, message: Bytes) -> Result<(), Undelivered> {
        match self.outbox() {
            Some(outbox) if self.opening.get().is_some() => outbox.try_send(message),
            _ => Ok(()),
        }
    }

    /// The right to one more call, until its answer was taken; `None` at the limit.
    pub(crate) fn call_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.calls).try_acquire_owned().ok()
    }

    /// Notes a request that can be cancelled by its id until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, id: &Id) -> RunningGuard {
        let cancel = CancellationToken::new();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        locked(&self.running).insert(id.clone(), (number, cancel.clone()));
        RunningGuard { session: Arc::clone(self), id: id.clone(), number, cancel }
    }

    /// Cancels a request that is under way.
    pub(crate) fn cancel(&self, id: &Id) {
        if let Some((_, cancel)) = locked(&self.running).get(id) {
            cancel.cancel();
        }
    }

    fn touch(&self) {
        *locked(&self.last_seen) = Instant::now();
    }

    fn is_idle(&self, limit: Duration) -> bool {
        let streaming = locked(&self.outbox).as_ref().is_some_and(|outbox| !outbox.is_closed());
        !streaming && locked(&self.running).is_empty() && locked(&self.last_seen).elapsed() > limit
    }
}

/// As long as it lives, the request can be cancelled by its id.
pub(crate) struct RunningGuard {
    session: Arc<Session>,
    id: Id,
    number: u64,
    /// Cancelled when the client asks for it.
    pub(crate) cancel: CancellationToken,
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        let mut running = locked(&self.session.running);
        // A later request under the same id is not this one.
        if running.get(&self.id).is_some_and(|(number, _)| *number == self.number) {
            running.remove(&self.id);
        }
    }
}

/// Why no session is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A limit on sessions is reached.
    TooMany,
    /// The system has no randomness to give.
    NoRandomness,
}

/// All sessions of this edge.
pub(crate) struct Sessions {
    limits: EdgeLimits,
    random: SystemRandom,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<SessionId, Arc<Session>>,
    per_key: HashMap<ApiKeyId, usize>,
}

impl Table {
    fn remove(&mut self, id: &SessionId) -> Option<Arc<Session>> {
        let session = self.by_id.remove(id)?;
        if let Some(count) = self.per_key.get_mut(&session.key) {
            *count -= 1;
            if *count == 0 {
                self.per_key.remove(&session.key);
            }
        }
        Some(session)
    }
}

impl Sessions {
    pub(crate) fn new(limits: EdgeLimits) -> Self {
        Self { limits, random: SystemRandom::new(), table: Mutex::default() }
    }

    /// Opens a session.
    pub(crate) fn create(&self, key: ApiKeyId, scope: Scope) -> Result<Arc<Session>, Refused> {
        let id = SessionId::generate(&self.random).ok_or(Refused::NoRandomness)?;
        let mut table = locked(&self.table);
        let of_key = table.per_key.get(&key).copied().unwrap_or_default();
        if table.by_id.len() >= self.limits.sessions || of_key >= self.limits.sessions_per_key {
            metrics::counter!("mcp_orch_sessions_refused_total").increment(1);
            return Err(Refused::TooMany);
        }
        table.per_key.insert(key, of_key + 1);
        let session = Arc::new(Session {
            id: id.clone(),
            key,
            scope,
            ended: CancellationToken::new(),
            opening: OnceLock::new(),
            outbox: Mutex::default(),
            running: Mutex::default(),
            requests: AtomicU64::new(0),
            calls: Arc::new(Semaphore::new(self.limits.calls_per_session)),
            last_seen: Mutex::new(Instant::now()),
        });
        table.by_id.insert(id, Arc::clone(&session));
        metrics::gauge!("mcp_orch_sessions").set(table.by_id.len() as f64);
        Ok(session)
    }

    /// The session of that id, for the key and the scope that opened it.
    pub(crate) fn find(&self, id: &str, key: ApiKeyId, scope: &Scope) -> Option<Arc<Session>> {
        let id = SessionId::parse(id)?;
        let session = locked(&self.table).by_id.get(&id).cloned()?;
        let owned = session.key == key && session.scope == *scope;
        owned.then(|| {
            session.touch();
            session
        })
    }

    /// Ends a session; ending it again changes nothing.
    pub(crate) fn end(&self, id: &SessionId, cause: Cause) {
        let mut table = locked(&self.table);
        let Some(session) = table.remove(id) else {
            return;
        };
        metrics::gauge!("mcp_orch_sessions").set(table.by_id.len() as f64);
        drop(table);
        session.ended.cancel();
        // Streams that wait for messages learn of it from `ended`; nothing more is put in.
        *locked(&session.outbox) = None;
        tracing::debug!(session = ?session.id, cause = cause.as_str(), "session ended");
        metrics::counter!("mcp_orch_sessions_ended_total", "cause" => cause.as_str()).increment(1);
    }

    /// Ends what has been silent too long.
    pub(crate) fn end_idle(&self) {
        for session in self.all() {
            if session.is_idle(self.limits.session_idle) {
                self.end(&session.id, Cause::Idle);
            }
        }
    }

    /// Every session that is open.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        locked(&self.table).by_id.values().cloned().collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use domain::ProjectId;
    use uuid::Uuid;

    use super::*;

    fn sessions(all: usize, per_key: usize) -> Sessions {
        let limits =
            EdgeLimits { sessions: all, sessions_per_key: per_key, ..EdgeLimits::default() };
        Sessions::new(limits)
    }

    fn key() -> ApiKeyId {
        ApiKeyId::from_uuid(Uuid::now_v7())
    }

    fn scope() -> Scope {
        Scope::Unified("p".parse::<ProjectId>().unwrap())
    }

    #[test]
    fn a_session_is_found_by_its_own_key_and_scope_only() {
        let (sessions, mine) = (sessions(9, 9), key());
        let session = sessions.create(mine, scope()).ok().unwrap();
        let id = session.id.as_str();
        assert!(sessions.find(id, mine, &scope()).is_some());
        assert!(sessions.find(id, key(), &scope()).is_none());
        let other = Scope::Unified("q".parse().unwrap());
        assert!(sessions.find(id, mine, &other).is_none());
        assert!(sessions.find("unknown", mine, &scope()).is_none());
        sessions.end(&session.id, Cause::Deleted);
        assert!(sessions.find(id, mine, &scope()).is_none());
        assert!(session.ended.is_cancelled());
    }

    #[test]
    fn limits_hold_and_an_ended_session_makes_room() {
        let (sessions, mine) = (sessions(3, 2), key());
        let first = sessions.create(mine, scope()).ok().unwrap();
        assert!(sessions.create(mine, scope()).is_ok());
        assert_eq!(sessions.create(mine, scope()).err(), Some(Refused::TooMany));
        assert!(sessions.create(key(), scope()).is_ok());
        assert_eq!(sessions.create(key(), scope()).err(), Some(Refused::TooMany));
        sessions.end(&first.id, Cause::Closed);
        sessions.end(&first.id, Cause::Closed);
        assert!(sessions.create(mine, scope()).is_ok());
    }

    #[test]
    fn a_cancellation_reaches_the_last_request_under_an_id() {
        let session = sessions(1, 1).create(key(), scope()).ok().unwrap();
        let (first, second) = (session.begin(&Id::number(1)), session.begin(&Id::number(1)));
        drop(first);
        session.cancel(&Id::string("1"));
        assert!(!second.cancel.is_cancelled());
        session.cancel(&Id::number(1));
        assert!(second.cancel.is_cancelled());
    }

    #[test]
    fn a_silent_session_ends_and_one_with_a_stream_does_not() {
        let limits = EdgeLimits { session_idle: Duration::ZERO, ..EdgeLimits::default() };
        let sessions = Sessions::new(limits.clone());
        let silent = sessions.create(key(), scope()).ok().unwrap();
        let streaming = sessions.create(key(), scope()).ok().unwrap();
        let events = streaming.attach(&limits);
        sessions.end_idle();
        assert!(silent.ended.is_cancelled());
        assert!(!streaming.ended.is_cancelled());
        drop(events);
        sessions.end_idle();
        assert!(streaming.ended.is_cancelled());
    }
}
