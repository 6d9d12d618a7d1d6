//! What the read models show. Nothing here holds a secret.

use domain::call::CallOutcome;
use domain::connection::{CatalogueSummary, Observation};
use domain::project::ProjectSettings;
use domain::server::ServerConfig;
use domain::{ApiKeyId, CallId, EventId, ProjectId, Role, ServerId, TenantId, Timestamp, UserId};
use serde_json::value::RawValue;

/// A project, as one caller sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectView {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What an Owner can set.
    pub settings: ProjectSettings,
    /// When it was made.
    pub created_at: Timestamp,
    /// How many servers it has.
    pub server_count: u32,
    /// How many members it has.
    pub member_count: u32,
    /// The caller's role in it.
    pub role: Role,
}

/// A member of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Who.
    pub user: UserId,
    /// Lower case.
    pub email: String,
    /// As shown to others.
    pub display_name: String,
    /// As what.
    pub role: Role,
}

/// A registered person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    /// Who.
    pub id: UserId,
    /// Lower case.
    pub email: String,
    /// As shown to others.
    pub display_name: String,
    /// Where the password's verifier is, in the system tenant.
    pub credential: domain::SecretRef,
}

/// A server: what it is configured to be, and what was last seen of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerView {
    /// Its id.
    pub id: ServerId,
    /// Whose it is.
    pub project: ProjectId,
    /// Its name, unique in the project.
    pub name: String,
    /// What it is configured to be; the values that may be secret are behind `launch`.
    pub config: ServerConfig,
    /// Not to be used.
    pub disabled: bool,
    /// Tools that clients do not see, by the upstream's own names, sorted.
    pub disabled_tools: Vec<String>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// What was last seen; `Disabled` while it is disabled, `Starting` before anything was seen.
    pub observation: Observation,
    /// When that was; none before anything was seen.
    pub observed_at: Option<Timestamp>,
    /// What it offers, as last learnt; an empty hash before.
    pub catalogue: CatalogueSummary,
    /// The event that has the catalogue as its body.
    pub catalogue_event: Option<EventId>,
    /// How many tools have another definition than the approved one.
    pub changed_tools: u32,
}

/// A tool that a server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolView {
    /// Whose it is.
    pub server: ServerId,
    /// The server's name.
    pub server_name: String,
    /// The upstream's own name.
    pub name: String,
    /// The name under which clients of the unified endpoint see it.
    pub unified_name: String,
    /// For people; empty when the upstream says nothing.
    pub description: String,
    /// Whether clients see it.
    pub enabled: bool,
    /// The definition as the upstream gave it, JSON.
    pub definition_json: String,
    /// SHA-256 over its bytes, lower-case hexadecimal; empty when it was not recorded.
    pub definition_hash: String,
    /// The same of the definition that is approved; empty when there is none.
    pub approved_hash: String,
}

impl ToolView {
    /// Whether the definition is not the approved one, or is not recorded.
    pub fn definition_changed(&self) -> bool {
        self.definition_hash.is_empty() || self.definition_hash != self.approved_hash
    }
}

/// A key, without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyView {
    /// Its id.
    pub id: ApiKeyId,
    /// What it opens.
    pub project: ProjectId,
    /// For people.
    pub name: String,
    /// The last four characters.
    pub suffix: String,
    /// The most it may do.
    pub role: Role,
    /// Who made it.
    pub creator: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Whether it was ended.
    pub revoked: bool,
}

/// The record of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallView {
    /// Its id.
    pub id: CallId,
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
    /// By which key; none for a user's own session.
    pub api_key: Option<ApiKeyId>,
    /// How it ended; none while only its start is recorded.
    pub outcome: Option<CallOutcome>,
    /// The JSON-RPC error code of an upstream error, else 0.
    pub error_code: i32,
    /// When the request came.
    pub started_at: Timestamp,
    /// Microseconds from arrival to the hand-over to the upstream.
    pub queue_us: u64,
    /// Microseconds until the upstream's answer.
    pub upstream_us: u64,
    /// Microseconds in all.
    pub total_us: u64,
    /// Size of the arguments.
    pub arguments_bytes: u64,
    /// Size of the result.
    pub result_bytes: u64,
    /// Keyed digest, lower-case hexadecimal; empty where there is nothing.
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
    /// The position of its last event.
    pub position: u64,
    /// The event that has the body.
    pub event: EventId,
}

/// A call, with what was sent and answered where that is kept and may be shown.
#[derive(Clone, Debug)]
pub struct CallWithBody {
    /// The record.
    pub call: CallView,
    /// JSON of the arguments; a JSON string of their beginning when they were cut.
    pub arguments: Option<Box<RawValue>>,
    /// JSON of the result; a JSON string of its beginning when it was cut.
    pub result: Option<Box<RawValue>>,
}

impl CallWithBody {
    /// Bytes of arguments and result.
    pub(crate) fn body_bytes(&self) -> usize {
        [&self.arguments, &self.result].into_iter().flatten().map(|json| json.get().len()).sum()
    }
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditView {
    /// Its position in the log.
    pub position: u64,
    /// Whose event it is: the organization's, or the system's for its people and their logins.
    pub tenant: TenantId,
    /// When it was recorded.
    pub time: Timestamp,
    /// `user`, `api_key` or `system`.
    pub actor_kind: String,
    /// Empty for the system.
    pub actor_id: String,
    /// The event's type.
    pub action: String,
    /// The stream's kind.
    pub target_kind: String,
    /// The stream's id.
    pub target_id: String,
    /// `ok`, `denied`, or how a call ended.
    pub outcome: String,
    /// Empty for what belongs to no project.
    pub project: String,
    /// The event.
    pub event: EventId,
    /// The event as stored; empty until it is read.
    pub event_json: String,
}
