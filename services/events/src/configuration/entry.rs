//! What is found in a configuration.

use domain::api_key::ApiKey;
use domain::connection::{CatalogueSummary, Observation};
use domain::project::ActiveProject;
use domain::server::ActiveServer;
use domain::{ApiKeyId, ProjectId, ServerId, TenantId, Timestamp};

/// A project that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectEntry {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which it is.
    pub id: ProjectId,
    /// Its settings and members.
    pub project: ActiveProject,
}

/// A key that was issued.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEntry {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which it is.
    pub id: ApiKeyId,
    /// Active or revoked.
    pub key: ApiKey,
}

/// A server that is registered.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerEntry {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which it is.
    pub id: ServerId,
    /// What it is configured to be.
    pub server: ActiveServer,
}

/// What was last observed of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionView {
    /// The state of its connection; `Starting` as long as nothing was observed.
    pub observation: Observation,
    /// What it offers; `None` as long as no catalogue was seen.
    pub catalogue: Option<CatalogueSummary>,
    /// When the state was recorded.
    pub observed_at: Option<Timestamp>,
}
