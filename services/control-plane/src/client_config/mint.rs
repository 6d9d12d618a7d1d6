//! A configuration with a key of its own in it: the key is made here, named after the client,
//! shown in this answer only, and can be revoked like any other.

use authz::Action;
use domain::{ErrorCode, ProjectId, Refusal, Role, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::client::{Client, ClientFile};
use super::unified::{Endpoint, auto_approved};
use crate::app::App;
use crate::context::Ctx;
use crate::use_case::authorize::authorize;
use crate::use_case::{CreateApiKey, create_api_key, get_project};
use crate::views::ApiKeyView;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct MintClientConfig {
    /// Which project's unified endpoint.
    pub project: ProjectId,
    /// For which client.
    pub client: Client,
    /// The key's name; the client's if none.
    pub name: Option<String>,
    /// The most the key may do; the caller's role, at most Developer, if none.
    pub role: Option<Role>,
    /// When the key ends by itself; never if none.
    pub expires_at: Option<Timestamp>,
    /// Makes a repeated command one command; the key is only in the first answer.
    pub idempotency_key: Option<String>,
}

/// A configuration with a key in it. Has no `Debug`: it holds the key.
pub struct MintedClientConfig {
    /// For which client.
    pub client: Client,
    /// What goes into the client's file.
    pub config: Value,
    /// Where that is.
    pub files: Vec<ClientFile>,
    /// A link that puts it in by itself.
    pub deep_link: Option<String>,
    /// What a person does with it.
    pub hint: &'static str,
    /// The key, without the key.
    pub key: ApiKeyView,
}

/// Makes a key and the configuration with it. Developer, in a session.
///
/// # Errors
/// `NotFound`; `PermissionDenied`, also for API keys; `FailedPrecondition` when the command was
/// carried out before: the key cannot be shown again.
pub async fn mint_client_config(
    app: &App,
    ctx: &Ctx,
    command: MintClientConfig,
) -> Result<MintedClientConfig, Refusal> {
    let MintClientConfig { project, client, .. } = &command;
    authorize(app, ctx, project, Action::ClientConfigsMint).await?;
    let view = get_project(app, ctx, project).await?;
    let servers = app.views.servers(ctx.tenant, project, None, super::MAX_SERVERS).await?;
    let create = CreateApiKey {
        project: project.clone(),
        name: command.name.clone().unwrap_or_else(|| client.title().to_owned()),
        role: command.role,
        expires_at: command.expires_at,
        idempotency_key: command.idempotency_key.clone(),
    };
    let created = create_api_key(app, ctx, create).await?;
    let Some(secret) = created.secret else {
        return Err(Refusal::new(
            ErrorCode::FailedPrecondition,
            "this was done before and its key cannot be shown again: revoke that key and ask anew",
        ));
    };
    let endpoint = Endpoint {
        project,
        url: app.url_of(&format!("projects/{project}/unified/mcp")),
        key: secret.expose_secret(),
        auto_approve: auto_approved(view.settings.naming, &servers),
    };
    Ok(MintedClientConfig {
        client: *client,
        config: client.config(&endpoint),
        files: client.files(),
        deep_link: client.deep_link(&endpoint),
        hint: client.hint(),
        key: created.key,
    })
}
