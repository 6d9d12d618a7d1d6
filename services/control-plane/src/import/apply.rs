//! Taking a file over, through the same use cases as every other change.

use authz::Action;
use domain::{ErrorCode, ProjectId, Refusal, ServerId};

use super::file::parse;
use super::plan::{Existing, ImportAction, Step, plan};
use crate::app::App;
use crate::context::Ctx;
use crate::use_case::authorize::authorize;
use crate::use_case::sealing;
use crate::use_case::{
    CreateServer, DeleteServer, UpdateServer, create_server, delete_server, update_server,
};

/// Most servers of a project that an import looks at.
const MAX_EXISTING: u32 = 5_000;

/// What is asked for. Has no `Debug`: the file holds values that may be secret.
#[derive(Clone)]
pub struct ImportServers {
    /// Whose the servers are to be.
    pub project: ProjectId,
    /// The file, up to 1 MiB.
    pub config_json: String,
    /// Only say what would change.
    pub dry_run: bool,
    /// Delete servers that the file does not name.
    pub prune: bool,
}

/// What became of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedServer {
    /// Its name in the file.
    pub name: String,
    /// What was done, or would be.
    pub action: ImportAction,
    /// What differs, by field, or why it was refused. Without secret values.
    pub changes: Vec<String>,
    /// The server; none for one that was refused or is only planned.
    pub server: Option<ServerId>,
}

/// Takes the file over. Owner. Doing it again changes nothing.
///
/// # Errors
/// `NotFound`, `PermissionDenied`; `InvalidArgument` when the file as a whole cannot be used;
/// `Unavailable` when a part of the system fails in the middle: what was done stays, and the
/// same import again does the rest.
pub async fn import_servers(
    app: &App,
    ctx: &Ctx,
    command: ImportServers,
) -> Result<Vec<ImportedServer>, Refusal> {
    let project = &command.project;
    authorize(app, ctx, project, Action::ServersWrite).await?;
    let file = parse(&command.config_json)?;
    let mut existing = Vec::new();
    for view in app.views.servers(ctx.tenant, project, None, MAX_EXISTING).await? {
        // To compare with; none of the values leaves the import.
        let bundle = sealing::open(app, ctx.tenant, view.config.launch.as_ref()).await?;
        existing.push(Existing { bundle, view });
    }
    let steps = plan(project, &existing, file, command.prune);
    let mut imported = Vec::with_capacity(steps.len());
    for mut step in steps {
        if !command.dry_run
            && let Err(refusal) = perform(app, ctx, project, &mut step).await
        {
            match refusal.code {
                ErrorCode::Unavailable | ErrorCode::Internal | ErrorCode::PermissionDenied => {
                    return Err(refusal);
                }
                _ => step = Step { server: step.server, ..Step::refused(&step.name, &refusal) },
            }
        }
        let Step { name, action, changes, server, .. } = step;
        imported.push(ImportedServer { name, action, changes, server });
    }
    Ok(imported)
}

async fn perform(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    step: &mut Step,
) -> Result<(), Refusal> {
    let (project, idempotency_key) = (project.clone(), None);
    match (step.action, step.server) {
        (ImportAction::Created, _) => {
            let create = CreateServer { project, spec: step.spec.clone(), idempotency_key };
            step.server = Some(create_server(app, ctx, create).await?.id);
        }
        (ImportAction::Updated, Some(server)) => {
            let (spec, mask) = (step.spec.clone(), step.mask.clone());
            let update = UpdateServer { project, server, spec, mask, idempotency_key };
            update_server(app, ctx, update).await?;
        }
        (ImportAction::Deleted, Some(server)) => {
            delete_server(app, ctx, DeleteServer { project, server, idempotency_key }).await?;
        }
        _ => {}
    }
    Ok(())
}
