//! The requests that a stateless client may send.

use crate::ListKind;

/// A request, told apart by who answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatelessMethod {
    /// `server/discover`.
    Discover,
    /// `subscriptions/listen`.
    Listen,
    /// One of the lists: answered from the merged catalogue.
    List(ListKind),
    /// What one server answers.
    Call(CallMethod),
    /// What the server answers that has the task.
    Task(TaskMethod),
}

/// A request that one server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallMethod {
    /// `tools/call`.
    Tool,
    /// `prompts/get`.
    Prompt,
    /// `resources/read`.
    Resource,
    /// `completion/complete`.
    Complete,
}

impl CallMethod {
    /// Whether its result may ask the client for input.
    #[must_use]
    pub const fn may_ask(self) -> bool {
        !matches!(self, Self::Complete)
    }
}

/// A request of the tasks extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskMethod {
    /// `tasks/get`.
    Get,
    /// `tasks/update`.
    Update,
    /// `tasks/cancel`.
    Cancel,
}

impl StatelessMethod {
    /// The method of a request; `None` if this revision does not have it, which is so for much
    /// that the older ones have (`ping`, `logging/setLevel`, `resources/subscribe`, …).
    #[must_use]
    pub fn parse(method: &str) -> Option<Self> {
        Some(match method {
            "server/discover" => Self::Discover,
            "subscriptions/listen" => Self::Listen,
            "tools/call" => Self::Call(CallMethod::Tool),
            "prompts/get" => Self::Call(CallMethod::Prompt),
            "resources/read" => Self::Call(CallMethod::Resource),
            "completion/complete" => Self::Call(CallMethod::Complete),
            "tasks/get" => Self::Task(TaskMethod::Get),
            "tasks/update" => Self::Task(TaskMethod::Update),
            "tasks/cancel" => Self::Task(TaskMethod::Cancel),
            other => Self::List(ListKind::of_method(other)?),
        })
    }

    /// The member of the parameters that the header `Mcp-Name` repeats.
    #[must_use]
    pub const fn named_by(self) -> Option<&'static str> {
        match self {
            Self::Call(CallMethod::Tool | CallMethod::Prompt) => Some("name"),
            Self::Call(CallMethod::Resource) => Some("uri"),
            Self::Task(_) => Some("taskId"),
            Self::Call(CallMethod::Complete) | Self::Discover | Self::Listen | Self::List(_) => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_is_not_there() {
        for gone in [
            "initialize",
            "ping",
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
            "tasks/result",
            "tasks/list",
            "sampling/createMessage",
            "unknown/method",
        ] {
            assert_eq!(StatelessMethod::parse(gone), None, "{gone}");
        }
        let name = |method| StatelessMethod::parse(method).unwrap().named_by();
        assert_eq!(name("tools/call"), Some("name"));
        assert_eq!(name("resources/read"), Some("uri"));
        assert_eq!(name("tasks/cancel"), Some("taskId"));
        assert_eq!(name("tools/list"), None);
    }
}
