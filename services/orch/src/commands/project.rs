//! `mcp-orch project …`

use anyhow::Result;
use proto::control::v1 as pb;
use serde_json::{Value, json};

use super::table::{print, say};
use crate::cli::{AuditMode, InProject, Naming, ProjectCommand, Remote, RetryPolicy, ToolPinning};
use crate::remote::{Session, explain};

/// Runs one of the commands on projects.
pub(crate) async fn run(command: ProjectCommand) -> Result<()> {
    match command {
        ProjectCommand::List(remote) => list(remote).await,
        ProjectCommand::Create { name, id, remote } => create(name, id, remote).await,
        ProjectCommand::Set { audit_mode, naming, tool_pinning, retry_policy, target } => {
            set((audit_mode, naming, tool_pinning, retry_policy), target).await
        }
    }
}

fn row(project: &pb::Project) -> Value {
    json!({
        "id": project.id,
        "name": project.name,
        "role": project.role().as_str_name().trim_start_matches("ROLE_").to_lowercase(),
        "servers": project.server_count,
        "members": project.member_count,
        "audit_mode":
            project.audit_mode().as_str_name().trim_start_matches("AUDIT_MODE_").to_lowercase(),
        "naming": project.naming().as_str_name().trim_start_matches("NAMING_").to_lowercase(),
        "tool_pinning": project
            .tool_pinning()
            .as_str_name()
            .trim_start_matches("TOOL_PINNING_")
            .to_lowercase(),
        "retry_policy": project
            .retry_policy()
            .as_str_name()
            .trim_start_matches("RETRY_POLICY_")
            .to_lowercase(),
        "sse_url": project.sse_url,
        "mcp_url": project.mcp_url,
    })
}

const HEADINGS: [&str; 7] = ["id", "name", "role", "servers", "members", "audit_mode", "mcp_url"];

async fn list(remote: Remote) -> Result<()> {
    let session = Session::open(&remote).await?;
    let mut rows = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListProjectsRequest { page_size: 500, page_token };
        let page = session.projects().list_projects(request).await.map_err(explain)?.into_inner();
        rows.extend(page.projects.iter().map(row));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return print(remote.json, &HEADINGS, &rows);
        }
    }
}

async fn create(name: String, id: Option<String>, remote: Remote) -> Result<()> {
    let session = Session::open(&remote).await?;
    let request = pb::CreateProjectRequest {
        name,
        project_id: id.unwrap_or_default(),
        ..pb::CreateProjectRequest::default()
    };
    let made = session.projects().create_project(request).await.map_err(explain)?.into_inner();
    print(remote.json, &HEADINGS, &[row(&made.project.unwrap_or_default())])
}

type Settings = (Option<AuditMode>, Option<Naming>, Option<ToolPinning>, Option<RetryPolicy>);

async fn set(
    (audit_mode, naming, tool_pinning, retry_policy): Settings,
    target: InProject,
) -> Result<()> {
    let session = Session::open(&target.remote).await?;
    let mut project = pb::Project {
        id: session.project(target.project.as_ref()).await?,
        ..pb::Project::default()
    };
    let mut paths = Vec::new();
    if let Some(mode) = audit_mode {
        project.set_audit_mode(match mode {
            AuditMode::Buffered => pb::AuditMode::Buffered,
            AuditMode::Acknowledged => pb::AuditMode::Acknowledged,
            AuditMode::Strict => pb::AuditMode::Strict,
        });
        paths.push("audit_mode".to_owned());
    }
    if let Some(naming) = naming {
        project.set_naming(match naming {
            Naming::Prefixed => pb::Naming::Prefixed,
            Naming::PlainWhenSingle => pb::Naming::PlainWhenSingle,
        });
        paths.push("naming".to_owned());
    }
    if let Some(pinning) = tool_pinning {
        project.set_tool_pinning(match pinning {
            ToolPinning::Off => pb::ToolPinning::Off,
            ToolPinning::Warn => pb::ToolPinning::Warn,
            ToolPinning::Block => pb::ToolPinning::Block,
        });
        paths.push("tool_pinning".to_owned());
    }
    if let Some(policy) = retry_policy {
        project.set_retry_policy(match policy {
            RetryPolicy::Never => pb::RetryPolicy::Never,
            RetryPolicy::ReadOnly => pb::RetryPolicy::ReadOnly,
            RetryPolicy::Idempotent => pb::RetryPolicy::Idempotent,
        });
        paths.push("retry_policy".to_owned());
    }
    if paths.is_empty() {
        say("nothing to change: give --audit-mode, --naming, --tool-pinning or --retry-policy");
        return Ok(());
    }
    let request = pb::UpdateProjectRequest {
        project: Some(project),
        update_mask: Some(prost_types::FieldMask { paths }),
        idempotency_key: String::new(),
    };
    let changed = session.projects().update_project(request).await.map_err(explain)?.into_inner();
    print(target.remote.json, &HEADINGS, &[row(&changed.project.unwrap_or_default())])
}
