//! A session token for whoever operates this installation on this machine.
//!
//! Who can read the data directory can read the sealing key, so that this gives nothing away; see
//! the decision on the local operator. It is never reached over the network.

use domain::{ProjectId, Refusal, Role};
use secrecy::SecretString;

use crate::app::App;
use crate::context::{Ctx, Principal};

/// A token of an Owner of `project`, as after a login.
///
/// # Errors
/// `NotFound` unless the process itself asks, and when the project has no Owner.
pub async fn operator_token(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
) -> Result<SecretString, Refusal> {
    if ctx.principal != Principal::System {
        return Err(Refusal::not_found("project"));
    }
    let members = app.views.members(ctx.tenant, project, None, 1_000).await?;
    let owner = members
        .into_iter()
        .find(|member| member.role == Role::Owner)
        .ok_or_else(|| Refusal::not_found("project"))?;
    let (token, _) = app.tokens.issue(owner.user, ctx.tenant, app.now(), app.new_id())?;
    Ok(token)
}
