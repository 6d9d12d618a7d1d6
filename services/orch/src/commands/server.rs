//! `mcp-orch server …`

use std::process::ExitCode;

use anyhow::{Result, bail};
use proto::control::v1 as pb;
use serde_json::{Value, json};

use super::table::{print, say};
use crate::cli::{HttpTransport, InProject, Isolation, NamedServer, ServerCommand};
use crate::remote::{Session, explain};

/// Runs one of the commands on servers.
pub(crate) async fn run(command: ServerCommand) -> Result<ExitCode> {
    match command {
        ServerCommand::List(target) => list(target).await?,
        ServerCommand::Add { name, url, transport, headers, env, isolation, command, target } => {
            let spec = pb::ServerSpec {
                name,
                transport: transport_of(url.is_some(), transport).into(),
                command: command.first().cloned().unwrap_or_default(),
                args: command.into_iter().skip(1).collect(),
                env: env.into_iter().collect(),
                url: url.unwrap_or_default(),
                headers: headers.into_iter().collect(),
                isolation: isolation.map_or(pb::Isolation::Unspecified, isolation_of).into(),
                ..pb::ServerSpec::default()
            };
            add(spec, target).await?;
        }
        ServerCommand::Test(named) => return test(named).await,
        ServerCommand::Enable(named) => set_enabled(named, true).await?,
        ServerCommand::Disable(named) => set_enabled(named, false).await?,
        ServerCommand::Remove(named) => remove(named).await?,
        ServerCommand::Tools(named) => tools(named).await?,
        ServerCommand::Log(named) => log(named).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn transport_of(has_url: bool, named: Option<HttpTransport>) -> pb::Transport {
    match (has_url, named) {
        (false, _) => pb::Transport::Stdio,
        (true, None) => pb::Transport::Probe,
        (true, Some(HttpTransport::Sse)) => pb::Transport::Sse,
        (true, Some(HttpTransport::Http)) => pb::Transport::StreamableHttp,
    }
}

fn isolation_of(named: Isolation) -> pb::Isolation {
    match named {
        Isolation::Shared => pb::Isolation::Shared,
        Isolation::Session => pb::Isolation::Session,
    }
}

const HEADINGS: [&str; 7] =
    ["name", "transport", "status", "tools", "response_time_ms", "cause", "id"];

fn row(server: &pb::Server) -> Value {
    json!({
        "id": server.id,
        "name": server.name,
        "transport":
            server.transport().as_str_name().trim_start_matches("TRANSPORT_").to_lowercase(),
        "status": server.state().as_str_name().trim_start_matches("SERVER_STATE_").to_lowercase(),
        "cause": server.cause,
        "tools": server.tool_count,
        "response_time_ms": server.response_time_ms,
        "setup_time_ms": server.setup_time_ms,
        "revision": server.revision,
        "command": server.command,
        "args": server.shown_args,
        "url": server.url,
        "disabled": server.disabled,
        "isolation":
            server.isolation().as_str_name().trim_start_matches("ISOLATION_").to_lowercase(),
        "changed_tools": server.changed_tool_count,
    })
}

async fn list(target: InProject) -> Result<()> {
    let session = Session::open(&target.remote).await?;
    let project = session.project(target.project.as_ref()).await?;
    let rows: Vec<Value> = session.all_servers(&project).await?.iter().map(row).collect();
    print(target.remote.json, &HEADINGS, &rows)
}

async fn add(spec: pb::ServerSpec, target: InProject) -> Result<()> {
    if spec.command.is_empty() && spec.url.is_empty() {
        bail!("give a URL with --url, or a command after `--`, e.g. `-- npx -y some-mcp-server`");
    }
    let session = Session::open(&target.remote).await?;
    let request = pb::CreateServerRequest {
        project_id: session.project(target.project.as_ref()).await?,
        spec: Some(spec),
        idempotency_key: String::new(),
    };
    let made = session.servers().create_server(request).await.map_err(explain)?.into_inner();
    print(target.remote.json, &HEADINGS, &[row(&made.server.unwrap_or_default())])
}

/// Opens the session and finds the server that was named.
async fn find(named: &NamedServer) -> Result<(Session, pb::Server)> {
    let session = Session::open(&named.target.remote).await?;
    let project = session.project(named.target.project.as_ref()).await?;
    let server = session.server_named(&project, &named.name).await?;
    Ok((session, server))
}

async fn test(named: NamedServer) -> Result<ExitCode> {
    let (session, server) = find(&named).await?;
    let request = pb::TestServerRequest { project_id: server.project_id, server_id: server.id };
    let tested = session.servers().test_server(request).await.map_err(explain)?.into_inner();
    let rows: Vec<Value> = tested
        .steps
        .iter()
        .map(|step| {
            json!({
                "step": step.step,
                "ok": step.ok,
                "took_ms": step.took_ms,
                "detail": step.detail,
            })
        })
        .collect();
    print(named.target.remote.json, &["step", "ok", "took_ms", "detail"], &rows)?;
    Ok(if tested.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn set_enabled(named: NamedServer, enabled: bool) -> Result<()> {
    let (session, server) = find(&named).await?;
    let request = pb::SetServerEnabledRequest {
        project_id: server.project_id,
        server_id: server.id,
        enabled,
        idempotency_key: String::new(),
    };
    let set = session.servers().set_server_enabled(request).await.map_err(explain)?.into_inner();
    print(named.target.remote.json, &HEADINGS, &[row(&set.server.unwrap_or_default())])
}

async fn remove(named: NamedServer) -> Result<()> {
    let (session, server) = find(&named).await?;
    let request = pb::DeleteServerRequest {
        project_id: server.project_id,
        server_id: server.id,
        idempotency_key: String::new(),
    };
    session.servers().delete_server(request).await.map_err(explain)?;
    say(&format!("{} is removed", named.name));
    Ok(())
}

async fn tools(named: NamedServer) -> Result<()> {
    let (session, server) = find(&named).await?;
    let mut rows = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListToolsRequest {
            project_id: server.project_id.clone(),
            server_id: server.id.clone(),
            page_size: 500,
            page_token,
        };
        let page = session.servers().list_tools(request).await.map_err(explain)?.into_inner();
        rows.extend(page.tools.iter().map(|tool| {
            json!({
                "name": tool.name,
                "unified_name": tool.unified_name,
                "enabled": tool.enabled,
                "definition": definition(tool),
                "definition_hash": tool.definition_hash,
                "approved_hash": tool.approved_hash,
                "description": tool.description,
            })
        }));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    print(
        named.target.remote.json,
        &["unified_name", "enabled", "definition", "description"],
        &rows,
    )
}

/// Whether the definition is the approved one.
fn definition(tool: &pb::Tool) -> &'static str {
    if tool.definition_changed { "changed" } else { "approved" }
}

async fn log(named: NamedServer) -> Result<()> {
    let (session, server) = find(&named).await?;
    let request = pb::GetServerLogRequest {
        project_id: server.project_id,
        server_id: server.id,
        max_lines: 0,
    };
    let log = session.servers().get_server_log(request).await.map_err(explain)?.into_inner();
    for line in log.lines {
        say(&line);
    }
    Ok(())
}
