//! The projects that the caller is a member of.

use domain::Refusal;

use crate::app::{App, Page, Paging};
use crate::context::{Ctx, Principal};
use crate::views::ProjectView;

const LIST: &str = "projects";

/// The caller's projects, by id. A key has one; the system has none.
///
/// # Errors
/// `InvalidArgument` for a page token of another list.
pub async fn list_projects(
    app: &App,
    ctx: &Ctx,
    paging: &Paging,
) -> Result<Page<ProjectView>, Refusal> {
    let after = paging.after(LIST)?;
    let items = match &ctx.principal {
        Principal::User(user) => {
            app.views.projects_of(ctx.tenant, *user, after.as_deref(), paging.size()).await?
        }
        Principal::ApiKey { project, .. } => {
            vec![super::get_project(app, ctx, project).await?]
        }
        Principal::System => vec![],
    };
    Ok(Page::cut(items, paging, LIST, |project| project.id.to_string()))
}
