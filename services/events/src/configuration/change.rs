//! What an event changed, for those who keep something made from the configuration.

use domain::{ApiKeyId, ProjectId, ServerId};

/// What an event changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// In which project.
    pub project: Option<ProjectId>,
    /// Which server of it, when it concerns one.
    pub server: Option<ServerId>,
    /// Which key of it, when it concerns one.
    pub api_key: Option<ApiKeyId>,
    /// What of it.
    pub kind: ChangeKind,
}

/// What of something changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// Nothing that is configuration.
    Nothing,
    /// A project, its settings or its members.
    Project,
    /// A project is gone, and its servers with it.
    ProjectDeleted,
    /// What a server is configured to be, or that there is one.
    Server,
    /// A server is gone.
    ServerDeleted,
    /// What was observed of a server's connection.
    ConnectionState,
    /// What a server offers.
    Catalogue,
    /// A key was issued or revoked.
    ApiKey,
}

impl Change {
    /// Nothing changed.
    pub const NONE: Self =
        Self { project: None, server: None, api_key: None, kind: ChangeKind::Nothing };

    pub(super) fn of_project(project: ProjectId, kind: ChangeKind) -> Self {
        Self { project: Some(project), kind, ..Self::NONE }
    }

    pub(super) fn of_server(project: ProjectId, server: ServerId, kind: ChangeKind) -> Self {
        Self { server: Some(server), ..Self::of_project(project, kind) }
    }

    pub(super) fn of_key(project: ProjectId, api_key: ApiKeyId) -> Self {
        Self { api_key: Some(api_key), ..Self::of_project(project, ChangeKind::ApiKey) }
    }

    /// Whether anything changed.
    pub fn is_some(&self) -> bool {
        self.kind != ChangeKind::Nothing
    }
}
