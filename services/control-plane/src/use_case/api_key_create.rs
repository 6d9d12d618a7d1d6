//! Making a key that opens a project's MCP endpoints. The key is shown in this answer only.

use authz::Action;
use domain::api_key::{ApiKey, ApiKeyCommand, IssuedKey, KeyHash};
use domain::{ApiKeyId, ErrorCode, ProjectId, Refusal, Role, Timestamp, UserId};
use event_store::{Idempotency, ReservationChange, ReservationSet};
use secrecy::{ExposeSecret as _, SecretString};

use super::authorize::authorize;
use crate::app::App;
use crate::context::{Ctx, Principal};
use crate::fault;
use crate::identity::api_key;
use crate::shell::{self, Done, Fingerprint, Plan, Target};
use crate::views::ApiKeyView;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct CreateApiKey {
    /// What it is to open.
    pub project: ProjectId,
    /// 1–100 characters, for people.
    pub name: String,
    /// The most it may do; the caller's role, at most Developer, if none.
    pub role: Option<Role>,
    /// When it ends by itself; never if none.
    pub expires_at: Option<Timestamp>,
    /// Makes a repeated command one command. The key itself is only in the first answer.
    pub idempotency_key: Option<String>,
}

/// A key that was made.
pub struct CreatedApiKey {
    /// What may be shown of it later.
    pub key: ApiKeyView,
    /// The key itself; none when the command was carried out before.
    pub secret: Option<SecretString>,
}

/// Makes a key. Developer; the key's role is at most the caller's.
///
/// # Errors
/// `NotFound`; `PermissionDenied`, also for API keys; `InvalidArgument`.
pub async fn create_api_key(
    app: &App,
    ctx: &Ctx,
    command: CreateApiKey,
) -> Result<CreatedApiKey, Refusal> {
    let role = authorize(app, ctx, &command.project, Action::ApiKeysCreate).await?;
    let Principal::User(creator) = ctx.principal else {
        return Err(Refusal::new(ErrorCode::PermissionDenied, "log in to make an API key"));
    };
    let secret = api_key::generate().map_err(|error| fault::internal(&error))?;
    issue(app, ctx, command, (creator, role), secret).await
}

/// Issues `secret` as a key of `creator`, who is the second thing in the project.
pub(crate) async fn issue(
    app: &App,
    ctx: &Ctx,
    command: CreateApiKey,
    (creator, creator_role): (UserId, Role),
    secret: SecretString,
) -> Result<CreatedApiKey, Refusal> {
    let fingerprint = Fingerprint::of("api_key.create").debug(&command);
    let key = command.idempotency_key.as_deref();
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    let issued = IssuedKey {
        project: command.project.clone(),
        name: command.name.clone(),
        hash: api_key::hash(secret.expose_secret()),
        suffix: api_key::suffix(secret.expose_secret()),
        role: command.role.unwrap_or(creator_role.min(Role::Developer)),
        creator,
        expires_at: command.expires_at,
    };
    let done = append(app, ctx, issued, creator_role, idempotency).await?;
    let id: ApiKeyId = done.id.parse().map_err(|error| fault::internal(&error))?;
    let view = app.views.api_key(ctx.tenant, &command.project, id).await?;
    let key = view.ok_or_else(|| Refusal::not_found("API key"))?;
    Ok(CreatedApiKey { key, secret: (!done.replayed).then_some(secret) })
}

async fn append(
    app: &App,
    ctx: &Ctx,
    issued: IssuedKey,
    creator_role: Role,
    idempotency: Option<Idempotency>,
) -> Result<Done, Refusal> {
    let id = ApiKeyId::from_uuid(app.new_id());
    let target = Target::of::<ApiKey>(ctx.tenant, id).under(idempotency);
    shell::execute::<ApiKey>(app, ctx, target, |state| {
        let command = ApiKeyCommand::Issue { key: issued.clone(), creator_role };
        Ok(Plan {
            events: domain::api_key::decide(state, command, ctx.now)?,
            reservations: vec![take_hash(issued.hash, ctx, id)],
        })
    })
    .await
}

/// A hash is known once over all tenants, for ever: two keys are never the same.
fn take_hash(hash: KeyHash, ctx: &Ctx, id: ApiKeyId) -> ReservationChange {
    ReservationChange::Take {
        set: ReservationSet::global("api_key_hash"),
        value: hash.to_hex(),
        holder: format!("{}/{id}", ctx.tenant),
    }
}
