//! The requests and notifications that a client may send.

use crate::ListKind;

/// A request of a client, told apart by who answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `initialize`.
    Initialize,
    /// `ping`.
    Ping,
    /// One of the lists: answered from the merged catalogue, never sent upstream.
    List(ListKind),
    /// `tools/call`: routed by `params.name`.
    CallTool,
    /// `prompts/get`: routed by `params.name`.
    GetPrompt,
    /// `resources/read`: routed by `params.uri`.
    ReadResource,
    /// `completion/complete`: routed by `params.ref`.
    Complete,
    /// `logging/setLevel`.
    SetLogLevel,
    /// `resources/subscribe`: routed by `params.uri`.
    Subscribe,
    /// `resources/unsubscribe`: routed by `params.uri`.
    Unsubscribe,
    /// `tasks/get`: routed by `params.taskId`, as are those of one task that follow.
    GetTask,
    /// `tasks/result`.
    TaskResult,
    /// `tasks/update` (tasks extension): routed by `params.taskId`. Sessions do not have it.
    UpdateTask,
    /// `tasks/cancel`.
    CancelTask,
    /// `tasks/list`: asked of every server that has tasks.
    ListTasks,
}

impl Method {
    /// The method of a request; `None` if it is not known (answered with method not found).
    #[must_use]
    pub fn parse(method: &str) -> Option<Self> {
        Some(match method {
            "initialize" => Self::Initialize,
            "ping" => Self::Ping,
            "tools/call" => Self::CallTool,
            "prompts/get" => Self::GetPrompt,
            "resources/read" => Self::ReadResource,
            "completion/complete" => Self::Complete,
            "logging/setLevel" => Self::SetLogLevel,
            "resources/subscribe" => Self::Subscribe,
            "resources/unsubscribe" => Self::Unsubscribe,
            "tasks/get" => Self::GetTask,
            "tasks/result" => Self::TaskResult,
            "tasks/cancel" => Self::CancelTask,
            "tasks/list" => Self::ListTasks,
            other => Self::List(ListKind::of_method(other)?),
        })
    }

    /// The method as it is written on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Ping => "ping",
            Self::List(kind) => kind.method(),
            Self::CallTool => "tools/call",
            Self::GetPrompt => "prompts/get",
            Self::ReadResource => "resources/read",
            Self::Complete => "completion/complete",
            Self::SetLogLevel => "logging/setLevel",
            Self::Subscribe => "resources/subscribe",
            Self::Unsubscribe => "resources/unsubscribe",
            Self::GetTask => "tasks/get",
            Self::TaskResult => "tasks/result",
            Self::UpdateTask => "tasks/update",
            Self::CancelTask => "tasks/cancel",
            Self::ListTasks => "tasks/list",
        }
    }

    /// Whether it is about one task that was made before.
    #[must_use]
    pub const fn is_of_task(self) -> bool {
        matches!(self, Self::GetTask | Self::TaskResult | Self::UpdateTask | Self::CancelTask)
    }

    /// The member of the parameters that decides which server answers.
    #[must_use]
    pub const fn routed_by(self) -> Option<&'static [&'static str]> {
        match self {
            Self::CallTool | Self::GetPrompt => Some(&["name"]),
            Self::ReadResource | Self::Subscribe | Self::Unsubscribe => Some(&["uri"]),
            Self::GetTask | Self::TaskResult | Self::UpdateTask | Self::CancelTask => {
                Some(&["taskId"])
            }
            Self::Initialize
            | Self::Ping
            | Self::List(_)
            | Self::Complete
            | Self::SetLogLevel
            | Self::ListTasks => None,
        }
    }
}

/// Whether a notification is one that clients may send.
#[must_use]
pub fn is_client_notification(method: &str) -> bool {
    matches!(
        method,
        "notifications/initialized"
            | "notifications/cancelled"
            | "notifications/progress"
            | "notifications/roots/list_changed"
            | "notifications/tasks/status"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_read_back_from_its_name() {
        let lists = ListKind::ALL.map(Method::List);
        let others = [
            Method::Initialize,
            Method::Ping,
            Method::CallTool,
            Method::GetPrompt,
            Method::ReadResource,
            Method::Complete,
            Method::SetLogLevel,
            Method::Subscribe,
            Method::Unsubscribe,
            Method::GetTask,
            Method::TaskResult,
            Method::CancelTask,
            Method::ListTasks,
        ];
        for method in lists.into_iter().chain(others) {
            assert_eq!(Method::parse(method.as_str()), Some(method));
        }
        assert_eq!(Method::parse("tools/Call"), None);
    }
}
