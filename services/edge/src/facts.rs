//! What an edge must know of a server beside its lists, read from its catalogue once.

use std::collections::HashMap;

use mcp::server::stateless::{ParamHeader, param_headers};
use mcp::{Catalogue, ListKind, Protocol, splice};

/// What is known of a server from its catalogue; nothing while it was never seen.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    protocol: Option<Protocol>,
    /// By the tools' own names, of those that have any.
    param_headers: HashMap<String, Vec<ParamHeader>>,
    /// Of the tools that may be called as tasks, by their own names.
    task_tools: HashMap<String, TaskSupport>,
    /// Of the tools that give any, by their own names.
    hints: HashMap<String, Hints>,
}

/// What a tool says of running it more than once. Tools are believed as far as their project says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    /// It changes nothing.
    pub(crate) read_only: bool,
    /// Running it twice changes nothing more.
    pub(crate) idempotent: bool,
}

/// Whether a tool may be called as a task (2025-11-25).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskSupport {
    /// As a task or not.
    Optional,
    /// As a task only.
    Required,
}

impl Facts {
    pub(crate) fn of(catalogue: &Catalogue) -> Self {
        let mut facts =
            Self { protocol: Protocol::parse(&catalogue.protocol_version), ..Self::default() };
        for tool in catalogue.items(ListKind::Tools) {
            let headers = param_headers(tool.raw());
            if !headers.is_empty() {
                facts.param_headers.insert(tool.key().to_owned(), headers);
            }
            let hints = hints(tool.raw());
            if hints != Hints::default() {
                facts.hints.insert(tool.key().to_owned(), hints);
            }
            if let Some(support) = task_support(tool.raw()) {
                facts.task_tools.insert(tool.key().to_owned(), support);
            }
        }
        facts
    }

    /// Whether it is known to speak a revision that opens with `initialize`.
    pub(crate) fn has_sessions(&self) -> bool {
        self.protocol.is_some_and(|protocol| !protocol.is_stateless())
    }

    /// The arguments of a tool, by its own name, that are repeated in headers.
    pub(crate) fn param_headers(&self, tool: &str) -> &[ParamHeader] {
        self.param_headers.get(tool).map_or(&[], Vec::as_slice)
    }

    /// Whether a tool, by its own name, may be called as a task; `None` if it may not.
    pub(crate) fn task_support(&self, tool: &str) -> Option<TaskSupport> {
        self.task_tools.get(tool).copied()
    }

    /// What a tool, by its own name, says of running it more than once.
    pub(crate) fn hints(&self, tool: &str) -> Hints {
        self.hints.get(tool).copied().unwrap_or_default()
    }
}

fn hints(tool: &[u8]) -> Hints {
    // Most tools say nothing of it, and need no look through their members.
    if memchr::memmem::find(tool, b"Hint\"").is_none() {
        return Hints::default();
    }
    let says = |hint| {
        let span = splice::find(tool, &["annotations", hint]).ok().flatten();
        span.is_some_and(|span| &tool[span] == b"true")
    };
    Hints { read_only: says("readOnlyHint"), idempotent: says("idempotentHint") }
}

fn task_support(tool: &[u8]) -> Option<TaskSupport> {
    // Most tools say nothing of it, and need no look through their members.
    memchr::memmem::find(tool, b"taskSupport")?;
    match splice::find_string(tool, &["execution", "taskSupport"]).ok()??.as_ref() {
        "optional" => Some(TaskSupport::Optional),
        "required" => Some(TaskSupport::Required),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mcp::catalogue::Item;

    use super::*;

    #[test]
    fn tools_are_known_by_what_they_say_of_themselves() {
        let tool = |raw: &'static str| Item::parse(ListKind::Tools, raw.into()).unwrap();
        let mut catalogue = Catalogue::default();
        catalogue.protocol_version = "2025-11-25".to_owned();
        let tools = vec![
            tool(r#"{"name":"a","execution":{"taskSupport":"required"}}"#),
            tool(r#"{"name":"b","execution":{"taskSupport":"optional"}}"#),
            tool(r#"{"name":"d","annotations":{"readOnlyHint":true,"idempotentHint":false}}"#),
            tool(r#"{"name":"e","annotations":{"idempotentHint": true,"title":"E"}}"#),
            tool(r#"{"name":"f","readOnlyHint":true,"annotations":{"readOnlyHint":"true"}}"#),
            tool(
                r#"{"name":"c","inputSchema":{"properties":{"x":{"type":"string","x-mcp-header":"X"}}}}"#,
            ),
        ];
        catalogue.set_items(ListKind::Tools, tools);
        let facts = Facts::of(&catalogue);
        assert!(facts.has_sessions());
        assert_eq!(facts.task_support("a"), Some(TaskSupport::Required));
        assert_eq!(facts.task_support("b"), Some(TaskSupport::Optional));
        assert_eq!(facts.task_support("c"), None);
        assert_eq!(facts.param_headers("c").len(), 1);
        assert!(facts.param_headers("a").is_empty());
        let hints = |read_only, idempotent| Hints { read_only, idempotent };
        assert_eq!(facts.hints("d"), hints(true, false));
        assert_eq!(facts.hints("e"), hints(false, true));
        assert_eq!(facts.hints("f"), Hints::default());
        assert_eq!(facts.hints("a"), Hints::default());
        catalogue.protocol_version = "2026-07-28".to_owned();
        assert!(!Facts::of(&catalogue).has_sessions());
        assert!(!Facts::default().has_sessions());
    }
}
