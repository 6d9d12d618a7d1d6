//! One project.

use authz::Action;
use domain::{ProjectId, Refusal};

use super::authorize::authorize;
use crate::app::App;
use crate::context::Ctx;
use crate::views::ProjectView;

/// The project, as the caller sees it.
///
/// # Errors
/// `NotFound`.
pub async fn get_project(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
) -> Result<ProjectView, Refusal> {
    let role = authorize(app, ctx, project, Action::ProjectsRead).await?;
    let found = app.views.project(ctx.tenant, project, role).await?;
    found.ok_or_else(|| Refusal::not_found("project"))
}
