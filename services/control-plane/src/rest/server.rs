//! `/projects/{id}/servers`: registering, seeing, changing and forgetting servers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::server::Transport;
use domain::{Refusal, ServerId};
use http::StatusCode;
use utoipa::ToSchema;

use super::failure::{Answer, ErrorBody};
use super::request::{Body, Caller, IdempotencyKey, Ids, InProject};
use super::server_item::ServerItem;
use crate::app::{App, Paging};
use crate::import::{Described, Fields};
use crate::launch::HIDDEN;
use crate::use_case::{self, CreateServer, DeleteServer, SetServerEnabled, UpdateServer};

/// Most servers in a list, which has no pages.
const MAX_LIST: usize = 5_000;

/// A server to register, or what is to change of one: what is absent stays, and a value that
/// comes back as `…` stays what it is.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct ServerBody {
    /// 1–64 characters of `[A-Za-z0-9_.-]` and spaces, unique in the project. Needed to register.
    name: Option<String>,
    /// `stdio`, `sse`, `streamable_http` (also `http`, `streamableHttp`); also `transport_type`.
    /// If absent: `stdio` with a command, else found out by trying.
    #[schema(example = "sse")]
    r#type: Option<String>,
    /// http or https.
    url: Option<String>,
    headers: Option<std::collections::BTreeMap<String, String>>,
    /// stdio: the program.
    command: Option<String>,
    args: Option<Vec<String>>,
    env: Option<std::collections::BTreeMap<String, String>>,
    cwd: Option<String>,
    /// Connection timeout in seconds, 1–3600; 30 if absent.
    timeout: Option<u32>,
    /// Seconds that a request may take, 0–86400; 300 if absent, 0 is for ever.
    read_timeout: Option<u32>,
    /// Tools that clients may run without asking; also `autoApprove`.
    auto_approve: Option<Vec<String>>,
    disabled: Option<bool>,
    /// Whose connection a client's requests take: `shared` (one for all, if absent) or `session`
    /// (one for each client session, which sampling, elicitation and roots over stdio need).
    isolation: Option<String>,
    /// Only workers that have all of these labels run it: at most 16, each 1–63 characters of
    /// `[a-z0-9._=/-]`. Also `placementLabels`. If absent: any worker.
    placement_labels: Option<Vec<String>>,
    /// A PEM file on the worker's machine with the CA of an https upstream.
    ca_file: Option<String>,
    /// An outbound proxy, http or https.
    proxy: Option<String>,
}

/// Whether a server or a tool is to be used. Without a body it is switched over.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct ToggleBody {
    enabled: Option<bool>,
    disabled: Option<bool>,
}

/// The servers of the project, by name. An API key of the project may ask, too.
#[utoipa::path(
    get, path = "/projects/{id}/servers", tag = "servers", operation_id = "list_servers",
    params(("id" = String, Path, description = "the project")),
    responses(
        (status = 200, body = Vec<ServerItem>),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    ids: Ids,
) -> Answer<Json<Vec<ServerItem>>> {
    let (project, mut items, mut token) = (ids.project()?, Vec::new(), String::new());
    while items.len() < MAX_LIST {
        let paging = Paging::new(Paging::MAX_SIZE, &token)?;
        let page = use_case::list_servers(&app, &caller.ctx, &project, &paging).await?;
        items.extend(page.items.into_iter().map(ServerItem::from));
        let Some(next) = page.next else { break };
        token = next;
    }
    Ok(Json(items))
}

/// Registers a server and connects once to learn what it offers. Owner.
#[utoipa::path(
    post, path = "/projects/{id}/servers", tag = "servers", operation_id = "create_server",
    params(("id" = String, Path, description = "the project")),
    request_body = ServerBody,
    responses(
        (status = 201, body = ServerItem),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, description = "The name is taken", body = ErrorBody),
    ),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Body(body): Body,
) -> Answer<(StatusCode, Json<ServerItem>)> {
    let mut spec = Described::read(&body)?.spec;
    if spec.env.values().chain(spec.headers.values()).any(|value| value == HIDDEN) {
        let message = format!("a value is {HIDDEN}: write the value that it stands for");
        return Err(Refusal::invalid("body", message).into());
    }
    spec.name = body.required_text("name")?;
    if spec.transport == 0 {
        return Err(Refusal::invalid("type", "is missing, and so are command and url").into());
    }
    let command = CreateServer { project, spec, idempotency_key };
    let view = use_case::create_server(&app, &ctx, command).await?;
    Ok((StatusCode::CREATED, Json(view.into())))
}

