//! One server.

use authz::Action;
use domain::{ProjectId, Refusal, ServerId};

use super::authorize::{authorize, missing};
use crate::app::App;
use crate::context::Ctx;
use crate::views::ServerView;

/// The server, with what was last seen of it.
///
/// # Errors
/// `NotFound`, also for a server of another project.
pub async fn get_server(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    server: ServerId,
) -> Result<ServerView, Refusal> {
    require_server(app, ctx, project, server, Action::ServersRead).await
}

/// The server, if the caller may do `action` to it.
pub(crate) async fn require_server(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
    server: ServerId,
    action: Action,
) -> Result<ServerView, Refusal> {
    authorize(app, ctx, project, action).await?;
    match app.views.server(ctx.tenant, project, server).await? {
        Some(found) => Ok(found),
        None => Err(missing(app, ctx, project, action, "server", &server.to_string()).await),
    }
}
