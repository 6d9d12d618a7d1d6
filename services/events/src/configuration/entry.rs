//! What is found in a configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// The first definition that was seen of each tool.
    pub sightings: Arc<Sightings>,
}

/// The hash of the first definition that was seen of each tool of a server, from its registration
/// on: what is approved by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings(BTreeMap<String, String>);

impl Sightings {
    /// Most tools of a server that are remembered. Those beyond are never approved by themselves.
    pub const MAX_TOOLS: usize = 10_000;

    /// Whether a catalogue has a tool that was not seen before, and would be remembered.
    pub fn would_grow(&self, catalogue: &CatalogueSummary) -> bool {
        self.0.len() < Self::MAX_TOOLS
            && catalogue.definitions.iter().any(|one| !self.0.contains_key(&one.tool))
    }

    /// Remembers the tools of a catalogue that were not seen before.
    pub fn see(&mut self, catalogue: &CatalogueSummary) {
        for one in catalogue.definitions.iter() {
            if self.0.len() >= Self::MAX_TOOLS {
                return;
            }
            self.0.entry(one.tool.clone()).or_insert_with(|| one.hash.clone());
        }
    }

    /// The hash of a tool's first definition.
    pub fn first(&self, tool: &str) -> Option<&str> {
        self.0.get(tool).map(String::as_str)
    }
}

/// From tools and hashes that were remembered before.
impl FromIterator<(String, String)> for Sightings {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(remembered: I) -> Self {
        Self(remembered.into_iter().take(Self::MAX_TOOLS).collect())
    }
}
