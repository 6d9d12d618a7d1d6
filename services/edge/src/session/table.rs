//! All sessions of this edge, within its limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use domain::ApiKeyId;
use mcp::server::SessionId;
use ring::rand::SystemRandom;

use super::{Cause, Session, locked};
use crate::config::EdgeLimits;
use crate::replay::ReplayLimits;
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
        // What a crowd needed is given back when it left.
        if self.by_id.capacity() > 1_024 && self.by_id.len() < self.by_id.capacity() / 4 {
            self.by_id.shrink_to(self.by_id.len() * 2);
        }
        Some(session)
    }
}

impl Sessions {
    pub(crate) fn new(limits: EdgeLimits) -> Self {
        let replay = ReplayLimits::new(&limits);
        let (limits, random) = (Arc::new(limits), SystemRandom::new());
        Self { limits, replay, tasks: Arc::default(), random, table: Mutex::default() }
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
        let session = Session::new(id.clone(), key, scope, &self.limits, &self.replay, &self.tasks);
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
        session.end();
        tracing::debug!(session = ?session.id, cause = cause.as_str(), "session ended");
        metrics::counter!("mcp_orch_sessions_ended_total", "cause" => cause.as_str()).increment(1);
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
