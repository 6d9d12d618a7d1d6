//! Changing a server: what the mask names, or everything.
//!
//! Values that the caller was only shown as `…`, and sends back so, stay what they are.

use authz::Action;
use domain::server::{ActiveServer, Server, ServerCommand, ServerConfig, ServerName, Transport};
use domain::{ErrorCode, ProjectId, Refusal, ServerId, StreamId, StreamKind};
use event_store::Idempotency;
use proto::control::v1::ServerSpec;

use super::server_create::{config_of, fingerprint, name_taken, release_name, take_name};
use super::server_get::require_server;
use super::{get_server, sealing};
use crate::app::App;
use crate::context::Ctx;
use crate::launch::{self, LaunchBundle};
use crate::shell::{self, Plan, Target};
use crate::views::ServerView;

/// What stands in place of a value that is not shown.
pub const HIDDEN: &str = "…";

/// What is asked for. Has no `Debug`: the specification holds values that may be secret.
#[derive(Clone)]
pub struct UpdateServer {
    /// Where.
    pub project: ProjectId,
    /// Which.
    pub server: ServerId,
    /// What it is to be, as far as the mask says.
    pub spec: ServerSpec,
    /// Names of fields of [`ServerSpec`]; empty replaces everything.
    pub mask: Vec<String>,
    /// Makes a repeated command one command.
    pub idempotency_key: Option<String>,
}

/// Changes the server. Owner. The transport may change; name and history stay.
///
/// # Errors
/// `NotFound`, `PermissionDenied`, `InvalidArgument`, `Conflict`; `AlreadyExists` when the new
/// name is taken.
pub async fn update_server(
    app: &App,
    ctx: &Ctx,
    command: UpdateServer,
) -> Result<ServerView, Refusal> {
    let (project, server) = (&command.project, command.server);
    require_server(app, ctx, project, server, Action::ServersWrite).await?;
    let fingerprint =
        fingerprint("server.update", &command.spec).text(&server.to_string()).debug(&command.mask);
    let key = command.idempotency_key.as_deref();
    let idempotency = shell::idempotency(app, ctx, key, fingerprint).await?;
    if shell::former(app, ctx.tenant, idempotency.as_ref()).await?.is_none() {
        let mut attempt = 1;
        while let Err(refusal) = change(app, ctx, &command, idempotency.clone()).await {
            if refusal.code != ErrorCode::Conflict || attempt == shell::MAX_ATTEMPTS {
                return Err(refusal);
            }
            attempt += 1;
        }
    }
    get_server(app, ctx, project, server).await
}

/// One attempt: the sealed values are merged with those of the configuration that the decision
/// is then made on, or the attempt is a conflict.
async fn change(
    app: &App,
    ctx: &Ctx,
    command: &UpdateServer,
    idempotency: Option<Idempotency>,
) -> Result<(), Refusal> {
    let stream = StreamId::new(ctx.tenant, StreamKind::Server, command.server);
    let Server::Active(before) = shell::load::<Server>(app, &stream).await?.0 else {
        return Err(Refusal::not_found("server"));
    };
    let old = sealing::open(app, ctx.tenant, before.config.launch.as_ref()).await?;
    let spec = merge(&before, &old, command)?;
    let name = ServerName::parse("spec.name", &spec.name)?;
    let (transport, bundle) = launch::split(&spec)?;
    let mut config = config_of(&spec, transport);
    config.launch.clone_from(&before.config.launch);
    let wanted = |config: &ServerConfig| ServerCommand::Change {
        name: Some(name.clone()),
        config: Some(config.clone()),
        disabled: Some(spec.disabled),
    };
    // Asked before sealing, so that a refused change leaves no new version behind.
    domain::server::decide(&Server::Active(before.clone()), wanted(&config))?;
    if bundle != old {
        config.launch = sealing::seal(app, ctx.tenant, command.server, &bundle).await?;
    }
    let target = Target::of::<Server>(ctx.tenant, command.server).under(idempotency);
    let result = shell::execute::<Server>(app, ctx, target, |state| {
        match state {
            Server::Active(now) if *now != before => return Err(stale()),
            _ => {}
        }
        let mut plan = Plan::from(domain::server::decide(state, wanted(&config))?);
        if name != before.name {
            plan.reservations = vec![
                take_name(ctx, &command.project, command.server, &name),
                release_name(ctx, &command.project, command.server, &before.name),
            ];
        }
        Ok(plan)
    })
    .await;
    match result {
        Err(refusal) if refusal.code == ErrorCode::AlreadyExists => Err(name_taken(&name)),
        other => other.map(|_| ()),
    }
}

fn stale() -> Refusal {
    Refusal::new(ErrorCode::Conflict, "the server was changed at the same time: read it again")
}

