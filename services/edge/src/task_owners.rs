//! Which key made a task on a server that clients share: there a list holds the tasks of all.
//!
//! What always holds: it is bounded; the oldest is forgotten first, and a task that is not known
//! is nobody's. Where edges share, one of them can [learn](TaskOwners::learn) what another saw.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{ApiKeyId, ServerId};

use crate::roaming::{Roaming, share_task, shared_task};

/// Most tasks that are remembered.
const MAX_TASKS: usize = 100_000;
/// The longest id that is remembered, in bytes.
const MAX_ID_BYTES: usize = 1_024;

type Task = (ServerId, String);

/// The tasks that keys made.
#[derive(Default)]
pub(crate) struct TaskOwners {
    owners: Mutex<Owners>,
    /// Where edges share.
    roaming: Option<Arc<Roaming>>,
}

#[derive(Default)]
struct Owners {
    by_task: HashMap<Task, ApiKeyId>,
    in_order: VecDeque<Task>,
}

impl TaskOwners {
    /// `roaming` where edges share.
    pub(crate) fn new(roaming: Option<Arc<Roaming>>) -> Self {
        Self { owners: Mutex::default(), roaming }
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a task by the id that its server knows. A server that uses an id again, after a
    /// restart, has made another task: the last key counts.
    pub(crate) fn note(&self, server: ServerId, id: &str, key: ApiKeyId) {
        if id.len() > MAX_ID_BYTES {
            return;
        }
        if let Some(roaming) = &self.roaming {
            share_task(roaming, server, id, key);
        }
        self.remember(server, id, key);
    }

    /// Asks what edges share, if the task is not known here.
    pub(crate) async fn learn(&self, server: ServerId, id: &str) {
        let Some(roaming) = &self.roaming else { return };
        if id.len() > MAX_ID_BYTES || self.owner(server, id).is_some() {
            return;
        }
        if let Some(key) = shared_task(roaming, server, id).await {
            self.remember(server, id, key);
        }
    }

    fn remember(&self, server: ServerId, id: &str, key: ApiKeyId) {
        let (mut owners, task) = (self.owners(), (server, id.to_owned()));
        if let Some(owner) = owners.by_task.get_mut(&task) {
            *owner = key;
            return;
        }
        if owners.in_order.len() >= MAX_TASKS
            && let Some(oldest) = owners.in_order.pop_front()
        {
            owners.by_task.remove(&oldest);
        }
        owners.in_order.push_back(task.clone());
        owners.by_task.insert(task, key);
    }

    /// Whether that key made the task.
    pub(crate) fn is_of(&self, server: ServerId, id: &str, key: ApiKeyId) -> bool {
        self.owner(server, id) == Some(key)
    }

    /// Whether another key is known to have made the task.
    pub(crate) fn is_of_another(&self, server: ServerId, id: &str, key: ApiKeyId) -> bool {
        self.owner(server, id).is_some_and(|owner| owner != key)
    }

    fn owner(&self, server: ServerId, id: &str) -> Option<ApiKeyId> {
        // A look-up by a borrowed pair needs a pair that is owned.
        self.owners().by_task.get(&(server, id.to_owned())).copied()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_task_is_of_the_key_that_made_it() {
        let owners = TaskOwners::default();
        let server = |number| ServerId::from_uuid(Uuid::from_u128(number));
        let key = |number| ApiKeyId::from_uuid(Uuid::from_u128(number));
        owners.note(server(1), "t", key(2));
        owners.note(server(1), "t", key(1));
        assert!(owners.is_of(server(1), "t", key(1)));
        assert!(!owners.is_of_another(server(1), "t", key(1)));
        assert!(owners.is_of_another(server(1), "t", key(2)));
        assert!(!owners.is_of(server(2), "t", key(1)));
        assert!(!owners.is_of_another(server(2), "t", key(1)), "nobody's is not another's");
        for number in 0..MAX_TASKS {
            owners.note(server(3), &number.to_string(), key(3));
        }
        assert!(!owners.is_of(server(1), "t", key(1)));
    }
}
