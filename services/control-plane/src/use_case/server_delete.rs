//! Forgetting a server. Its name is free again; its history stays.

use authz::Action;
use domain::server::{Server, ServerCommand};
use domain::{EventId, ProjectId, Refusal, ServerId, TenantId};

use super::sealing;
use super::server_create::release_name;
use super::server_get::require_server;
use crate::app::App;
use crate::context::Ctx;
use crate::shell::{self, Fingerprint, Plan, Target};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct DeleteServer {
    /// Where.
    pub project: ProjectId,
    /// Which.
    pub server: ServerId,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Forgets the server and destroys its sealed values. Owner.
///
/// # Errors
/// `NotFound`, `PermissionDenied`.
pub async fn delete_server(app: &App, ctx: &Ctx, command: DeleteServer) -> Result<(), Refusal> {
    let fingerprint = Fingerprint::of("server.delete").debug(&command);
    let key = command.idempotency_key.as_deref();
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    if shell::former(app, ctx.tenant, idempotency.as_ref()).await?.is_some() {
        return Ok(());
    }
    let (project, server) = (&command.project, command.server);
    let view = require_server(app, ctx, project, server, Action::ServersWrite).await?;
    let target = Target::of::<Server>(ctx.tenant, server).under(idempotency);
    shell::execute::<Server>(app, ctx, target, |state| {
        let mut plan = Plan::from(domain::server::decide(state, ServerCommand::Delete)?);
        if let Server::Active(active) = state {
            plan.reservations = vec![release_name(ctx, project, server, &active.name)];
        }
        Ok(plan)
    })
    .await?;
    destroy_launch_values(app, ctx.tenant, server).await;
    destroy_catalogue(app, ctx.tenant, view.catalogue_event).await;
    Ok(())
}

/// Destroys all versions of a server's sealed values. A failure is logged: the server is gone
/// either way, and nothing refers to the values any more.
pub(crate) async fn destroy_launch_values(app: &App, tenant: TenantId, server: ServerId) {
    let Ok(path) = sealing::path(tenant, server) else { return };
    if let Err(error) = app.secrets.delete(&path).await {
        tracing::warn!(%error, %server, "launch values of a deleted server were not destroyed");
    }
}

/// Destroys a catalogue that nothing refers to any more. A failure is logged.
pub(crate) async fn destroy_catalogue(app: &App, tenant: TenantId, event: Option<EventId>) {
    let Some(event) = event else { return };
    if let Err(error) = app.store.destroy_bodies(tenant, &[event]).await {
        tracing::warn!(%error, "a catalogue that is of no use any more was not destroyed");
    }
}
