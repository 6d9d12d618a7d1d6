//! The fold that edges and workers hold in memory: projects, keys, servers and what was observed
//! of them, over all tenants.
//!
//! What always holds: the state of each entry is the aggregate's own `evolve` over its events;
//! nothing of a deleted project or server is found; a revoked key stays known, so that it stays
//! denied. Entries are shared: a look-up clones an `Arc`, and an entry that was handed out never
//! changes.

mod change;
mod entry;
mod pinning;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use domain::api_key::{ApiKey, KeyHash};
use domain::event::{ApiKeyEvent, ConnectionEvent, ProjectEvent, ServerEvent};
use domain::project::Project;
use domain::server::{Server, ServerName};
use domain::{
    ApiKeyId, Event, ProjectId, Role, ServerId, StreamId, TenantId, Timestamp, api_key, project,
    server,
};

pub use change::{Change, ChangeKind};
pub use entry::{ConnectionView, KeyEntry, ProjectEntry, ServerEntry, Sightings};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    projects: HashMap<ProjectId, Arc<ProjectEntry>>,
    /// What is registered in these comes to nothing.
    deleted_projects: HashSet<ProjectId>,
    servers: HashMap<ServerId, Arc<ServerEntry>>,
    by_name: HashMap<ProjectId, BTreeMap<ServerName, ServerId>>,
    connections: HashMap<ServerId, Arc<ConnectionView>>,
    keys: HashMap<KeyHash, Arc<KeyEntry>>,
    key_hashes: HashMap<ApiKeyId, KeyHash>,
}

impl Configuration {
    /// Takes the next event of the log in. Events that say nothing about configuration, and
    /// streams whose id is none of their kind, change nothing.
    pub fn apply(&mut self, stream: &StreamId, event: &Event, recorded_at: Timestamp) -> Change {
        let change = match event {
            Event::Project(event) => {
                stream.id.parse().ok().map(|id| self.apply_project(stream.tenant, id, event))
            }
            Event::Server(event) => {
                stream.id.parse().ok().map(|id| self.apply_server(stream.tenant, id, event))
            }
            Event::Connection(event) => {
                stream.id.parse().ok().map(|id| self.apply_connection(id, event, recorded_at))
            }
            Event::ApiKey(event) => {
                stream.id.parse().ok().map(|id| self.apply_key(stream.tenant, id, event))
            }
            Event::Organization(_)
            | Event::User(_)
            | Event::Login(_)
            | Event::Call(_)
            | Event::Access(_) => None,
        };
        change.unwrap_or(Change::NONE)
    }

    fn apply_project(&mut self, tenant: TenantId, id: ProjectId, event: &ProjectEvent) -> Change {
        let before = match self.projects.remove(&id) {
            Some(entry) => Project::Active(Arc::unwrap_or_clone(entry).project),
            None if self.deleted_projects.contains(&id) => Project::Deleted,
            None => Project::Absent,
        };
        match project::evolve(before, event) {
            Project::Active(project) => {
                self.deleted_projects.remove(&id);
                let entry = ProjectEntry { tenant, id: id.clone(), project };
                self.projects.insert(id.clone(), Arc::new(entry));
                Change::of_project(id, ChangeKind::Project)
            }
            Project::Deleted => {
                self.by_name.remove(&id);
                for (server, _) in self.servers.extract_if(|_, entry| entry.server.project == id) {
                    self.connections.remove(&server);
                }
                self.deleted_projects.insert(id.clone());
                Change::of_project(id, ChangeKind::ProjectDeleted)
            }
            Project::Absent => Change::NONE,
        }
    }

    fn apply_server(&mut self, tenant: TenantId, id: ServerId, event: &ServerEvent) -> Change {
        if let ServerEvent::Registered { .. } = event {
            self.connections.remove(&id);
        }
        let before = self.forget_server(id);
        let project_before = match &before {
            Server::Active(server) => Some(server.project.clone()),
            Server::Absent | Server::Deleted => None,
        };
        match server::evolve(before, event) {
            Server::Active(server) if self.deleted_projects.contains(&server.project) => {
                self.connections.remove(&id);
                Change::NONE
            }
            Server::Active(server) => {
                let project = server.project.clone();
                let names = self.by_name.entry(project.clone()).or_default();
                names.insert(server.name.clone(), id);
                self.servers.insert(id, Arc::new(ServerEntry { tenant, id, server }));
                Change::of_server(project, id, ChangeKind::Server)
            }
            Server::Deleted => {
                self.connections.remove(&id);
                let kind = ChangeKind::ServerDeleted;
                project_before.map_or(Change::NONE, |project| Change::of_server(project, id, kind))
            }
            Server::Absent => Change::NONE,
        }
    }

