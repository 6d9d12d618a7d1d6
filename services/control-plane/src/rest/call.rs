//! `/projects/{id}/calls`: the record of calls.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::Refusal;
use domain::call::CallOutcome;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::failure::{Answer, ErrorBody};
use super::page::{PageParams, page};
use super::request::{InProject, Params};
use super::time;
use crate::app::App;
use crate::use_case::{self, CallFilter};
use crate::views::CallWithBody;

/// A call.
#[derive(Serialize, ToSchema)]
pub(super) struct CallItem {
    id: String,
    server_id: String,
    server_name: String,
    /// `tools/call`, `resources/read` or `prompts/get`.
    method: String,
    /// The upstream's own name of the tool or prompt, or the URI.
    target: String,
    api_key_id: Option<String>,
    /// `ok`, `tool_error`, `upstream_error`, `cancelled`, `timeout`, `not_started` or `unknown`;
    /// `null` while only its start is recorded.
    outcome: Option<&'static str>,
    error_code: i32,
    /// RFC 3339.
    started_at: String,
    queue_us: u64,
    upstream_us: u64,
    total_us: u64,
    arguments_bytes: u64,
    result_bytes: u64,
    arguments_digest: String,
    result_digest: String,
    client: String,
    mcp_session: String,
    /// Its place in the log.
    position: u64,
    /// Only where it is kept, asked for and allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    arguments: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    result: Option<Box<RawValue>>,
    body_truncated: bool,
    body_masked: bool,
}

impl From<CallWithBody> for CallItem {
    fn from(found: CallWithBody) -> Self {
        let CallWithBody { call, arguments, result } = found;
        Self {
            id: call.id.to_string(),
            server_id: call.server.to_string(),
            server_name: call.server_name,
            method: call.method,
            target: call.target,
            api_key_id: call.api_key.map(|key| key.to_string()),
            outcome: call.outcome.map(CallOutcome::as_str),
            error_code: call.error_code,
            started_at: time::show(call.started_at),
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
            arguments,
            result,
            body_truncated: call.body_truncated,
            body_masked: call.body_masked,
        }
    }
}

page! {
    /// A page of calls.
    CallPage of CallItem as calls
}

/// The calls of the project, newest first.
#[utoipa::path(
    get, path = "/projects/{id}/calls", tag = "calls", operation_id = "list_calls",
    params(
        ("id" = String, Path, description = "the project"),
        ("server_id" = Option<String>, Query, description = "to this server"),
        ("target" = Option<String>, Query, description = "of this tool, prompt or URI"),
        ("api_key_id" = Option<String>, Query, description = "by this key"),
        ("outcome" = Option<String>, Query, description = "that ended so; several with commas"),
        ("from" = Option<String>, Query, description = "at this time or later, RFC 3339"),
        ("to" = Option<String>, Query, description = "before this time, RFC 3339"),
        ("min_total_us" = Option<u64>, Query, description = "that took at least so long"),
        ("mcp_session" = Option<String>, Query, description = "of this session"),
        ("include_arguments" = Option<bool>, Query, description = "for those who may"),
        PageParams,
    ),
    responses(
        (status = 200, body = CallPage),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
    params: Params,
) -> Answer<Json<CallPage>> {
    let filter = CallFilter {
        server: params.get("server_id", "is not an id of a server")?,
        target: params.text("target"),
        api_key: params.get("api_key_id", "is not an id of a key")?,
        outcomes: outcomes(&params)?,
        from: params.time("from")?,
        to: params.time("to")?,
        min_total_us: params.get("min_total_us", "must be a whole number")?.unwrap_or(0),
        mcp_session: params.text("mcp_session"),
        include_arguments: params.flag("include_arguments")?.unwrap_or(false),
    };
    let paging = params.paging()?;
    let page = use_case::list_calls(&app, &ctx, &project, &filter, &paging).await?;
    Ok(Json(page.map(CallItem::from).into()))
}

fn outcomes(params: &Params) -> Result<Vec<CallOutcome>, Refusal> {
    let text = params.text("outcome").unwrap_or_default();
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty()).take(20);
    names
        .map(|name| {
            name.parse().map_err(|_| Refusal::invalid("outcome", "is none of the known ones"))
        })
        .collect()
}

/// One call, with its arguments and result while they are kept, for those who may.
#[utoipa::path(
    get, path = "/projects/{id}/calls/{cid}", tag = "calls", operation_id = "get_call",
    params(
        ("id" = String, Path, description = "the project"),
        ("cid" = String, Path, description = "the call"),
    ),
    responses(
        (status = 200, body = CallItem),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
) -> Answer<Json<CallItem>> {
    let call = ids.get("cid", "call")?;
    Ok(Json(use_case::get_call(&app, &ctx, &project, call).await?.into()))
}
