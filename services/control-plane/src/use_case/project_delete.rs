//! Ending a project. Its id stays taken and its keys stay denied.

use authz::Action;
use domain::project::{Project, ProjectCommand};
use domain::{ProjectId, Refusal};

use super::authorize::authorize;
use super::server_delete::destroy_launch_values;
use crate::app::App;
use crate::context::Ctx;
use crate::shell::{self, Fingerprint, Target};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct DeleteProject {
    /// Which.
    pub project: ProjectId,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Ends the project and destroys the sealed values of its servers. Owner.
///
/// # Errors
/// `NotFound`, `PermissionDenied`.
pub async fn delete_project(app: &App, ctx: &Ctx, command: DeleteProject) -> Result<(), Refusal> {
    let key = command.idempotency_key.as_deref();
    let fingerprint = Fingerprint::of("project.delete").text(command.project.as_str());
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    if shell::former(app, ctx.tenant, idempotency.as_ref()).await?.is_some() {
        return Ok(());
    }
    authorize(app, ctx, &command.project, Action::ProjectsDelete).await?;
    let servers = app.views.server_ids(ctx.tenant, &command.project).await?;
    let target = Target::of::<Project>(ctx.tenant, &command.project).under(idempotency);
    shell::execute::<Project>(app, ctx, target, |state| {
        Ok(domain::project::decide(state, ProjectCommand::Delete)?.into())
    })
    .await?;
    for server in servers {
        destroy_launch_values(app, ctx.tenant, server).await;
    }
    Ok(())
}
