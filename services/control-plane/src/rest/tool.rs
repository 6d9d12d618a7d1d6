//! `/projects/{id}/servers/{sid}/tools`: what a server offers, which of it clients see, and which
//! definitions are approved.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::failure::{Answer, ErrorBody};
use super::page::{PageParams, page};
use super::request::{Body, IdempotencyKey, InProject, Params};
use super::server::{ToggleBody, server, wanted};
use super::server_item::ServerItem;
use crate::app::App;
use crate::context::Ctx;
use crate::use_case::{self, ApproveTool, ApprovedTool, Approving, SetToolEnabled};
use crate::views::ToolView;

/// A tool that a server offers.
#[derive(Serialize, ToSchema)]
struct ToolItem {
    server_id: String,
    server_name: String,
    /// The upstream's own name.
    name: String,
    /// The name under which clients of the unified endpoint see it.
    unified_name: String,
    description: String,
    enabled: bool,
    /// The definition as the upstream gave it.
    #[schema(value_type = Object)]
    definition: Option<Box<RawValue>>,
    /// SHA-256 over the definition's bytes; `null` when it is not recorded.
    definition_hash: Option<String>,
    /// The same of the approved definition: the first that was seen, until an Owner approves
    /// another; `null` when there is none.
    approved_hash: Option<String>,
    /// The two differ. What that leads to is the project's `tool_pinning`.
    definition_changed: bool,
}

impl From<ToolView> for ToolItem {
    fn from(tool: ToolView) -> Self {
        let hash = |hash: &String| (!hash.is_empty()).then(|| hash.clone());
        Self {
            definition_hash: hash(&tool.definition_hash),
            approved_hash: hash(&tool.approved_hash),
            definition_changed: tool.definition_changed(),
            server_id: tool.server.to_string(),
            server_name: tool.server_name,
            name: tool.name,
            unified_name: tool.unified_name,
            description: tool.description,
            enabled: tool.enabled,
            definition: RawValue::from_string(tool.definition_json).ok(),
        }
    }
}

page! {
    /// A page of tools.
    ToolPage of ToolItem as tools
}

/// What a server offers, as last learnt.
#[utoipa::path(
    get, path = "/projects/{id}/servers/{sid}/tools", tag = "servers", operation_id = "list_tools",
    params(
        ("id" = String, Path, description = "the project"),
        ("sid" = String, Path, description = "the server"),
        PageParams,
    ),
    responses(
        (status = 200, body = ToolPage),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn tools(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    params: Params,
) -> Answer<Json<ToolPage>> {
    let server = server(&ids)?;
    let page = use_case::list_tools(&app, &ctx, &project, Some(server), &params.paging()?).await?;
    Ok(Json(page.map(ToolItem::from).into()))
}

/// Shows a tool to clients, or hides it. Owner.
#[utoipa::path(
    post, path = "/projects/{id}/servers/{sid}/tools/{tool}/toggle", tag = "servers", operation_id = "toggle_tool",
    params(
        ("id" = String, Path, description = "the project"),
        ("sid" = String, Path, description = "the server"),
        ("tool" = String, Path, description = "the upstream's own name of the tool"),
    ),
    request_body(content = Option<ToggleBody>),
    responses(
        (status = 200, body = ServerItem),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn toggle_tool(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Body(body): Body,
) -> Answer<Json<ServerItem>> {
    let (server, tool) = (server(&ids)?, ids.text("tool").to_owned());
    let enabled = match wanted(&body)? {
        Some(enabled) => enabled,
        None => {
            let view = use_case::get_server(&app, &ctx, &project, server).await?;
            view.disabled_tools.contains(&tool)
        }
    };
    let command = SetToolEnabled { project, server, tool, enabled, idempotency_key };
    Ok(Json(use_case::set_tool_enabled(&app, &ctx, command).await?.into()))
}

/// Which definition the caller has seen.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct ApproveBody {
    /// The tool's `definition_hash`; what is there now if absent.
    hash: Option<String>,
}

/// Tools with their approved definitions.
#[derive(Serialize, ToSchema)]
pub(super) struct ApproveAnswer {
    approved: Vec<ApprovedItem>,
}

/// A tool with its approved definition.
#[derive(Serialize, ToSchema)]
struct ApprovedItem {
    /// The upstream's own name.
    tool: String,
    /// SHA-256 over the definition's bytes.
    hash: String,
}

impl From<ApprovedTool> for ApprovedItem {
    fn from(approved: ApprovedTool) -> Self {
        Self { tool: approved.tool, hash: approved.hash }
    }
}

/// Takes the definition that a tool has now as the one that clients may use. Owner.
#[utoipa::path(
    post, path = "/projects/{id}/servers/{sid}/tools/{tool}/approve", tag = "servers", operation_id = "approve_tool",
    params(
        ("id" = String, Path, description = "the project"),
        ("sid" = String, Path, description = "the server"),
        ("tool" = String, Path, description = "the upstream's own name of the tool"),
    ),
    request_body(content = Option<ApproveBody>),
    responses(
        (status = 200, body = ApproveAnswer),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, description = "The tool has another definition now", body = ErrorBody),
    ),
)]
pub(super) async fn approve(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Body(body): Body,
) -> Answer<Json<ApproveAnswer>> {
    let hash = body.text(&["hash"])?.unwrap_or_default();
    let what = Approving::read(ids.text("tool").to_owned(), hash, false)?;
    let command = ApproveTool { project, server: server(&ids)?, what, idempotency_key };
    approved(&app, &ctx, command).await
}

/// Takes the changed definitions of all tools of a server as those that clients may use. Owner.
#[utoipa::path(
    post, path = "/projects/{id}/servers/{sid}/tools/approve", tag = "servers", operation_id = "approve_tools",
    params(
        ("id" = String, Path, description = "the project"),
        ("sid" = String, Path, description = "the server"),
    ),
    responses(
        (status = 200, body = ApproveAnswer),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 429, description = "More than 256 tools changed", body = ErrorBody),
    ),
)]
pub(super) async fn approve_all(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
) -> Answer<Json<ApproveAnswer>> {
    let (server, what) = (server(&ids)?, Approving::AllChanged);
    approved(&app, &ctx, ApproveTool { project, server, what, idempotency_key }).await
}

async fn approved(app: &App, ctx: &Ctx, command: ApproveTool) -> Answer<Json<ApproveAnswer>> {
    let approved = use_case::approve_tool(app, ctx, command).await?;
    Ok(Json(ApproveAnswer { approved: approved.into_iter().map(ApprovedItem::from).collect() }))
}