/// One server.
#[utoipa::path(
    get, path = "/projects/{id}/servers/{sid}", tag = "servers", operation_id = "get_server",
    params(
        ("id" = String, Path, description = "the project"),
        ("sid" = String, Path, description = "the server"),
    ),
    responses(
        (status = 200, body = ServerItem),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    ids: Ids,
) -> Answer<Json<ServerItem>> {
    let view = use_case::get_server(&app, &caller.ctx, &ids.project()?, server(&ids)?).await?;
    Ok(Json(view.into()))
}

/// Changes a server: its type, too. Its name and history stay. Owner.
#[utoipa::path(
    put, path = "/projects/{id}/servers/{sid}", tag = "servers", operation_id = "update_server",
    params(
        ("id" = String, Path, description = "the project"),
        ("sid" = String, Path, description = "the server"),
    ),
    request_body = ServerBody,
    responses(
        (status = 200, body = ServerItem),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody),
    ),
)]
pub(super) async fn update(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Body(body): Body,
) -> Answer<Json<ServerItem>> {
    let server = server(&ids)?;
    let mut described = Described::read(&body)?;
    if !Described::says_type(&body) {
        let view = use_case::get_server(&app, &ctx, &project, server).await?;
        keep_type(&mut described, &view.config.transport)?;
    }
    if let Some(name) = body.text(&["name"])? {
        described.spec.name = name;
        described.given.push("name");
    }
    if described.given.is_empty() {
        return Err(Refusal::invalid("body", "names no field of a server").into());
    }
    let mask = described.given.into_iter().map(str::to_owned).collect();
    let command = UpdateServer { project, server, spec: described.spec, mask, idempotency_key };
    Ok(Json(use_case::update_server(&app, &ctx, command).await?.into()))
}

/// A change that does not say a type changes none.
fn keep_type(described: &mut Described, now: &Transport) -> Result<(), Refusal> {
    let has = |field: &str| described.given.contains(&field);
    let other = match now {
        Transport::Unset => return Ok(()),
        Transport::Stdio { .. } => has("url") || has("headers"),
        Transport::Sse(_) | Transport::StreamableHttp(_) | Transport::Probe(_) => {
            has("command") || has("args") || has("env")
        }
    };
    if other {
        let message = "must be given: these fields belong to another type than the server has";
        return Err(Refusal::invalid("type", message));
    }
    described.given.retain(|field| *field != "transport");
    Ok(())
}

/// Forgets a server. Owner.
#[utoipa::path(
    delete, path = "/projects/{id}/servers/{sid}", tag = "servers", operation_id = "delete_server",
    params(
        ("id" = String, Path, description = "the project"),
        ("sid" = String, Path, description = "the server"),
    ),
    responses(
        (status = 204),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
) -> Answer<StatusCode> {
    let command = DeleteServer { project, server: server(&ids)?, idempotency_key };
    use_case::delete_server(&app, &ctx, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a server in or out of use. Owner.
#[utoipa::path(
    post, path = "/projects/{id}/servers/{sid}/toggle", tag = "servers", operation_id = "toggle_server",
    params(
        ("id" = String, Path, description = "the project"),
        ("sid" = String, Path, description = "the server"),
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
pub(super) async fn toggle(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Body(body): Body,
) -> Answer<Json<ServerItem>> {
    let server = server(&ids)?;
    let enabled = match wanted(&body)? {
        Some(enabled) => enabled,
        None => use_case::get_server(&app, &ctx, &project, server).await?.disabled,
    };
    let command = SetServerEnabled { project, server, enabled, idempotency_key };
    Ok(Json(use_case::set_server_enabled(&app, &ctx, command).await?.into()))
}

/// Whether a body says to use something, or not to.
pub(super) fn wanted(body: &Fields) -> Result<Option<bool>, Refusal> {
    let disabled = body.flag(&["disabled"])?;
    Ok(body.flag(&["enabled"])?.or(disabled.map(|disabled| !disabled)))
}

/// The server in the path.
pub(super) fn server(ids: &Ids) -> Result<ServerId, Refusal> {
    ids.get("sid", "server")
}