    /// Takes a server out of all look-ups, to be put back as it is then.
    fn forget_server(&mut self, id: ServerId) -> Server {
        let Some(entry) = self.servers.remove(&id) else {
            return Server::Absent;
        };
        let server = Arc::unwrap_or_clone(entry).server;
        if let Some(names) = self.by_name.get_mut(&server.project) {
            // The name may have gone to another server in the meantime.
            if names.get(&server.name) == Some(&id) {
                names.remove(&server.name);
            }
            if names.is_empty() {
                self.by_name.remove(&server.project);
            }
        }
        Server::Active(server)
    }

    fn apply_connection(
        &mut self,
        id: ServerId,
        event: &ConnectionEvent,
        recorded_at: Timestamp,
    ) -> Change {
        let Some(server) = self.servers.get(&id) else {
            return Change::NONE;
        };
        let project = server.server.project.clone();
        let view = Arc::make_mut(self.connections.entry(id).or_default());
        match event {
            ConnectionEvent::StateObserved { observation, .. } => {
                view.observation = observation.clone();
                view.observed_at = Some(recorded_at);
                Change::of_server(project, id, ChangeKind::ConnectionState)
            }
            ConnectionEvent::CatalogueObserved { summary, .. } => {
                if view.sightings.would_grow(summary) {
                    Arc::make_mut(&mut view.sightings).see(summary);
                }
                view.catalogue = Some(summary.clone());
                Change::of_server(project, id, ChangeKind::Catalogue)
            }
        }
    }

    fn apply_key(&mut self, tenant: TenantId, id: ApiKeyId, event: &ApiKeyEvent) -> Change {
        let entry = self.key_hashes.get(&id).and_then(|hash| self.keys.remove(hash));
        let before = entry.map_or(ApiKey::Absent, |entry| Arc::unwrap_or_clone(entry).key);
        let after = api_key::evolve(before, event);
        let (ApiKey::Active(issued) | ApiKey::Revoked(issued)) = &after else {
            return Change::NONE;
        };
        let (hash, project) = (issued.hash, issued.project.clone());
        self.key_hashes.insert(id, hash);
        self.keys.insert(hash, Arc::new(KeyEntry { tenant, id, key: after }));
        Change::of_key(project, id)
    }

    /// A project that exists.
    pub fn project(&self, id: &ProjectId) -> Option<&Arc<ProjectEntry>> {
        self.projects.get(id)
    }

    /// All projects, in no order.
    pub fn projects(&self) -> impl ExactSizeIterator<Item = &Arc<ProjectEntry>> {
        self.projects.values()
    }

    /// A key that was ever issued, revoked ones included.
    pub fn key(&self, hash: &KeyHash) -> Option<&Arc<KeyEntry>> {
        self.keys.get(hash)
    }

    /// As [`key`](Self::key), by its id.
    pub fn key_by_id(&self, id: &ApiKeyId) -> Option<&Arc<KeyEntry>> {
        self.key_hashes.get(id).and_then(|hash| self.keys.get(hash))
    }

    /// A server that is registered, disabled ones included.
    pub fn server(&self, id: &ServerId) -> Option<&Arc<ServerEntry>> {
        self.servers.get(id)
    }

    /// All servers, in no order.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &Arc<ServerEntry>> {
        self.servers.values()
    }

    /// A project's servers, disabled ones included, sorted by name.
    pub fn servers_of(&self, project: &ProjectId) -> Vec<Arc<ServerEntry>> {
        let ids = self.by_name.get(project).into_iter().flat_map(BTreeMap::values);
        ids.filter_map(|id| self.servers.get(id)).map(Arc::clone).collect()
    }

    /// The server of that name.
    pub fn server_named(&self, project: &ProjectId, name: &str) -> Option<&Arc<ServerEntry>> {
        let name = ServerName::parse("name", name).ok()?;
        self.by_name.get(project)?.get(&name).and_then(|id| self.servers.get(id))
    }

    /// What was last observed of a server; the default as long as nothing was.
    pub fn connection(&self, server: &ServerId) -> Arc<ConnectionView> {
        self.connections.get(server).map(Arc::clone).unwrap_or_default()
    }

    /// What a key may do now: the lesser of its own role and its creator's in the project. `None`
    /// for a revoked key, when the creator is no member any more, and when the project is gone or
    /// another tenant's. Whether the key has expired is the caller's to ask, with its clock:
    /// [`IssuedKey::is_expired`](api_key::IssuedKey::is_expired).
    pub fn effective_role(&self, entry: &KeyEntry) -> Option<Role> {
        let ApiKey::Active(key) = &entry.key else {
            return None;
        };
        let project = self.projects.get(&key.project)?;
        if project.tenant != entry.tenant {
            return None;
        }
        project.project.members.get(&key.creator).map(|role| key.role.min(*role))
    }
}
