//! What a worker observes of a server: apart from what the server is configured to be.

use std::fmt;

/// The state of the connection to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Being connected, or not tried yet.
    #[default]
    Starting,
    /// Connected and answering.
    Active,
    /// Connected, but something of it does not work; the cause says what.
    Degraded,
    /// Not connected; the cause says why.
    Failed,
    /// Not to be connected.
    Disabled,
}

impl ConnectionState {
    /// All states.
    pub const ALL: [Self; 5] =
        [Self::Starting, Self::Active, Self::Degraded, Self::Failed, Self::Disabled];

    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One look at a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// What it is.
    pub state: ConnectionState,
    /// Why, for people, secrets masked; empty when all is well. At most 500 characters.
    pub cause: String,
    /// What the last handshake or ping took, in milliseconds; 0 when unknown.
    pub response_time_ms: u32,
    /// What establishing the connection took, in milliseconds; 0 when unknown.
    pub setup_time_ms: u32,
    /// The agreed protocol revision, e.g. `2025-06-18`; empty when none is.
    pub revision: String,
}

/// What is known of a catalogue without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogueSummary {
    /// SHA-256 over its bytes, lower-case hexadecimal.
    pub hash: String,
    /// How many tools.
    pub tools: u32,
    /// How many resources.
    pub resources: u32,
    /// How many resource templates.
    pub resource_templates: u32,
    /// How many prompts.
    pub prompts: u32,
}
