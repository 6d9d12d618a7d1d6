//! What a URL stands for: all servers of a project, or one of them.

use domain::{ProjectId, ServerId};

/// What a session or a request is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// `/projects/{id}/unified/…`
    Unified(ProjectId),
    /// `/projects/{id}/servers/{name}/…`
    Server(ProjectId, ServerId),
}

impl Scope {
    /// The project it lies in.
    pub(crate) const fn project(&self) -> &ProjectId {
        match self {
            Self::Unified(project) | Self::Server(project, _) => project,
        }
    }
}
