//! `mcp-orch call …`

use anyhow::{Context, Result};
use proto::control::v1 as pb;
use serde_json::{Value, json};

use super::table::print;
use crate::cli::{CallCommand, InProject};
use crate::remote::{Session, explain};

/// Runs one of the commands on the record of calls.
pub(crate) async fn run(command: CallCommand) -> Result<()> {
    let CallCommand::List { limit, server, tool, outcome, target } = command;
    let outcomes = outcome
        .map(|name| {
            pb::CallOutcome::from_str_name(&format!("CALL_OUTCOME_{}", name.to_uppercase()))
                .with_context(|| format!("{name:?} is no outcome: try ok, tool_error or unknown"))
        })
        .transpose()?;
    let session = Session::open(&target.remote).await?;
    let project_id = session.project(target.project.as_ref()).await?;
    let server_id = match server {
        Some(name) => session.server_named(&project_id, &name).await?.id,
        None => String::new(),
    };
    let request = pb::ListCallsRequest {
        project_id,
        server_id,
        target: tool.unwrap_or_default(),
        outcomes: outcomes.into_iter().map(i32::from).collect(),
        include_arguments: true,
        ..pb::ListCallsRequest::default()
    };
    list(&session, request, limit, &target).await
}

async fn list(
    session: &Session,
    mut request: pb::ListCallsRequest,
    limit: u32,
    target: &InProject,
) -> Result<()> {
    let mut rows: Vec<Value> = Vec::new();
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    while rows.len() < wanted {
        request.page_size = u32::try_from(wanted - rows.len()).unwrap_or(u32::MAX).min(500);
        let page = session.calls().list_calls(request.clone()).await.map_err(explain)?.into_inner();
        rows.extend(page.calls.iter().map(row));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    print(
        target.remote.json,
        &["time", "server", "tool", "outcome", "total_ms", "arguments"],
        &rows,
    )
}

fn row(with_body: &pb::CallWithBody) -> Value {
    let call = with_body.call.clone().unwrap_or_default();
    let time = call.start_time.map(|time| time.to_string());
    let arguments: Value = serde_json::from_str(&with_body.arguments_json).unwrap_or_default();
    json!({
        "id": call.id,
        "time": time,
        "server": call.server_name,
        "method": call.method,
        "tool": call.target,
        "api_key": call.api_key_id,
        "outcome":
            call.outcome().as_str_name().trim_start_matches("CALL_OUTCOME_").to_lowercase(),
        "error_code": call.error_code,
        "queue_us": call.queue_us,
        "upstream_us": call.upstream_us,
        "total_us": call.total_us,
        "total_ms": (call.total_us as f64) / 1_000.0,
        "arguments_bytes": call.arguments_bytes,
        "result_bytes": call.result_bytes,
        "arguments_digest": call.arguments_digest,
        "result_digest": call.result_digest,
        "client": call.client,
        "position": call.position,
        "arguments": arguments,
    })
}
