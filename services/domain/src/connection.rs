//! What a worker observes of a server: apart from what the server is configured to be.

use std::fmt;
use std::sync::Arc;

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
    /// One for each tool, in the order of the list, as far as they are recorded: see
    /// [`bounded`](Self::bounded). Empty in what was recorded before definitions were. Shared,
    /// since summaries are handed around.
    pub definitions: Arc<[ToolDefinition]>,
}

/// What a tool is known to be, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ToolDefinition {
    /// The upstream's own name.
    pub tool: String,
    /// SHA-256 over the definition's bytes as the upstream sent them, lower-case hexadecimal.
    pub hash: String,
}

impl ToolDefinition {
    /// Bytes that it takes in a recorded event, at most.
    fn recorded_bytes(&self) -> usize {
        let escaped = |c: char| if c.is_control() || "\"\\".contains(c) { 6 } else { c.len_utf8() };
        // The names of the fields, quotes and commas.
        self.tool.chars().map(escaped).sum::<usize>() + self.hash.len() + 32
    }
}

impl CatalogueSummary {
    /// Most bytes that all definitions together take in a recorded event: above 2,000 tools with
    /// names of usual length.
    pub const MAX_DEFINITIONS_BYTES: usize = 240 * 1024;

    /// The definitions that are recorded: in their order, without those that do not fit any more.
    /// What is left out is never approved.
    pub fn bounded(definitions: impl IntoIterator<Item = ToolDefinition>) -> Arc<[ToolDefinition]> {
        let mut left = Self::MAX_DEFINITIONS_BYTES;
        let fits = |one: &ToolDefinition| match left.checked_sub(one.recorded_bytes()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        definitions.into_iter().filter(fits).collect()
    }

    /// The hash of a tool's definition. Of tools of one name the first counts, as for clients.
    pub fn definition(&self, tool: &str) -> Option<&str> {
        self.definitions.iter().find(|one| one.tool == tool).map(|one| one.hash.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(tool: String) -> ToolDefinition {
        ToolDefinition { tool, hash: "0".repeat(64) }
    }

    #[test]
    fn of_tools_of_one_name_the_first_counts() {
        let first = definition("a".to_owned());
        let second = ToolDefinition { hash: "1".repeat(64), ..first.clone() };
        let summary = CatalogueSummary {
            definitions: [first.clone(), second].into(),
            ..CatalogueSummary::default()
        };
        assert_eq!(summary.definition("a"), Some(first.hash.as_str()));
        assert_eq!(summary.definition("b"), None);
    }

    #[test]
    fn definitions_are_bounded_and_a_huge_name_takes_no_other_with_it() {
        let usual = (0..2_000).map(|n| definition(format!("a_tool_of_usual_length_{n}")));
        assert_eq!(CatalogueSummary::bounded(usual).len(), 2_000);
        let huge = "\u{1}".repeat(CatalogueSummary::MAX_DEFINITIONS_BYTES / 6);
        let kept = CatalogueSummary::bounded([huge, "a".to_owned()].map(definition));
        assert_eq!(kept.iter().map(|one| one.tool.as_str()).collect::<Vec<_>>(), ["a"]);
        let many = CatalogueSummary::bounded((0..10_000).map(|n| definition(n.to_string())));
        let bytes: usize = many.iter().map(ToolDefinition::recorded_bytes).sum();
        assert!(bytes <= CatalogueSummary::MAX_DEFINITIONS_BYTES && many.len() > 2_000);
    }
}
