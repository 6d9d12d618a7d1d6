//! What a snapshot needs of the observations in a log: the last of each server, and not each that
//! there ever was.
//!
//! What always holds: a [`Configuration`](crate::Configuration) folded from what is kept is the
//! one folded from the whole log. So the first sighting of each tool is kept besides the last
//! catalogue, since approvals rest on it.

use std::collections::{HashMap, HashSet};

use domain::event::{ConnectionEvent, ProjectEvent, ServerEvent};
use domain::{Event, ProjectId, ServerId, StreamId};

use crate::Sightings;

/// Sorts the events of a log, in their order, into those that a snapshot has and those that later
/// ones replace. `E` is what an event is to the caller.
#[derive(Debug)]
pub struct LatestObservations<E> {
    servers: HashMap<ServerId, Server<E>>,
    deleted_projects: HashSet<ProjectId>,
    taken: u64,
}

/// A registered server with what is kept of it; each with its place in the log.
#[derive(Debug)]
struct Server<E> {
    project: ProjectId,
    state: Option<(u64, E)>,
    catalogue: Option<(u64, E)>,
    /// Whether the last catalogue showed a tool for the first time.
    showed_new: bool,
    /// Earlier catalogues that did.
    sighted: Vec<(u64, E)>,
    sightings: Sightings,
}

impl<E> Default for LatestObservations<E> {
    fn default() -> Self {
        Self { servers: HashMap::new(), deleted_projects: HashSet::new(), taken: 0 }
    }
}

impl<E> LatestObservations<E> {
    /// Takes the next event of the log. What is no observation comes back: a snapshot has it.
    pub fn take(&mut self, stream: &StreamId, event: &Event, carried: E) -> Option<E> {
        self.taken += 1;
        match event {
            Event::Connection(observed) => {
                self.observe(stream, observed, carried);
                return None;
            }
            Event::Server(event) => self.change_server(stream, event),
            Event::Project(event) => self.change_project(stream, event),
            _ => {}
        }
        Some(carried)
    }

    /// The observations that were kept, in the order of the log. They may follow on everything
    /// that [`take`](Self::take) gave back.
    pub fn into_kept(self) -> impl ExactSizeIterator<Item = E> {
        let mut kept: Vec<(u64, E)> = self
            .servers
            .into_values()
            .flat_map(|server| {
                server.sighted.into_iter().chain(server.state).chain(server.catalogue)
            })
            .collect();
        kept.sort_unstable_by_key(|(place, _)| *place);
        kept.into_iter().map(|(_, event)| event)
    }

    /// What is observed of a server that is not registered counts for nothing.
    fn observe(&mut self, stream: &StreamId, event: &ConnectionEvent, carried: E) {
        let server = stream.id.parse().ok().and_then(|id| self.servers.get_mut(&id));
        let Some(server) = server else { return };
        let carried = (self.taken, carried);
        match event {
            ConnectionEvent::StateObserved { .. } => server.state = Some(carried),
            ConnectionEvent::CatalogueObserved { summary, .. } => {
                let shows_new = server.sightings.would_grow(summary);
                server.sightings.see(summary);
                let before = server.catalogue.replace(carried);
                server.sighted.extend(before.filter(|_| server.showed_new));
                server.showed_new = shows_new;
            }
        }
    }

    fn change_server(&mut self, stream: &StreamId, event: &ServerEvent) {
        let Ok(id) = stream.id.parse() else { return };
        match event {
            ServerEvent::Registered { project, .. } => {
                self.servers.remove(&id);
                if !self.deleted_projects.contains(project) {
                    let server = Server {
                        project: project.clone(),
                        state: None,
                        catalogue: None,
                        showed_new: false,
                        sighted: Vec::new(),
                        sightings: Sightings::default(),
                    };
                    self.servers.insert(id, server);
                }
            }
            ServerEvent::Deleted => {
                self.servers.remove(&id);
            }
            _ => {}
        }
    }

    fn change_project(&mut self, stream: &StreamId, event: &ProjectEvent) {
        let Ok(id) = stream.id.parse::<ProjectId>() else { return };
        match event {
            ProjectEvent::Created { .. } => {
                self.deleted_projects.remove(&id);
            }
            ProjectEvent::Deleted => {
                self.servers.retain(|_, server| server.project != id);
                self.deleted_projects.insert(id);
            }
            _ => {}
        }
    }
}
