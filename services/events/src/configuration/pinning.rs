//! Which definitions of tools are approved.
//!
//! The approved definition of a tool is the one that an Owner approved last, else the first that
//! was seen of it. So it does not matter in which order approvals and observations arrive.

use domain::project::ToolPinning;
use domain::{ProjectId, ServerId};

use super::Configuration;

impl Configuration {
    /// What a changed definition leads to in a project; nothing in one that is not there.
    pub fn tool_pinning(&self, project: &ProjectId) -> ToolPinning {
        self.project(project)
            .map_or_else(ToolPinning::default, |entry| entry.project.settings.tool_pinning)
    }

    /// The hash of the definition that is approved of a tool; `None` for a tool that was never
    /// seen, and for those beyond [`Sightings::MAX_TOOLS`](super::Sightings::MAX_TOOLS).
    pub fn approved_definition(&self, server: &ServerId, tool: &str) -> Option<&str> {
        let approved = self.servers.get(server)?.server.approved_tools.get(tool);
        approved.map(String::as_str).or_else(|| self.connections.get(server)?.sightings.first(tool))
    }

    /// Whether what was last observed of a tool is not the approved definition. So it is of a tool
    /// whose definition is not recorded; before any catalogue was observed, nothing has changed.
    ///
    /// Searches the catalogue for the one tool: to ask of all of a catalogue, ask
    /// [`is_approved`](Self::is_approved) with the hash of each.
    pub fn definition_changed(&self, server: &ServerId, tool: &str) -> bool {
        let catalogue = self.connections.get(server).and_then(|view| view.catalogue.as_ref());
        catalogue.is_some_and(|catalogue| {
            !catalogue.definition(tool).is_some_and(|hash| self.is_approved(server, tool, hash))
        })
    }

    /// Whether `hash` is the approved definition of a tool: for catalogues that were not observed
    /// but belong to a session. A tool that was never seen is not approved.
    pub fn is_approved(&self, server: &ServerId, tool: &str, hash: &str) -> bool {
        self.approved_definition(server, tool) == Some(hash)
    }
}
