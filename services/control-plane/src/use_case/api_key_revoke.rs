//! Ending a key. It stays known, so that it stays denied.

use authz::Action;
use domain::api_key::{ApiKey, ApiKeyCommand};
use domain::{ApiKeyId, ErrorCode, ProjectId, Refusal, Role};

use super::authorize::{authorize, missing};
use super::denial;
use crate::app::App;
use crate::context::{Ctx, Principal};
use crate::shell::{self, Fingerprint, Target};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct RevokeApiKey {
    /// Of which project.
    pub project: ProjectId,
    /// Which.
    pub key: ApiKeyId,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Ends the key. Owner, or who made it. Asking again changes nothing.
///
/// # Errors
/// `NotFound`, `PermissionDenied`.
pub async fn revoke_api_key(app: &App, ctx: &Ctx, command: RevokeApiKey) -> Result<(), Refusal> {
    let (project, key) = (&command.project, command.key);
    let action = Action::ApiKeysRevoke;
    let role = authorize(app, ctx, project, action).await?;
    let Some(view) = app.views.api_key(ctx.tenant, project, key).await? else {
        return Err(missing(app, ctx, project, action, "API key", &key.to_string()).await);
    };
    if role < Role::Owner && ctx.principal != Principal::User(view.creator) {
        let message = "only an Owner ends a key that somebody else made";
        let refusal = Refusal::new(ErrorCode::PermissionDenied, message);
        denial::record(app, ctx, Some(project), action.as_str(), &refusal, &key.to_string()).await;
        return Err(refusal);
    }
    let fingerprint = Fingerprint::of("api_key.revoke").debug(&command);
    let idempotency_key = command.idempotency_key.as_deref();
    let idempotency = shell::idempotency(app, ctx, idempotency_key, fingerprint).await?;
    let target = Target::of::<ApiKey>(ctx.tenant, key).under(idempotency);
    shell::execute::<ApiKey>(app, ctx, target, |state| {
        Ok(domain::api_key::decide(state, ApiKeyCommand::Revoke, ctx.now)?.into())
    })
    .await?;
    Ok(())
}
