//! Configurations for MCP clients: what a person puts into their client's file.
//!
//! What always holds:
//!
//! - Every URL is absolute and starts with the public URL.
//! - Reading a configuration never makes a key. A caller with an API key gets that key back; a
//!   person gets a placeholder with the end of a key they have. [`mint_client_config`] makes a
//!   key, once, recorded and revocable.
//! - Launch values of servers are shown to an Owner's or Developer's own session only, and each
//!   such read is recorded. Everybody else gets `…` in their place.

mod client;
mod individual;
mod mint;
mod unified;

use authz::Action;
use domain::{ProjectId, Refusal, Role};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

pub use client::{Client, ClientFile};
pub use mint::{MintClientConfig, MintedClientConfig, mint_client_config};

use crate::app::App;
use crate::context::{Ctx, Principal};
use crate::launch::HIDDEN;
use crate::use_case::authorize::{authorize, role_in};
use crate::use_case::{get_project, reveal_servers};
use crate::views::{ApiKeyView, ServerView};

/// Most servers of which a configuration speaks.
const MAX_SERVERS: u32 = 1_000;
/// Most keys of a project that are looked at for the caller's own.
const MAX_KEYS: u32 = 500;

/// The project's unified endpoint as one server, in Cline's format. `key` is the API key that
/// the caller authenticated with.
///
/// # Errors
/// `NotFound`.
pub async fn unified_config(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    key: Option<&SecretString>,
) -> Result<Value, Refusal> {
    let view = get_project(app, ctx, project).await?;
    let servers = app.views.servers(ctx.tenant, project, None, MAX_SERVERS).await?;
    let key = match key {
        Some(key) => key.clone(),
        None => placeholder(app, ctx, project, view.role).await?,
    };
    Ok(unified::cline(&unified::Endpoint {
        project,
        url: app.url_of(&format!("projects/{project}/unified/sse")),
        key: key.expose_secret(),
        auto_approve: unified::auto_approved(view.settings.naming, &servers),
    }))
}

/// Each server of the project for itself, in the format that most clients share.
///
/// # Errors
/// `NotFound`.
pub async fn individual_config(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
) -> Result<Value, Refusal> {
    let role = role_in(app, ctx, project).await?;
    let person = matches!(ctx.principal, Principal::User(_));
    if person && role.is_some_and(|role| role >= Role::Developer) {
        let servers = reveal_servers(app, ctx, project).await?;
        let pairs = servers.iter().map(|revealed| (&revealed.server, Some(&revealed.bundle)));
        return Ok(individual::config(project, pairs));
    }
    authorize(app, ctx, project, Action::ServersRead).await?;
    let servers = app.views.servers(ctx.tenant, project, None, MAX_SERVERS).await?;
    Ok(individual::config(project, servers.iter().map(|server: &ServerView| (server, None))))
}

/// `api_key_…` with the end of the newest key that the caller made, or may know of.
async fn placeholder(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    role: Role,
) -> Result<SecretString, Refusal> {
    let keys = app.views.api_keys(ctx.tenant, project, None, MAX_KEYS).await?;
    let may_know = app.authorizer.allows(role, Action::ApiKeysRead);
    let usable = |key: &&ApiKeyView| !key.revoked && key.expires_at.is_none_or(|end| end > ctx.now);
    let newest = |own: bool| {
        let keys = keys.iter().filter(usable);
        keys.filter(|key| !own || ctx.principal == Principal::User(key.creator))
            .max_by_key(|key| key.created_at)
    };
    let key = newest(true).or_else(|| newest(false).filter(|_| may_know));
    let suffix = key.map(|key| key.suffix.as_str()).unwrap_or_default();
    Ok(format!("api_key_{HIDDEN}{suffix}").into())
}
