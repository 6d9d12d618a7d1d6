//! The exchanges of this process with others, by their numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::link::Link;
use crate::BusError;

/// Most exchanges at a time, in both roles together.
const MAX_LINKS: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_id: Mutex<HashMap<u64, Arc<Link>>>,
}

impl Links {
    fn by_id(&self) -> MutexGuard<'_, HashMap<u64, Arc<Link>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// [`BusError::Busy`] at the limit.
    pub(super) fn insert(&self, link: &Arc<Link>) -> Result<(), BusError> {
        let mut by_id = self.by_id();
        if by_id.len() >= MAX_LINKS {
            return Err(BusError::Busy { limit: "too many exchanges" });
        }
        by_id.insert(link.id(), Arc::clone(link));
        Ok(())
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<Link>> {
        self.by_id().get(&id).map(Arc::clone)
    }

    pub(super) fn remove(&self, id: u64) {
        // Dropped outside of the lock.
        let removed = self.by_id().remove(&id);
        drop(removed);
    }

    pub(super) fn all(&self) -> Vec<Arc<Link>> {
        self.by_id().values().map(Arc::clone).collect()
    }
}
