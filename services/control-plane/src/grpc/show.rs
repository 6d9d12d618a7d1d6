//! Showing views as messages of the public contract.

use domain::call::CallOutcome;
use domain::connection::ConnectionState;
use domain::project::{AuditMode, Naming, RetryPolicy, ToolPinning};
use domain::server::{HttpTarget, ServerConfig, Transport};
use domain::{Role, Timestamp};
use proto::control::v1 as pb;

use crate::app::App;
use crate::import::{ImportAction, ImportedServer};
use crate::use_case::{TestReport, sealing};
use crate::views::{
    ApiKeyView, AuditView, CallView, CallWithBody, MemberView, ProjectView, ServerView, ToolView,
};

pub(super) fn time(at: Timestamp) -> prost_types::Timestamp {
    let micros = at.as_micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

pub(super) fn role(role: Role) -> i32 {
    let role = match role {
        Role::Owner => pb::Role::Owner,
        Role::Developer => pb::Role::Developer,
        Role::Reporter => pb::Role::Reporter,
    };
    role.into()
}

pub(super) fn project(app: &App, project: ProjectView) -> pb::Project {
    let audit_mode = match project.settings.audit_mode {
        AuditMode::Buffered => pb::AuditMode::Buffered,
        AuditMode::Acknowledged => pb::AuditMode::Acknowledged,
        AuditMode::Strict => pb::AuditMode::Strict,
    };
    let naming = match project.settings.naming {
        Naming::Prefixed => pb::Naming::Prefixed,
        Naming::PlainWhenSingle => pb::Naming::PlainWhenSingle,
    };
    let tool_pinning = match project.settings.tool_pinning {
        ToolPinning::Off => pb::ToolPinning::Off,
        ToolPinning::Warn => pb::ToolPinning::Warn,
        ToolPinning::Block => pb::ToolPinning::Block,
    };
    let retry_policy = match project.settings.retry_policy {
        RetryPolicy::Never => pb::RetryPolicy::Never,
        RetryPolicy::ReadOnly => pb::RetryPolicy::ReadOnly,
        RetryPolicy::Idempotent => pb::RetryPolicy::Idempotent,
    };
    pb::Project {
        sse_url: app.url_of(&format!("projects/{}/unified/sse", project.id)),
        mcp_url: app.url_of(&format!("projects/{}/unified/mcp", project.id)),
        id: project.id.to_string(),
        name: project.name,
        description: project.description,
        audit_mode: audit_mode.into(),
        naming: naming.into(),
        unified_enabled: project.settings.unified_enabled,
        body_retention_days: project.settings.body_retention_days,
        create_time: Some(time(project.created_at)),
        server_count: project.server_count,
        member_count: project.member_count,
        role: role(project.role),
        tool_pinning: tool_pinning.into(),
        retry_policy: retry_policy.into(),
    }
}

pub(super) fn member(member: MemberView) -> pb::Member {
    pb::Member {
        user_id: member.user.to_string(),
        email: member.email,
        display_name: member.display_name,
        role: role(member.role),
    }
}

pub(super) fn server(server: ServerView) -> pb::Server {
    let state = match server.observation.state {
        ConnectionState::Starting => pb::ServerState::Starting,
        ConnectionState::Active => pb::ServerState::Active,
        ConnectionState::Degraded => pb::ServerState::Degraded,
        ConnectionState::Failed => pb::ServerState::Failed,
        ConnectionState::Disabled => pb::ServerState::Disabled,
    };
    let mut shown = pb::Server {
        id: server.id.to_string(),
        project_id: server.project.to_string(),
        name: server.name,
        disabled: server.disabled,
        state: state.into(),
        cause: server.observation.cause,
        response_time_ms: server.observation.response_time_ms,
        setup_time_ms: server.observation.setup_time_ms,
        revision: server.observation.revision,
        tool_count: server.catalogue.tools,
        resource_count: server.catalogue.resources,
        prompt_count: server.catalogue.prompts,
        disabled_tools: server.disabled_tools,
        create_time: Some(time(server.created_at)),
        state_time: server.observed_at.map(time),
        changed_tool_count: server.changed_tools,
        ..pb::Server::default()
    };
    fill_config(&mut shown, server.config);
    shown
}

fn fill_config(shown: &mut pb::Server, config: ServerConfig) {
    shown.timeout_s = config.timeout_s;
    shown.read_timeout_s = config.read_timeout_s.unwrap_or(0);
    shown.auto_approve = config.auto_approve;
    shown.isolation = sealing::isolation(config.isolation).into();
    shown.placement_labels = config.placement_labels.into_iter().collect();
    match config.transport {
        Transport::Stdio { command, shown_args, env_names, cwd } => {
            shown.transport = pb::Transport::Stdio.into();
            shown.command = command;
            shown.shown_args = shown_args;
            shown.env_names = env_names;
            shown.cwd = cwd.unwrap_or_default();
        }
        Transport::Sse(target) => fill_http(shown, pb::Transport::Sse, target),
        Transport::StreamableHttp(target) => {
            fill_http(shown, pb::Transport::StreamableHttp, target);
        }
        Transport::Probe(target) => fill_http(shown, pb::Transport::Probe, target),
        Transport::Unset => shown.transport = pb::Transport::Stdio.into(),
    }
}

fn fill_http(shown: &mut pb::Server, transport: pb::Transport, target: HttpTarget) {
    shown.transport = transport.into();
    shown.url = target.url;
    shown.header_names = target.header_names;
    shown.ca_file = target.ca_file.unwrap_or_default();
    shown.proxy = target.proxy.unwrap_or_default();
}

pub(super) fn tool(tool: ToolView) -> pb::Tool {
    pb::Tool {
        definition_changed: tool.definition_changed(),
        server_id: tool.server.to_string(),
        server_name: tool.server_name,
        name: tool.name,
        unified_name: tool.unified_name,
        description: tool.description,
        enabled: tool.enabled,
        definition_json: tool.definition_json,
        definition_hash: tool.definition_hash,
        approved_hash: tool.approved_hash,
    }
}

pub(super) fn imported(server: ImportedServer) -> pb::ImportedServer {
    let action = match server.action {
        ImportAction::Created => pb::ImportAction::Created,
        ImportAction::Updated => pb::ImportAction::Updated,
        ImportAction::Unchanged => pb::ImportAction::Unchanged,
        ImportAction::Deleted => pb::ImportAction::Deleted,
        ImportAction::Refused => pb::ImportAction::Refused,
    };
    pb::ImportedServer {
        name: server.name,
        action: action.into(),
        changes: server.changes,
        server_id: server.server.map(|id| id.to_string()).unwrap_or_default(),
    }
}

pub(super) fn test(report: TestReport) -> pb::TestServerResponse {
    let steps = report.steps.into_iter().map(|step| pb::TestStep {
        step: step.step,
        ok: step.ok,
        detail: step.detail,
        took_ms: step.took_ms,
    });
    pb::TestServerResponse { ok: report.ok, steps: steps.collect(), tools: report.tools }
}

pub(super) fn api_key(key: ApiKeyView) -> pb::ApiKey {
    pb::ApiKey {
        id: key.id.to_string(),
        project_id: key.project.to_string(),
        name: key.name,
        suffix: key.suffix,
        role: role(key.role),
        creator_user_id: key.creator.to_string(),
        create_time: Some(time(key.created_at)),
        expire_time: key.expires_at.map(time),
        revoked: key.revoked,
    }
}

pub(super) fn call(with_body: CallWithBody) -> pb::CallWithBody {
    let text = |json: Option<Box<serde_json::value::RawValue>>| {
        json.map(|json| json.get().to_owned()).unwrap_or_default()
    };
    pb::CallWithBody {
        body_truncated: with_body.call.body_truncated,
        body_masked: with_body.call.body_masked,
        arguments_json: text(with_body.arguments),
        result_json: text(with_body.result),
        call: Some(call_record(with_body.call)),
    }
}

fn call_record(call: CallView) -> pb::Call {
    pb::Call {
        id: call.id.to_string(),
        project_id: call.project.to_string(),
        server_id: call.server.to_string(),
        server_name: call.server_name,
        method: call.method,
        target: call.target,
        api_key_id: call.api_key.map(|key| key.to_string()).unwrap_or_default(),
        outcome: outcome(call.outcome).into(),
        error_code: call.error_code,
        start_time: Some(time(call.started_at)),
        queue_us: call.queue_us,
        upstream_us: call.upstream_us,
        total_us: call.total_us,
        arguments_bytes: call.arguments_bytes,
        result_bytes: call.result_bytes,
        arguments_digest: call.arguments_digest,
        result_digest: call.result_digest,
        client: call.client,
        mcp_session: call.mcp_session,
        position: call.position,
    }
}

fn outcome(outcome: Option<CallOutcome>) -> pb::CallOutcome {
    match outcome {
        None => pb::CallOutcome::Unspecified,
        Some(CallOutcome::Ok) => pb::CallOutcome::Ok,
        Some(CallOutcome::ToolError) => pb::CallOutcome::ToolError,
        Some(CallOutcome::UpstreamError) => pb::CallOutcome::UpstreamError,
        Some(CallOutcome::Cancelled) => pb::CallOutcome::Cancelled,
        Some(CallOutcome::Timeout) => pb::CallOutcome::Timeout,
        Some(CallOutcome::NotStarted) => pb::CallOutcome::NotStarted,
        Some(CallOutcome::Unknown) => pb::CallOutcome::Unknown,
    }
}

pub(super) fn audit(entry: AuditView) -> pb::AuditEntry {
    pb::AuditEntry {
        position: entry.position,
        time: Some(time(entry.time)),
        actor_kind: entry.actor_kind,
        actor_id: entry.actor_id,
        action: entry.action,
        target_kind: entry.target_kind,
        target_id: entry.target_id,
        outcome: entry.outcome,
        project_id: entry.project,
        event_json: entry.event_json,
    }
}
