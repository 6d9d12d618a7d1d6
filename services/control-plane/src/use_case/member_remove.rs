//! Putting a member out of a project, or leaving it.

use authz::Action;
use domain::project::{Project, ProjectCommand};
use domain::{ProjectId, Refusal, UserId};

use super::authorize::authorize;
use crate::app::App;
use crate::context::{Ctx, Principal};
use crate::shell::{self, Fingerprint, Target};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct RemoveMember {
    /// Where.
    pub project: ProjectId,
    /// Who.
    pub user: UserId,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Removes the member. Owner, or the member itself. The last Owner stays.
///
/// # Errors
/// `NotFound`, `PermissionDenied`, `FailedPrecondition`.
pub async fn remove_member(app: &App, ctx: &Ctx, command: RemoveMember) -> Result<(), Refusal> {
    let key = command.idempotency_key.as_deref();
    let fingerprint = Fingerprint::of("member.remove").debug(&command);
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    if shell::former(app, ctx.tenant, idempotency.as_ref()).await?.is_some() {
        return Ok(());
    }
    let leaves = ctx.principal == Principal::User(command.user);
    let action = if leaves { Action::ProjectsRead } else { Action::MembersWrite };
    authorize(app, ctx, &command.project, action).await?;
    let target = Target::of::<Project>(ctx.tenant, &command.project).under(idempotency);
    shell::execute::<Project>(app, ctx, target, |state| {
        let remove = ProjectCommand::RemoveMember { user: command.user };
        Ok(domain::project::decide(state, remove)?.into())
    })
    .await?;
    Ok(())
}
