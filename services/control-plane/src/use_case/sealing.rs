//! Launch values of servers in the secret store, and a server's full specification out of what
//! may be shown and what is sealed.

use domain::server::{ActiveServer, HttpTarget, Isolation, Transport};
use domain::{Refusal, SecretRef, ServerId, TenantId};
use proto::control::v1 as pb;
use secrets::{SecretPath, SecretValue};

use crate::app::App;
use crate::fault;
use crate::launch::LaunchBundle;

/// Where the launch values of a server are.
pub(crate) fn path(tenant: TenantId, server: ServerId) -> Result<SecretPath, Refusal> {
    SecretPath::new(tenant, &format!("servers/{server}/launch"))
        .map_err(|error| fault::internal(&error))
}

/// Seals the values as the next version; none when there is nothing to seal.
pub(crate) async fn seal(
    app: &App,
    tenant: TenantId,
    server: ServerId,
    bundle: &LaunchBundle,
) -> Result<Option<SecretRef>, Refusal> {
    if *bundle == LaunchBundle::default() {
        return Ok(None);
    }
    let json = serde_json::to_vec(bundle).map_err(|error| fault::internal(&error))?;
    let path = path(tenant, server)?;
    let sealed = app.secrets.put(&path, SecretValue::from(json)).await.map_err(fault::secret)?;
    Ok(Some(SecretRef { path: sealed.path().as_str().to_owned(), version: sealed.version() }))
}

/// The values behind a reference; an empty bundle for none.
pub(crate) async fn open(
    app: &App,
    tenant: TenantId,
    launch: Option<&SecretRef>,
) -> Result<LaunchBundle, Refusal> {
    let Some(launch) = launch else { return Ok(LaunchBundle::default()) };
    let reference = secrets::SecretRef::new(tenant, &launch.path, launch.version)
        .map_err(|error| fault::internal(&error))?;
    let value = app.secrets.resolve(&reference).await.map_err(fault::secret)?;
    serde_json::from_slice(value.expose())
        .map_err(|_| fault::internal(&format!("the launch values at {reference} do not parse")))
}

/// The specification that registering this server anew would take.
pub(crate) fn spec_of(server: &ActiveServer, bundle: LaunchBundle) -> pb::ServerSpec {
    let config = &server.config;
    let mut spec = pb::ServerSpec {
        name: server.name.as_str().to_owned(),
        timeout_s: config.timeout_s,
        read_timeout_s: Some(config.read_timeout_s.unwrap_or(0)),
        auto_approve: config.auto_approve.clone(),
        disabled: server.disabled,
        isolation: isolation(config.isolation).into(),
        placement_labels: config.placement_labels.iter().cloned().collect(),
        args: bundle.args,
        env: bundle.env.into_iter().collect(),
        headers: bundle.headers.into_iter().collect(),
        url: bundle.url.unwrap_or_default(),
        proxy: bundle.proxy.unwrap_or_default(),
        ..pb::ServerSpec::default()
    };
    match &config.transport {
        Transport::Stdio { command, cwd, .. } => {
            spec.transport = pb::Transport::Stdio.into();
            spec.command.clone_from(command);
            spec.cwd = cwd.clone().unwrap_or_default();
        }
        Transport::Sse(target) => fill_http(&mut spec, pb::Transport::Sse, target),
        Transport::StreamableHttp(target) => {
            fill_http(&mut spec, pb::Transport::StreamableHttp, target);
        }
        Transport::Probe(target) => fill_http(&mut spec, pb::Transport::Probe, target),
        Transport::Unset => spec.transport = pb::Transport::Stdio.into(),
    }
    spec
}

/// As it is in the public contract.
pub(crate) const fn isolation(isolation: Isolation) -> pb::Isolation {
    match isolation {
        Isolation::Shared => pb::Isolation::Shared,
        Isolation::Session => pb::Isolation::Session,
    }
}

fn fill_http(spec: &mut pb::ServerSpec, transport: pb::Transport, target: &HttpTarget) {
    spec.transport = transport.into();
    if spec.url.is_empty() {
        spec.url.clone_from(&target.url);
    }
    if spec.proxy.is_empty() {
        spec.proxy = target.proxy.clone().unwrap_or_default();
    }
    spec.ca_file = target.ca_file.clone().unwrap_or_default();
}
