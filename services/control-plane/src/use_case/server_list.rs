//! The servers of a project.

use authz::Action;
use domain::{ProjectId, Refusal};

use super::authorize::authorize;
use crate::app::{App, Page, Paging};
use crate::context::Ctx;
use crate::views::ServerView;

const LIST: &str = "servers";

/// The servers, by name.
///
/// # Errors
/// `NotFound`; `InvalidArgument` for a page token of another list.
pub async fn list_servers(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    paging: &Paging,
) -> Result<Page<ServerView>, Refusal> {
    authorize(app, ctx, project, Action::ServersRead).await?;
    let after = paging.after(LIST)?;
    let items = app.views.servers(ctx.tenant, project, after.as_deref(), paging.size()).await?;
    Ok(Page::cut(items, paging, LIST, |server| server.name.clone()))
}
