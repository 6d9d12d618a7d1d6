//! Changing a project's name, description and settings.

use authz::Action;
use domain::project::{AuditMode, Naming, Project, ProjectCommand, RetryPolicy, ToolPinning};
use domain::{ProjectId, Refusal};

use super::authorize::authorize;
use super::get_project;
use crate::app::App;
use crate::context::Ctx;
use crate::shell::{self, Fingerprint, Target};
use crate::views::ProjectView;

/// What is asked for. What is absent stays.
#[derive(Clone, Debug)]
pub struct UpdateProject {
    /// Which.
    pub project: ProjectId,
    /// A new name.
    pub name: Option<String>,
    /// A new description.
    pub description: Option<String>,
    /// When calls are recorded.
    pub audit_mode: Option<AuditMode>,
    /// How names are made.
    pub naming: Option<Naming>,
    /// Unified endpoints on or off.
    pub unified_enabled: Option<bool>,
    /// Days for which arguments and results are kept, 0–3650.
    pub body_retention_days: Option<u32>,
    /// What a changed definition of a tool leads to.
    pub tool_pinning: Option<ToolPinning>,
    /// Which calls may be run again.
    pub retry_policy: Option<RetryPolicy>,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Changes the project. Owner.
///
/// # Errors
/// `NotFound`, `PermissionDenied`, `InvalidArgument`.
pub async fn update_project(
    app: &App,
    ctx: &Ctx,
    command: UpdateProject,
) -> Result<ProjectView, Refusal> {
    authorize(app, ctx, &command.project, Action::ProjectsWrite).await?;
    let key = command.idempotency_key.as_deref();
    let fingerprint = Fingerprint::of("project.update").debug(&command);
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    let target = Target::of::<Project>(ctx.tenant, &command.project).under(idempotency);
    shell::execute::<Project>(app, ctx, target, |state| {
        let change = ProjectCommand::Change {
            name: command.name.clone(),
            description: command.description.clone(),
            audit_mode: command.audit_mode,
            naming: command.naming,
            unified_enabled: command.unified_enabled,
            body_retention_days: command.body_retention_days,
            tool_pinning: command.tool_pinning,
            retry_policy: command.retry_policy,
        };
        Ok(domain::project::decide(state, change)?.into())
    })
    .await?;
    get_project(app, ctx, &command.project).await
}
