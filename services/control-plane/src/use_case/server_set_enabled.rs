//! Taking a server in or out of use.

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
pub struct SetServerEnabled {
    /// Where.
    pub project: ProjectId,
    /// Which.
    pub server: ServerId,
    /// To be used, or not.
    pub enabled: bool,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Enables or disables the server. Owner. Asking for what is so already changes nothing.
///
/// # Errors
/// `NotFound`, `PermissionDenied`; `InvalidArgument` when it lacks a command or a URL.
pub async fn set_server_enabled(
    app: &App,
    ctx: &Ctx,
    command: SetServerEnabled,
) -> Result<ServerView, Refusal> {
    let (project, server) = (&command.project, command.server);
    require_server(app, ctx, project, server, Action::ServersWrite).await?;
    let fingerprint = Fingerprint::of("server.set_enabled").debug(&command);
    let key = command.idempotency_key.as_deref();
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    let target = Target::of::<Server>(ctx.tenant, server).under(idempotency);
    shell::execute::<Server>(app, ctx, target, |state| {
        let change =
            ServerCommand::Change { name: None, config: None, disabled: Some(!command.enabled) };
        Ok(domain::server::decide(state, change)?.into())
    })
    .await?;
    get_server(app, ctx, project, server).await
}
