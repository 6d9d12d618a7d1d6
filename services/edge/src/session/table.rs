//! All sessions of this edge, within its limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use domain::ApiKeyId;
use mcp::server::SessionId;
use ring::rand::SystemRandom;

use super::{Cause, Restored, Session, locked};
use crate::config::EdgeLimits;
use crate::replay::ReplayLimits;
use crate::roaming::{Kept, Roaming};
use crate::scope::Scope;
use crate::task_owners::TaskOwners;

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
    limits: Arc<EdgeLimits>,
    replay: Arc<ReplayLimits>,
    /// The tasks that keys made: they outlive sessions.
    pub(crate) tasks: Arc<TaskOwners>,
    random: SystemRandom,
    /// Where edges share their sessions.
    roaming: Option<Arc<Roaming>>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<SessionId, Arc<Session>>,
    per_key: HashMap<ApiKeyId, usize>,
}

impl Table {
    fn insert(&mut self, session: &Arc<Session>) {
        *self.per_key.entry(session.key).or_default() += 1;
        self.by_id.insert(session.id.clone(), Arc::clone(session));
        metrics::gauge!("mcp_orch_sessions").set(self.by_id.len() as f64);
    }

    /// Whether one more session of a key is too many.
    fn check_room(&self, limits: &EdgeLimits, key: ApiKeyId) -> Result<(), Refused> {
        let of_key = self.per_key.get(&key).copied().unwrap_or_default();
        if self.by_id.len() >= limits.sessions || of_key >= limits.sessions_per_key {
            metrics::counter!("mcp_orch_sessions_refused_total").increment(1);
            return Err(Refused::TooMany);
        }
        Ok(())
    }

    fn remove(&mut self, id: &SessionId) -> Option<Arc<Session>> {
        let session = self.by_id.remove(id)?;
        if let Some(count) = self.per_key.get_mut(&session.key) {
            *count -= 1;
            if *count == 0 {
                self.per_key.remove(&session.key);
            }
        }
        // What a crowd needed is given back when it left.
        if self.by_id.capacity() > 1_024 && self.by_id.len() < self.by_id.capacity() / 4 {
            self.by_id.shrink_to(self.by_id.len() * 2);
        }
        Some(session)
    }
}

impl Sessions {
    /// `roaming` where edges share their sessions.
    pub(crate) fn new(limits: EdgeLimits, roaming: Option<Arc<Roaming>>) -> Self {
        let replay = ReplayLimits::new(&limits);
        let (limits, random) = (Arc::new(limits), SystemRandom::new());
        let tasks = Arc::new(TaskOwners::new(roaming.clone()));
        Self { limits, replay, tasks, random, roaming, table: Mutex::default() }
    }

    /// Opens a session.
    pub(crate) fn create(&self, key: ApiKeyId, scope: Scope) -> Result<Arc<Session>, Refused> {
        let id = SessionId::generate(&self.random).ok_or(Refused::NoRandomness)?;
        let mut table = locked(&self.table);
        table.check_room(&self.limits, key)?;
        let kept = self.roaming.as_ref().map(|roaming| Kept::new(roaming, id.as_str(), 0, None));
        let session = Arc::new(self.session(id, key, scope, kept));
        table.insert(&session);
        Ok(session)
    }

    /// Whether there is room for one more session.
    pub(crate) fn check_room(&self, key: ApiKeyId) -> Result<(), Refused> {
        locked(&self.table).check_room(&self.limits, key)
    }

    /// Goes on with a session that another edge had. Its place was asked for before.
    pub(crate) fn restore(
        &self,
        key: ApiKeyId,
        scope: Scope,
        restored: Restored<'_>,
    ) -> Arc<Session> {
        let Restored { id, record, kept } = restored;
        let session = Arc::new(self.session(id, key, scope, Some(kept)).restored(record));
        locked(&self.table).insert(&session);
        session
    }

    fn session(
        &self,
        id: SessionId,
        key: ApiKeyId,
        scope: Scope,
        kept: Option<Arc<Kept>>,
    ) -> Session {
        Session::new(id, (key, scope), &self.limits, &self.replay, &self.tasks, kept)
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
        match cause {
            Cause::Moved => session.leave(),
            _ => session.end(),
        }
        if let Some(kept) = session.kept.as_ref().filter(|_| cause != Cause::Moved) {
            kept.forget();
        }
        tracing::debug!(session = ?session.id, cause = cause.as_str(), "session ended");
        metrics::counter!("mcp_orch_sessions_ended_total", "cause" => cause.as_str()).increment(1);
    }

    /// Takes a session out that is given up: nothing new begins in it.
    pub(crate) fn withdraw(&self, id: &SessionId) {
        let mut table = locked(&self.table);
        if table.remove(id).is_none() {
            return;
        }
        metrics::gauge!("mcp_orch_sessions").set(table.by_id.len() as f64);
        drop(table);
        let cause = Cause::Moved.as_str();
        metrics::counter!("mcp_orch_sessions_ended_total", "cause" => cause).increment(1);
    }

    /// Ends what has been silent too long, and drops what no client comes back for.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        for session in self.all() {
            session.sweep(now);
            if session.is_idle(self.limits.session_idle) {
                self.end(&session.id, Cause::Idle);
            }
        }
    }

    /// How much all streams hold, in bytes.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.replay.held_bytes()
    }

    /// How many sessions there is room for without asking for memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        locked(&self.table).by_id.capacity()
    }

    /// Every session that is open.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        locked(&self.table).by_id.values().cloned().collect()
    }
}