/// What the server is to be: the fields in the mask from the command, the others as they are.
fn merge(
    before: &ActiveServer,
    old: &LaunchBundle,
    command: &UpdateServer,
) -> Result<ServerSpec, Refusal> {
    let mut spec = sealing::spec_of(before, old.clone());
    let mut new = command.spec.clone();
    keep_hidden(before, old, &mut new);
    if command.mask.is_empty() {
        return Ok(new);
    }
    for path in &command.mask {
        match path.strip_prefix("spec.").unwrap_or(path) {
            "name" => spec.name.clone_from(&new.name),
            "transport" => spec.transport = new.transport,
            "command" => spec.command.clone_from(&new.command),
            "args" => spec.args.clone_from(&new.args),
            "env" => spec.env.clone_from(&new.env),
            "cwd" => spec.cwd.clone_from(&new.cwd),
            "url" => spec.url.clone_from(&new.url),
            "headers" => spec.headers.clone_from(&new.headers),
            "timeout_s" => spec.timeout_s = new.timeout_s,
            "read_timeout_s" => spec.read_timeout_s = new.read_timeout_s,
            "auto_approve" => spec.auto_approve.clone_from(&new.auto_approve),
            "disabled" => spec.disabled = new.disabled,
            "ca_file" => spec.ca_file.clone_from(&new.ca_file),
            "proxy" => spec.proxy.clone_from(&new.proxy),
            "isolation" => spec.isolation = new.isolation,
            "placement_labels" => spec.placement_labels.clone_from(&new.placement_labels),
            other => {
                let message = format!("names no field of a server: {other:?}");
                return Err(Refusal::invalid("update_mask", message));
            }
        }
    }
    clear_other_transport(&mut spec);
    Ok(spec)
}

/// A server that changed its transport keeps nothing of the one before.
fn clear_other_transport(spec: &mut ServerSpec) {
    if spec.transport() == proto::control::v1::Transport::Stdio {
        spec.url.clear();
        spec.headers.clear();
        spec.ca_file.clear();
        spec.proxy.clear();
    } else {
        spec.command.clear();
        spec.args.clear();
        spec.env.clear();
        spec.cwd.clear();
    }
}

/// Puts back what the caller was shown as hidden and sent back unchanged.
fn keep_hidden(before: &ActiveServer, old: &LaunchBundle, new: &mut ServerSpec) {
    for (maps, values) in [(&mut new.env, &old.env), (&mut new.headers, &old.headers)] {
        for (name, value) in maps.iter_mut().filter(|(_, value)| *value == HIDDEN) {
            if let Some(kept) = values.get(name) {
                value.clone_from(kept);
            }
        }
    }
    match &before.config.transport {
        Transport::Stdio { shown_args, .. } if shown_args.len() == old.args.len() => {
            let shown = shown_args.iter().zip(&old.args);
            for (arg, (shown, kept)) in new.args.iter_mut().zip(shown) {
                if arg.contains(HIDDEN) && arg == shown {
                    arg.clone_from(kept);
                }
            }
        }
        Transport::Sse(target) | Transport::StreamableHttp(target) | Transport::Probe(target) => {
            if let Some(full) = old.url.as_ref().filter(|_| new.url == target.url) {
                new.url.clone_from(full);
            }
            if let Some(full) = &old.proxy
                && target.proxy.as_ref() == Some(&new.proxy)
            {
                new.proxy.clone_from(full);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use domain::server::Isolation;

    use super::*;

    fn before() -> (ActiveServer, LaunchBundle) {
        let old = LaunchBundle {
            args: vec!["serve".into(), "--token=abc".into()],
            env: [("KEY".to_owned(), "value".to_owned())].into(),
            ..LaunchBundle::default()
        };
        let config = ServerConfig {
            transport: Transport::Stdio {
                command: "tool".into(),
                shown_args: vec!["serve".into(), "--token=…".into()],
                env_names: vec!["KEY".into()],
                cwd: None,
            },
            launch: None,
            timeout_s: 30,
            read_timeout_s: Some(300),
            auto_approve: vec![],
            isolation: Isolation::default(),
            placement_labels: ["docker".to_owned()].into(),
        };
        let server = ActiveServer {
            project: "p".parse().unwrap(),
            name: ServerName::parse("name", "a").unwrap(),
            config,
            disabled: false,
            disabled_tools: Default::default(),
            approved_tools: Default::default(),
        };
        (server, old)
    }

    fn update(spec: ServerSpec, mask: &[&str]) -> UpdateServer {
        UpdateServer {
            project: "p".parse().unwrap(),
            server: ServerId::from_uuid(uuid::Uuid::nil()),
            spec,
            mask: mask.iter().map(|path| (*path).to_owned()).collect(),
            idempotency_key: None,
        }
    }

    #[test]
    fn what_is_not_in_the_mask_stays() {
        let (server, old) = before();
        let spec = ServerSpec { timeout_s: 7, ..ServerSpec::default() };
        let merged = merge(&server, &old, &update(spec, &["timeout_s"])).unwrap();
        assert_eq!(merged.timeout_s, 7);
        assert_eq!(merged.placement_labels, ["docker"]);
        assert_eq!(merged.args, old.args);
        assert_eq!(merged.env["KEY"], "value");
        assert!(merge(&server, &old, &update(ServerSpec::default(), &["nope"])).is_err());
    }

    #[test]
    fn hidden_values_that_come_back_are_kept() {
        let (server, old) = before();
        let spec = ServerSpec {
            args: vec!["serve".into(), "--token=…".into()],
            env: [("KEY".to_owned(), HIDDEN.to_owned())].into(),
            ..ServerSpec::default()
        };
        let merged = merge(&server, &old, &update(spec, &["args", "env"])).unwrap();
        assert_eq!(merged.args[1], "--token=abc");
        assert_eq!(merged.env["KEY"], "value");
    }

    #[test]
    fn another_transport_keeps_nothing_of_the_former() {
        let (server, old) = before();
        let spec = ServerSpec {
            transport: proto::control::v1::Transport::Sse.into(),
            url: "http://h/sse".into(),
            ..ServerSpec::default()
        };
        let merged = merge(&server, &old, &update(spec, &["transport", "url"])).unwrap();
        assert!(merged.args.is_empty() && merged.env.is_empty() && merged.command.is_empty());
        assert_eq!(merged.name, "a");
    }
}
