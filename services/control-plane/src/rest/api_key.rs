//! `/projects/{id}/api-keys`: keys that open the project's MCP endpoints.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use domain::{Refusal, Role};
use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::Serialize;
use utoipa::ToSchema;

use super::failure::{Answer, ErrorBody};
use super::page::{PageParams, page};
use super::request::{Body, IdempotencyKey, InProject, Params};
use super::time;
use crate::app::App;
use crate::import::Fields;
use crate::use_case::{self, CreateApiKey, RevokeApiKey};
use crate::views::ApiKeyView;

/// A key, without the key.
#[derive(Serialize, ToSchema)]
pub(super) struct ApiKeyItem {
    id: String,
    project_id: String,
    name: String,
    /// The last four characters.
    suffix: String,
    /// The most it may do: `owner`, `developer` or `reporter`.
    role: &'static str,
    creator_user_id: String,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339; `null` is never.
    expires_at: Option<String>,
    revoked: bool,
}

impl From<ApiKeyView> for ApiKeyItem {
    fn from(key: ApiKeyView) -> Self {
        Self {
            id: key.id.to_string(),
            project_id: key.project.to_string(),
            name: key.name,
            suffix: key.suffix,
            role: key.role.as_str(),
            creator_user_id: key.creator.to_string(),
            created_at: time::show(key.created_at),
            expires_at: key.expires_at.map(time::show),
            revoked: key.revoked,
        }
    }
}

page! {
    /// A page of keys.
    ApiKeyPage of ApiKeyItem as api_keys
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct NewApiKeyAnswer {
    #[serde(flatten)]
    api_key: ApiKeyItem,
    /// The key itself, in this answer only; `null` when the request was a repeated one.
    secret: Option<String>,
}

/// A key to make.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(super) struct NewApiKey {
    /// 1–100 characters.
    name: String,
    /// The most it may do; the caller's role, at most `developer`, if absent.
    role: Option<String>,
    /// When it ends, RFC 3339; never if absent.
    expires_at: Option<String>,
}

/// The keys of the project. Developer.
#[utoipa::path(
    get, path = "/projects/{id}/api-keys", tag = "API keys", operation_id = "list_api_keys",
    params(
        ("id" = String, Path, description = "the project"),
        PageParams,
    ),
    responses(
        (status = 200, body = ApiKeyPage),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
    params: Params,
) -> Answer<Json<ApiKeyPage>> {
    let page = use_case::list_api_keys(&app, &ctx, &project, &params.paging()?).await?;
    Ok(Json(page.map(ApiKeyItem::from).into()))
}

/// Makes a key. Developer.
#[utoipa::path(
    post, path = "/projects/{id}/api-keys", tag = "API keys", operation_id = "create_api_key",
    params(("id" = String, Path, description = "the project")),
    request_body = NewApiKey,
    responses(
        (status = 201, body = NewApiKeyAnswer),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    InProject { ctx, project, .. }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Body(body): Body,
) -> Answer<(StatusCode, Json<NewApiKeyAnswer>)> {
    let expires_at = body.text(&["expires_at"])?;
    let command = CreateApiKey {
        project,
        name: body.required_text("name")?,
        role: read_role(&body)?,
        expires_at: expires_at.map(|text| time::parse("expires_at", &text)).transpose()?,
        idempotency_key,
    };
    let created = use_case::create_api_key(&app, &ctx, command).await?;
    let secret = created.secret.map(|secret| secret.expose_secret().to_owned());
    let answer = NewApiKeyAnswer { api_key: created.key.into(), secret };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// A role in a body.
pub(super) fn read_role(body: &Fields) -> Result<Option<Role>, Refusal> {
    let role = body.text(&["role"])?.map(|role| {
        let rule = "must be owner, developer or reporter";
        role.to_ascii_lowercase().parse().map_err(|_| Refusal::invalid("role", rule))
    });
    role.transpose()
}

/// Ends a key. Owner, or who made it.
#[utoipa::path(
    delete, path = "/projects/{id}/api-keys/{kid}", tag = "API keys", operation_id = "revoke_api_key",
    params(
        ("id" = String, Path, description = "the project"),
        ("kid" = String, Path, description = "the key's id"),
    ),
    responses(
        (status = 204),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub(super) async fn revoke(
    State(app): State<Arc<App>>,
    InProject { ctx, project, ids }: InProject,
    IdempotencyKey(idempotency_key): IdempotencyKey,
) -> Answer<StatusCode> {
    let key = ids.get("kid", "API key")?;
    let command = RevokeApiKey { project, key, idempotency_key };
    use_case::revoke_api_key(&app, &ctx, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
