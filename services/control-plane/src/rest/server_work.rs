//! What can be tried and asked of servers: a handshake, their stderr; and taking them over from a
//! file.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::failure::{Answer, ErrorBody};
use super::request::{InProject, Params, Text};
use super::server::server;
use crate::app::App;
use crate::import::{ImportServers, ImportedServer, import_servers};
use crate::use_case::{self, TestReport};

/// What came of a handshake.
#[derive(Serialize, ToSchema)]
pub(super) struct TestAnswer {
    /// Whether every step went well.
    ok: bool,
    /// The steps in their order; the last is where it failed, if it did.
    steps: Vec<TestStepItem>,
    tools_count: u32,
}

/// One step of a handshake.
#[derive(Serialize, ToSchema)]
struct TestStepItem {
    /// `resolve`, `spawn`, `connect`, `initialize`, `list_tools` …
    step: String,
    ok: bool,
    /// What was seen, secrets masked.
    detail: String,
    took_ms: u32,
}

impl From<TestReport> for TestAnswer {
    fn from(report: TestReport) -> Self {
        let steps = report.steps.into_iter().map(|step| TestStepItem {
            step: step.step,
            ok: step.ok,
            detail: step.detail,
            took_ms: step.took_ms,
        });
        Self { ok: report.ok, steps: steps.collect(), tools_count: report.tools }
    }
}

/// A real handshake with the saved configuration, step by step. Developer.
#[utoipa::path(
    post, path = "/projects/{id}/servers/{sid}/test", tag = "servers", operation_id = "test_server",
    params(
        ("id" = String, Path, description = "the project"),
        ("sid" = String, Path, description = "the server"),
    ),
    responses(
        (status = 200, description = "Tried; `ok` says how it went", body = TestAnswer),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 503, description = "No worker is there", body = ErrorBody),
    ),
)]
pub(super) async fn test(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
) -> Answer<Json<TestAnswer>> {
    let report = use_case::test_server(&app, &ctx, &project, server(&ids)?).await?;
    Ok(Json(report.into()))
}

/// Lines of a server's stderr.
#[derive(Serialize, ToSchema)]
pub(super) struct LogAnswer {
    /// Oldest first, secrets masked.
    lines: Vec<String>,
}

/// The last lines that a stdio server wrote to its stderr. Developer.
#[utoipa::path(
    get, path = "/projects/{id}/servers/{sid}/log", tag = "servers", operation_id = "get_server_log",
    params(
        ("id" = String, Path, description = "the project"),
        ("sid" = String, Path, description = "the server"),
        ("max_lines" = Option<u32>, Query, description = "1 to 1,000; 100 if absent"),
    ),
    responses(
        (status = 200, body = LogAnswer),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 503, description = "No worker is there", body = ErrorBody),
    ),
)]
pub(super) async fn log(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    params: Params,
) -> Answer<Json<LogAnswer>> {
    let max_lines = params.get("max_lines", "must be 0 to 1000")?.unwrap_or(0);
    let lines = use_case::server_log(&app, &ctx, &project, server(&ids)?, max_lines).await?;
    Ok(Json(LogAnswer { lines }))
}

/// What became of the servers of a file.
#[derive(Serialize, ToSchema)]
pub(super) struct ImportAnswer {
    servers: Vec<ImportedItem>,
}

/// What became of one server.
#[derive(Serialize, ToSchema)]
struct ImportedItem {
    name: String,
    /// `created`, `updated`, `unchanged`, `deleted` or `refused`.
    action: &'static str,
    /// What differs, by field, without values that may be secret; or why it was refused.
    changes: Vec<String>,
    server_id: Option<String>,
}

impl From<ImportedServer> for ImportedItem {
    fn from(server: ImportedServer) -> Self {
        Self {
            name: server.name,
            action: server.action.as_str(),
            changes: server.changes,
            server_id: server.server.map(|id| id.to_string()),
        }
    }
}

/// Takes servers over from a client's configuration file, by name. Owner. The body is the file,
/// comments allowed.
#[utoipa::path(
    post, path = "/projects/{id}/servers/import", tag = "servers", operation_id = "import_servers",
    params(
        ("id" = String, Path, description = "the project"),
        ("dry_run" = Option<bool>, Query, description = "only say what would change"),
        ("prune" = Option<bool>, Query, description = "delete servers that the file does not name"),
    ),
    request_body(
        content = Object,
        description = "a file with `mcpServers`, `servers` or `context_servers`",
        example = json!({ "mcpServers": { "a": { "type": "sse", "url": "http://h/sse" } } }),
    ),
    responses(
        (status = 200, body = ImportAnswer),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 413, body = ErrorBody),
    ),
)]
pub(super) async fn import(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
    params: Params,
    Text(config_json): Text,
) -> Answer<Json<ImportAnswer>> {
    let command = ImportServers {
        project,
        config_json,
        dry_run: params.flag("dry_run")?.unwrap_or(false),
        prune: params.flag("prune")?.unwrap_or(false),
    };
    let imported = import_servers(&app, &ctx, command).await?;
    Ok(Json(ImportAnswer { servers: imported.into_iter().map(ImportedItem::from).collect() }))
}
