//! Letting clients see one tool of a server, or not.

use authz::Action;
use domain::server::{Server, ServerCommand};
use domain::{ProjectId, Refusal, ServerId};

use super::get_server;
use super::server_get::require_server;
use crate::app::App;
use crate::context::Ctx;
use crate::shell::{self, Fingerprint, Target};
use crate::views::ServerView;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct SetToolEnabled {
    /// Where.
    pub project: ProjectId,
    /// Of which server.
    pub server: ServerId,
    /// The upstream's own name; one that is not there now may come later.
    pub tool: String,
    /// Whether clients see it.
    pub enabled: bool,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Shows or hides the tool. Owner.
///
/// # Errors
/// `NotFound`, `PermissionDenied`, `InvalidArgument`.
pub async fn set_tool_enabled(
    app: &App,
    ctx: &Ctx,
    command: SetToolEnabled,
) -> Result<ServerView, Refusal> {
    let (project, server) = (&command.project, command.server);
    require_server(app, ctx, project, server, Action::ServersWrite).await?;
    let fingerprint = Fingerprint::of("server.set_tool").debug(&command);
    let key = command.idempotency_key.as_deref();
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    let target = Target::of::<Server>(ctx.tenant, server).under(idempotency);
    shell::execute::<Server>(app, ctx, target, |state| {
        let set = ServerCommand::SetTool { tool: command.tool.clone(), enabled: command.enabled };
        Ok(domain::server::decide(state, set)?.into())
    })
    .await?;
    get_server(app, ctx, project, server).await
}
