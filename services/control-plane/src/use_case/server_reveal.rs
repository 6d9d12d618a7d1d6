//! The launch values of a project's servers, for generated client configurations.
//!
//! Only for an Owner's or Developer's own session, and each read is recorded before anything is
//! answered.

use authz::Action;
use domain::event::AccessEvent;
use domain::{ErrorCode, Event, ProjectId, Refusal, StreamId, StreamKind};

use super::authorize::authorize;
use super::sealing;
use crate::app::App;
use crate::context::{Ctx, Principal};
use crate::launch::LaunchBundle;
use crate::shell;
use crate::views::ServerView;

/// Most servers of which values are shown in one answer.
const MAX_SERVERS: u32 = 1_000;

/// A server with the values that are sealed. Has no `Debug` on purpose.
pub struct RevealedServer {
    /// The server.
    pub server: ServerView,
    /// Its values.
    pub bundle: LaunchBundle,
}

/// The servers of the project with their values.
///
/// # Errors
/// `NotFound`; `PermissionDenied` for a Reporter and for API keys.
pub async fn reveal_servers(
    app: &App,
    ctx: &Ctx,
    project: &ProjectId,
) -> Result<Vec<RevealedServer>, Refusal> {
    authorize(app, ctx, project, Action::ServersReveal).await?;
    if matches!(ctx.principal, Principal::ApiKey { .. }) {
        return Err(Refusal::new(
            ErrorCode::PermissionDenied,
            "values are shown to a person's session only, not to an API key",
        ));
    }
    let servers = app.views.servers(ctx.tenant, project, None, MAX_SERVERS).await?;
    let stream = StreamId::new(ctx.tenant, StreamKind::Access, project.as_str());
    let event = Event::Access(AccessEvent::ConfigRevealed {
        project: project.clone(),
        servers: servers.iter().map(|server| server.name.clone()).collect(),
    });
    shell::note(app, ctx, stream, &event).await?;
    let mut revealed = Vec::with_capacity(servers.len());
    for server in servers {
        let bundle = sealing::open(app, ctx.tenant, server.config.launch.as_ref()).await?;
        revealed.push(RevealedServer { server, bundle });
    }
    Ok(revealed)
}
