//! `/projects`: what servers, members and keys belong to.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::project::{AuditMode, Naming, RetryPolicy, ToolPinning};
use domain::{ProjectId, Refusal};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::failure::{Answer, ErrorBody};
use super::page::{PageParams, page};
use super::request::{Body, IdempotencyKey, InProject, Params, Session};
use super::time;
use crate::app::App;
use crate::use_case::{self, CreateProject, DeleteProject, UpdateProject};
use crate::views::ProjectView;

/// A project, as the caller sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct ProjectItem {
    id: String,
    name: String,
    description: String,
    /// `buffered`, `acknowledged` or `strict`.
    audit_mode: &'static str,
    /// `prefixed` or `plain_when_single`.
    naming: &'static str,
    unified_enabled: bool,
    /// Days for which arguments and results of calls are kept.
    body_retention_days: u32,
    /// What a changed definition of a tool leads to: `off`, `warn` or `block`.
    tool_pinning: &'static str,
    /// Which calls are run again when nobody knows whether they ran: `never`, `read_only` or
    /// `idempotent`.
    retry_policy: &'static str,
    /// RFC 3339.
    created_at: String,
    server_count: u32,
    member_count: u32,
    /// The caller's role: `owner`, `developer` or `reporter`.
    role: &'static str,
    /// Where MCP clients connect over SSE.
    sse_url: String,
    /// Where MCP clients connect over Streamable HTTP.
    mcp_url: String,
}

impl ProjectItem {
    fn of(app: &App, view: ProjectView) -> Self {
        Self {
            sse_url: app.url_of(&format!("projects/{}/unified/sse", view.id)),
            mcp_url: app.url_of(&format!("projects/{}/unified/mcp", view.id)),
            id: view.id.to_string(),
            name: view.name,
            description: view.description,
            audit_mode: view.settings.audit_mode.as_str(),
            naming: view.settings.naming.as_str(),
            unified_enabled: view.settings.unified_enabled,
            body_retention_days: view.settings.body_retention_days,
            tool_pinning: view.settings.tool_pinning.as_str(),
            retry_policy: view.settings.retry_policy.as_str(),
            created_at: time::show(view.created_at),
            server_count: view.server_count,
            member_count: view.member_count,
            role: view.role.as_str(),
        }
    }
}

page! {
    /// A page of projects.
    ProjectPage of ProjectItem as projects
}

/// A new project.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct NewProject {
    /// 1–100 characters.
    name: String,
    /// Up to 1,000 characters.
    description: Option<String>,
    /// Wanted id, `[A-Za-z0-9_-]{1,64}`; generated if absent.
    id: Option<String>,
}

/// Changes of a project; what is absent stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct ProjectChange {
    name: Option<String>,
    description: Option<String>,
    /// `buffered`, `acknowledged` or `strict`.
    audit_mode: Option<String>,
    /// `prefixed` or `plain_when_single`.
    naming: Option<String>,
    unified_enabled: Option<bool>,
    /// 0–3650.
    body_retention_days: Option<u32>,
    /// `off`, `warn` (members are shown changed tools) or `block` (clients do not get them until
    /// an Owner approves).
    tool_pinning: Option<String>,
    /// `never`, `read_only` (what tools are annotated so, resources and prompts) or `idempotent`
    /// (besides, what tools are annotated so).
    retry_policy: Option<String>,
}

/// The caller's projects.
#[utoipa::path(
    get, path = "/projects", tag = "projects", operation_id = "list_projects",
    params(
        PageParams,
    ),
    responses(
        (status = 200, body = ProjectPage),
        (status = 401, body = ErrorBody),
    ),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Session(ctx): Session,
    params: Params,
) -> Answer<Json<ProjectPage>> {
    let page = use_case::list_projects(&app, &ctx, &params.paging()?).await?;
    Ok(Json(page.map(|view| ProjectItem::of(&app, view)).into()))
}

/// Makes a project; the caller becomes its Owner.
#[utoipa::path(
    post, path = "/projects", tag = "projects", operation_id = "create_project",
    request_body = NewProject,
    responses(
        (status = 201, body = ProjectItem),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 409, description = "The id is taken", body = ErrorBody),
    ),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Session(ctx): Session,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Body(body): Body,
) -> Answer<(StatusCode, Json<ProjectItem>)> {
    let id = body.text(&["id", "project_id"])?.map(|id| {
        id.parse::<ProjectId>().map_err(|error| Refusal::invalid("id", error.to_string()))
    });
    let command = CreateProject {
        name: body.required_text("name")?,
        description: body.text(&["description"])?.unwrap_or_default(),
        id: id.transpose()?,
        idempotency_key,
    };
    let view = use_case::create_project(&app, &ctx, command).await?;
    Ok((StatusCode::CREATED, Json(ProjectItem::of(&app, view))))
}

/// One project.
#[utoipa::path(
    get, path = "/projects/{id}", tag = "projects", operation_id = "get_project",
    params(("id" = String, Path, description = "the project")),
    responses(
        (status = 200, body = ProjectItem),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
) -> Answer<Json<ProjectItem>> {
    let view = use_case::get_project(&app, &ctx, &project).await?;
    Ok(Json(ProjectItem::of(&app, view)))
}

/// Changes a project. Owner.
#[utoipa::path(
    patch, path = "/projects/{id}", tag = "projects", operation_id = "update_project",
    params(("id" = String, Path, description = "the project")),
    request_body = ProjectChange,
    responses(
        (status = 200, body = ProjectItem),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn update(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Body(body): Body,
) -> Answer<Json<ProjectItem>> {
    let audit_mode = choice("audit_mode", body.text(&["audit_mode"])?, |text| {
        AuditMode::ALL.into_iter().find(|mode| mode.as_str() == text)
    });
    let naming = choice("naming", body.text(&["naming"])?, |text| {
        Naming::ALL.into_iter().find(|naming| naming.as_str() == text)
    });
    let tool_pinning = choice("tool_pinning", body.text(&["tool_pinning"])?, |text| {
        ToolPinning::ALL.into_iter().find(|pinning| pinning.as_str() == text)
    });
    let retry_policy = choice("retry_policy", body.text(&["retry_policy"])?, |text| {
        RetryPolicy::ALL.into_iter().find(|policy| policy.as_str() == text)
    });
    let command = UpdateProject {
        project,
        name: body.text(&["name"])?,
        description: body.text(&["description"])?,
        audit_mode: audit_mode?,
        naming: naming?,
        unified_enabled: body.flag(&["unified_enabled"])?,
        body_retention_days: body.number(&["body_retention_days"])?,
        tool_pinning: tool_pinning?,
        retry_policy: retry_policy?,
        idempotency_key,
    };
    let view = use_case::update_project(&app, &ctx, command).await?;
    Ok(Json(ProjectItem::of(&app, view)))
}

fn choice<T>(
    field: &str,
    text: Option<String>,
    find: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    find(&text).map(Some).ok_or_else(|| Refusal::invalid(field, "is none of the known ones"))
}

/// Ends a project. Owner.
#[utoipa::path(
    delete, path = "/projects/{id}", tag = "projects", operation_id = "delete_project",
    params(("id" = String, Path, description = "the project")),
    responses(
        (status = 204),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
) -> Answer<StatusCode> {
    let command = DeleteProject { project, idempotency_key };
    use_case::delete_project(&app, &ctx, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
