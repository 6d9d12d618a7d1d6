//! Registering a server. The worker that owns it connects once to learn what it offers.

use authz::Action;
use domain::server::{Isolation, Server, ServerCommand, ServerConfig, ServerName};
use domain::{ProjectId, Refusal, ServerId};
use event_store::{Idempotency, ReservationChange, ReservationSet};
use proto::control::v1::{self as pb, ServerSpec};

use super::authorize::authorize;
use super::{get_server, sealing};
use crate::app::App;
use crate::context::Ctx;
use crate::launch;
use crate::shell::{self, Done, Fingerprint, Plan, Target};
use crate::views::ServerView;

/// What is asked for. Has no `Debug`: the specification holds values that may be secret.
#[derive(Clone)]
pub struct CreateServer {
    /// Whose it is to be.
    pub project: ProjectId,
    /// What it is to be.
    pub spec: ServerSpec,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Registers the server. Owner.
///
/// # Errors
/// `NotFound`, `PermissionDenied`, `InvalidArgument`; `AlreadyExists` when the name is taken.
pub async fn create_server(
    app: &App,
    ctx: &Ctx,
    command: CreateServer,
) -> Result<ServerView, Refusal> {
    authorize(app, ctx, &command.project, Action::ServersWrite).await?;
    let fingerprint = fingerprint("server.create", &command.spec).text(command.project.as_str());
    let key = command.idempotency_key.as_deref();
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    let done = match shell::former(app, ctx.tenant, idempotency.as_ref()).await? {
        Some(done) => done,
        None => register(app, ctx, &command, idempotency).await?,
    };
    let id = done.id.parse().map_err(|error| crate::fault::internal(&error))?;
    get_server(app, ctx, &command.project, id).await
}

async fn register(
    app: &App,
    ctx: &Ctx,
    command: &CreateServer,
    idempotency: Option<Idempotency>,
) -> Result<Done, Refusal> {
    let id = ServerId::from_uuid(app.new_id());
    let name = ServerName::parse("spec.name", &command.spec.name)?;
    let (transport, bundle) = launch::split(&command.spec)?;
    let mut config = config_of(&command.spec, transport);
    // Asked before sealing, so that a refused registration leaves no secret behind.
    domain::server::decide(&Server::Absent, registration(command, &name, &config))?;
    let taken = app.views.server_named(ctx.tenant, &command.project, name.as_str()).await?;
    if taken.is_some() {
        return Err(name_taken(&name));
    }
    config.launch = sealing::seal(app, ctx.tenant, id, &bundle).await?;
    let target = Target::of::<Server>(ctx.tenant, id).under(idempotency);
    let done = shell::execute::<Server>(app, ctx, target, |state| {
        Ok(Plan {
            events: domain::server::decide(state, registration(command, &name, &config))?,
            reservations: vec![take_name(ctx, &command.project, id, &name)],
        })
    })
    .await;
    match done {
        Ok(done) if done.id == id.to_string() => Ok(done),
        other => {
            super::server_delete::destroy_launch_values(app, ctx.tenant, id).await;
            other
        }
    }
}

fn registration(command: &CreateServer, name: &ServerName, config: &ServerConfig) -> ServerCommand {
    ServerCommand::Register {
        project: command.project.clone(),
        name: name.clone(),
        config: config.clone(),
        disabled: command.spec.disabled,
    }
}

/// The configuration of a specification, before its values are sealed.
pub(crate) fn config_of(spec: &ServerSpec, transport: domain::server::Transport) -> ServerConfig {
    ServerConfig {
        transport,
        launch: None,
        timeout_s: match spec.timeout_s {
            0 => ServerConfig::DEFAULT_TIMEOUT_S,
            given => given,
        },
        read_timeout_s: match spec.read_timeout_s {
            None => Some(ServerConfig::DEFAULT_READ_TIMEOUT_S),
            Some(0) => None,
            given => given,
        },
        auto_approve: spec.auto_approve.clone(),
        isolation: isolation_of(spec),
        placement_labels: spec.placement_labels.iter().cloned().collect(),
    }
}

/// The isolation of a specification: shared, when it does not say.
pub(crate) fn isolation_of(spec: &ServerSpec) -> Isolation {
    match spec.isolation() {
        pb::Isolation::Unspecified | pb::Isolation::Shared => Isolation::Shared,
        pb::Isolation::Session => Isolation::Session,
    }
}

/// The specification in an order that does not change.
pub(crate) fn fingerprint(command: &str, spec: &ServerSpec) -> Fingerprint {
    let mut env: Vec<_> = spec.env.iter().collect();
    let mut headers: Vec<_> = spec.headers.iter().collect();
    env.sort();
    headers.sort();
    let fingerprint = Fingerprint::of(command)
        .text(&spec.name)
        .debug(&spec.transport)
        .text(&spec.command)
        .debug(&spec.args)
        .debug(&env)
        .text(&spec.cwd)
        .text(&spec.url)
        .debug(&headers)
        .debug(&(spec.timeout_s, spec.read_timeout_s, spec.disabled))
        .debug(&spec.auto_approve)
        .text(&spec.ca_file)
        .text(&spec.proxy)
        .debug(&spec.isolation());
    // A field that came later: commands without it are still the same as they were before.
    if spec.placement_labels.is_empty() {
        return fingerprint;
    }
    fingerprint.debug(&spec.placement_labels)
}

/// Names are unique in their project.
pub(crate) fn name_set(ctx: &Ctx, project: &ProjectId) -> ReservationSet {
    ReservationSet::of_tenant(ctx.tenant, format!("server_name/{project}"))
}

/// Takes the name for the server.
pub(crate) fn take_name(
    ctx: &Ctx,
    project: &ProjectId,
    server: ServerId,
    name: &ServerName,
) -> ReservationChange {
    ReservationChange::Take {
        set: name_set(ctx, project),
        value: name.as_str().to_owned(),
        holder: server.to_string(),
    }
}

/// Frees the name of the server.
pub(crate) fn release_name(
    ctx: &Ctx,
    project: &ProjectId,
    server: ServerId,
    name: &ServerName,
) -> ReservationChange {
    ReservationChange::Release {
        set: name_set(ctx, project),
        value: name.as_str().to_owned(),
        holder: server.to_string(),
    }
}

/// What is answered when another server has the name.
pub(crate) fn name_taken(name: &ServerName) -> Refusal {
    Refusal {
        code: domain::ErrorCode::AlreadyExists,
        message: format!("the project has a server named {:?}", name.as_str()),
        field: Some("spec.name".to_owned()),
    }
}
