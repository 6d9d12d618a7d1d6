//! Taking a file over, through the same use cases as every other change.

use authz::Action;
use domain::{ErrorCode, ProjectId, Refusal, ServerId};
use proto::control::v1 as pb;

use super::file::parse;
use super::plan::{Existing, ImportAction, Step, plan};
use crate::app::App;
use crate::context::Ctx;
use crate::fault;
use crate::launch::LaunchBundle;
use crate::use_case::authorize::authorize;
use crate::use_case::{
    CreateServer, DeleteServer, UpdateServer, create_server, delete_server, update_server,
};
use crate::views::ServerView;

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
        existing.push(Existing { bundle: open(app, ctx, &view).await?, view });
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

/// The sealed values, to compare with; none of them leaves the import.
async fn open(app: &App, ctx: &Ctx, view: &ServerView) -> Result<LaunchBundle, Refusal> {
    let Some(launch) = &view.config.launch else { return Ok(LaunchBundle::default()) };
    let reference = secrets::SecretRef::new(ctx.tenant, &launch.path, launch.version)
        .map_err(|error| fault::internal(&error))?;
    let value = app.secrets.resolve(&reference).await.map_err(fault::secret)?;
    serde_json::from_slice(value.expose())
        .map_err(|_| fault::internal(&format!("the launch values at {reference} do not parse")))
}

impl From<ImportedServer> for pb::ImportedServer {
    fn from(server: ImportedServer) -> Self {
        let action = match server.action {
            ImportAction::Created => pb::ImportAction::Created,
            ImportAction::Updated => pb::ImportAction::Updated,
            ImportAction::Unchanged => pb::ImportAction::Unchanged,
            ImportAction::Deleted => pb::ImportAction::Deleted,
            ImportAction::Refused => pb::ImportAction::Refused,
        };
        Self {
            name: server.name,
            action: action.into(),
            changes: server.changes,
            server_id: server.server.map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}
