//! `mcp-orch tool …`

use anyhow::Result;
use proto::control::v1 as pb;
use serde_json::{Value, json};

use super::table::{print, say};
use crate::cli::{InProject, ToolCommand};
use crate::remote::{Session, explain};

/// Runs one of the commands on tools.
pub(crate) async fn run(command: ToolCommand) -> Result<()> {
    match command {
        ToolCommand::Approve { server, tool, all, hash, target } => {
            let what = pb::ApproveToolRequest {
                tool: tool.unwrap_or_default(),
                hash: hash.unwrap_or_default(),
                all,
                ..pb::ApproveToolRequest::default()
            };
            approve(&server, what, target).await
        }
    }
}

async fn approve(server: &str, what: pb::ApproveToolRequest, target: InProject) -> Result<()> {
    let session = Session::open(&target.remote).await?;
    let project = session.project(target.project.as_ref()).await?;
    let server = session.server_named(&project, server).await?;
    let request =
        pb::ApproveToolRequest { project_id: server.project_id, server_id: server.id, ..what };
    let answer = session.servers().approve_tool(request).await.map_err(explain)?.into_inner();
    if answer.approved.is_empty() && !target.remote.json {
        say("no tool's definition changed");
        return Ok(());
    }
    let rows: Vec<Value> = answer
        .approved
        .iter()
        .map(|approved| json!({ "tool": approved.tool, "hash": approved.hash }))
        .collect();
    print(target.remote.json, &["tool", "hash"], &rows)
}
