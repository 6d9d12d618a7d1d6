//! The unified endpoint of a project as one entry, named `mcp-orch-unified-{project}`.

use domain::ProjectId;
use domain::project::Naming as NamingRule;
use mcp::naming::Naming;
use serde_json::{Value, json};

use crate::views::ServerView;

/// Seconds that a client waits for the endpoint.
pub(super) const TIMEOUT_S: u32 = 60;

/// What an entry is made from. Has no `Debug`: it holds a key.
pub(super) struct Endpoint<'a> {
    pub(super) project: &'a ProjectId,
    pub(super) url: String,
    pub(super) key: &'a str,
    /// Tools that need no asking, under the names that clients see.
    pub(super) auto_approve: Vec<String>,
}

impl Endpoint<'_> {
    /// The entry's name.
    pub(super) fn name(&self) -> String {
        format!("mcp-orch-unified-{}", self.project)
    }

    /// The headers that open the endpoint.
    pub(super) fn headers(&self) -> Value {
        json!({ "Authorization": format!("Bearer {}", self.key) })
    }
}

/// The configuration in Cline's format, over SSE.
pub(super) fn cline(endpoint: &Endpoint<'_>) -> Value {
    json!({ "mcpServers": { endpoint.name(): {
        "type": "sse",
        "url": endpoint.url,
        "timeout": TIMEOUT_S,
        "headers": endpoint.headers(),
        "autoApprove": endpoint.auto_approve,
        "disabled": false,
    } } })
}

/// The tools of all enabled servers that clients may run without asking, as clients see them.
pub(super) fn auto_approved(rule: NamingRule, servers: &[ServerView]) -> Vec<String> {
    let enabled = || servers.iter().filter(|server| !server.disabled);
    let naming = match rule {
        NamingRule::PlainWhenSingle if enabled().count() == 1 => {
            Naming::unprefixed(Naming::DEFAULT_MAX_CHARS)
        }
        NamingRule::PlainWhenSingle | NamingRule::Prefixed => Naming::default(),
    };
    let tools = enabled().flat_map(|server| {
        let approved = server.config.auto_approve.iter();
        approved
            .filter(|tool| !server.disabled_tools.contains(tool))
            .map(|tool| naming.expose(&server.name, tool))
    });
    tools.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_what_the_seed_shows() {
        let project = "abc123".parse().unwrap();
        let config = cline(&Endpoint {
            project: &project,
            url: "https://your-server.com/projects/abc123/unified/sse".into(),
            key: "api_key_x",
            auto_approve: vec!["a__b".into()],
        });
        assert_eq!(
            config,
            json!({ "mcpServers": { "mcp-orch-unified-abc123": {
                "type": "sse",
                "url": "https://your-server.com/projects/abc123/unified/sse",
                "timeout": 60,
                "headers": { "Authorization": "Bearer api_key_x" },
                "autoApprove": ["a__b"],
                "disabled": false,
            } } })
        );
    }
}
