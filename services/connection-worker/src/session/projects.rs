//! How many connections of single clients each project may have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use domain::ProjectId;
use tokio::sync::Semaphore;

/// The room of each project; that of projects without such servers is forgotten.
#[derive(Debug)]
pub(crate) struct Projects {
    max_per_project: usize,
    rooms: Mutex<HashMap<ProjectId, Weak<Semaphore>>>,
}

impl Projects {
    /// So many connections for each.
    pub(crate) fn new(max_per_project: usize) -> Self {
        Self { max_per_project, rooms: Mutex::default() }
    }

    /// One permit for each connection that the project may have, shared by all of its servers.
    pub(super) fn room(&self, project: &ProjectId) -> Arc<Semaphore> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|_, room| room.strong_count() > 0);
        if let Some(room) = rooms.get(project).and_then(Weak::upgrade) {
            return room;
        }
        let room = Arc::new(Semaphore::new(self.max_per_project));
        rooms.insert(project.clone(), Arc::downgrade(&room));
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_a_project_share_its_room() {
        let projects = Projects::new(2);
        let (one, other): (ProjectId, ProjectId) =
            ("one".parse().unwrap(), "other".parse().unwrap());
        let room = projects.room(&one);
        let _taken = room.try_acquire().unwrap();
        assert_eq!(projects.room(&one).available_permits(), 1);
        assert_eq!(projects.room(&other).available_permits(), 2);
        assert_eq!(projects.rooms.lock().unwrap().len(), 2);
        drop(projects.room(&one));
        // The one that nobody holds was forgotten.
        assert_eq!(projects.rooms.lock().unwrap().len(), 1);
    }
}
