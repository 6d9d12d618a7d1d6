//! The record of one call.

use std::fmt;
use std::str::FromStr;

use crate::ids::{ApiKeyId, InvalidId, ProjectId, ServerId};
use crate::time::Timestamp;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// Answered.
    Ok,
    /// The tool ran and said `isError`.
    ToolError,
    /// The upstream answered with a JSON-RPC error.
    UpstreamError,
    /// The client cancelled it.
    Cancelled,
    /// No answer in time; it may have run.
    Timeout,
    /// It never reached the upstream.
    NotStarted,
    /// It may have run; no answer came.
    Unknown,
}

impl CallOutcome {
    /// All outcomes.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::ToolError,
        Self::UpstreamError,
        Self::Cancelled,
        Self::Timeout,
        Self::NotStarted,
        Self::Unknown,
    ];

    /// The name in answers and filters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ToolError => "tool_error",
            Self::UpstreamError => "upstream_error",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::NotStarted => "not_started",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for CallOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CallOutcome {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or_else(|| InvalidId {
            kind: "call outcome",
            value: text.chars().take(80).collect(),
        })
    }
}

/// Which call it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSubject {
    /// Of which project.
    pub project: ProjectId,
    /// To which server.
    pub server: ServerId,
    /// The server's name then.
    pub server_name: String,
    /// `tools/call`, `resources/read` or `prompts/get`.
    pub method: String,
    /// The upstream's own name of the tool or prompt, or the URI.
    pub target: String,
    /// By which key.
    pub api_key: Option<ApiKeyId>,
    /// When the request came.
    pub started_at: Timestamp,
}

/// About to be forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallStarted {
    /// Which call.
    pub subject: CallSubject,
    /// The process that forwards it, by its name on the bus; empty when it was not said.
    pub edge: String,
}

/// Over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFinished {
    /// Which call.
    pub subject: CallSubject,
    /// How it ended.
    pub outcome: CallOutcome,
    /// The JSON-RPC error code of an upstream error, else 0.
    pub error_code: i32,
    /// Microseconds from the request's arrival to its hand-over to the upstream.
    pub queue_us: u64,
    /// Microseconds from the hand-over to the upstream's answer.
    pub upstream_us: u64,
    /// Microseconds in all, without the wait for the record.
    pub total_us: u64,
    /// Size of the arguments.
    pub arguments_bytes: u64,
    /// Size of the result.
    pub result_bytes: u64,
    /// HMAC-SHA-256 under the tenant's key, lower-case hexadecimal; empty where there is nothing.
    pub arguments_digest: String,
    /// As `arguments_digest`, of the result.
    pub result_digest: String,
    /// The stored body was cut at the limit.
    pub body_truncated: bool,
    /// The stored body has masked values.
    pub body_masked: bool,
    /// The client's name as it said it.
    pub client: String,
    /// The edge's session; empty without one.
    pub mcp_session: String,
    /// How often a worker accepted it: more than once if it was sent again. 0 when none did, and in
    /// what was recorded before this was.
    pub attempts: u32,
}
