//! Configurations for MCP clients.

use std::str::FromStr as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::api_key::{ApiKeyItem, read_role};
use super::failure::{Answer, ErrorBody};
use super::request::{Body, Caller, IdempotencyKey, Ids, InProject, Params};
use super::time;
use crate::app::App;
use crate::client_config::{
    Client, ClientFile, MintClientConfig, individual_config, mint_client_config, unified_config,
};

/// A configuration file: `mcpServers` and what belongs there.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the answer, whose keys are names of servers")]
pub(super) struct ClineConfig {
    #[schema(rename = "mcpServers")]
    mcp_servers: std::collections::BTreeMap<String, Value>,
}

/// The project's configuration for clients: one entry for everything, or one for each server.
/// An API key of the project may ask, too, and gets itself back in the unified configuration.
#[utoipa::path(
    get, path = "/projects/{id}/cline-config", tag = "client configurations", operation_id = "get_cline_config",
    params(
        ("id" = String, Path, description = "the project"),
        ("unified" = Option<bool>, Query, description = "one entry for all servers (the default), \
            or one for each; values of the latter are shown to an Owner's or Developer's session"),
    ),
    responses(
        (status = 200, body = ClineConfig),
        (status = 401, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn cline(
    State(app): State<Arc<App>>,
    caller: Caller,
    ids: Ids,
    params: Params,
) -> Answer<Json<Value>> {
    let project = ids.project()?;
    let config = if params.flag("unified")?.unwrap_or(true) {
        unified_config(&app, &caller.ctx, &project, caller.key.as_ref()).await?
    } else {
        individual_config(&app, &caller.ctx, &project).await?
    };
    Ok(Json(config))
}

/// For which client, with which key.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct ClientConfigBody {
    /// `claude-desktop`, `claude-code`, `cursor`, `cline`, `vscode`, `windsurf` or `zed`.
    #[schema(example = "cursor")]
    client: String,
    /// The key's name; the client's if absent.
    name: Option<String>,
    /// The most the key may do: `developer` or `reporter`.
    role: Option<String>,
    /// When the key ends, RFC 3339; never if absent.
    expires_at: Option<String>,
}

/// A configuration with a key in it.
#[derive(Serialize, ToSchema)]
pub(super) struct ClientConfigAnswer {
    client: &'static str,
    /// What goes into the client's file.
    #[schema(value_type = Object)]
    config: Value,
    files: Vec<ClientFile>,
    /// A link that puts it in by itself; `null` where the client has none.
    deep_link: Option<String>,
    hint: &'static str,
    api_key: ApiKeyItem,
}

/// Makes a key, named after the client, and the configuration with it. It is shown in this
/// answer only. Developer.
#[utoipa::path(
    post, path = "/projects/{id}/client-configs", tag = "client configurations", operation_id = "create_client_config",
    params(("id" = String, Path, description = "the project")),
    request_body = ClientConfigBody,
    responses(
        (status = 201, body = ClientConfigAnswer),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn mint(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Body(body): Body,
) -> Answer<(StatusCode, Json<ClientConfigAnswer>)> {
    let expires_at = body.text(&["expires_at"])?;
    let command = MintClientConfig {
        project,
        client: Client::from_str(&body.required_text("client")?)?,
        name: body.text(&["name"])?,
        role: read_role(&body)?,
        expires_at: expires_at.map(|text| time::parse("expires_at", &text)).transpose()?,
        idempotency_key,
    };
    let minted = mint_client_config(&app, &ctx, command).await?;
    let answer = ClientConfigAnswer {
        client: minted.client.as_str(),
        config: minted.config,
        files: minted.files,
        deep_link: minted.deep_link,
        hint: minted.hint,
        api_key: minted.key.into(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}
