//! Setting a connection up: resolve the secrets, start or reach the server, agree on an era.

mod child;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::server::{HttpTarget, Transport};
use mcp::client::{
    ClientOptions, ConnectError, Connected, Connector, EraChoice, Events, Stage, Target,
};
use secrets::{SecretError, SecretRef, SecretStore};
use tokio_util::task::TaskTracker;

use super::introduction::Introduction;
use super::{ConnectionSpec, Link, cause, http_target};
use crate::config::WorkerConfig;
use crate::launch::LaunchBundle;
use crate::mask::Masker;
use crate::stdio::{Process, StderrRing};

pub(crate) use self::child::Spare;

/// Why no connection can be set up while nobody opens its secrets.
pub(super) const STORE_UNAVAILABLE: &str = "the secret store is unavailable";

/// How far setting up came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reading configuration and secrets.
    Resolve,
    /// Starting the program.
    Spawn,
    /// Reaching the URL.
    Connect,
    /// `initialize`.
    Initialize,
}

impl Step {
    /// The name in answers.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Spawn => "spawn",
            Self::Connect => "connect",
            Self::Initialize => "initialize",
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DialError {
    /// At which step.
    pub(crate) step: Step,
    /// Why, for people, secrets masked.
    pub(crate) cause: String,
}

impl DialError {
    fn at(step: Step, cause: impl Into<String>) -> Self {
        Self { step, cause: cause.into() }
    }
}

/// A connection that stands, and what belongs to it.
pub(crate) struct Dialed {
    /// The connection and what masks.
    pub(crate) link: Arc<Link>,
    /// What it reports on its own.
    pub(crate) events: Events,
    /// The child, if it is one.
    pub(crate) process: Option<Process>,
    /// The steps that were taken, in order, and how long each took.
    pub(crate) steps: Vec<(Step, Duration)>,
}

/// Sets connections up.
pub(crate) struct Dialer {
    secrets: Arc<dyn SecretStore>,
    config: Arc<WorkerConfig>,
    connector: Connector,
    tasks: TaskTracker,
}

/// What a server is given, opened.
struct Opened {
    launch: LaunchBundle,
    masker: Arc<Masker>,
    catalogue_masker: Masker,
}

impl Dialer {
    /// Sets up connections with values from `secrets`; what goes on besides them is in `tasks`.
    pub(crate) fn new(
        secrets: Arc<dyn SecretStore>,
        config: Arc<WorkerConfig>,
        tasks: TaskTracker,
    ) -> Self {
        Self { secrets, config, connector: Connector::new(), tasks }
    }

    /// Sets a connection up once; one that the question for the era has broken once more without
    /// it. Dropping the future takes back what it did.
    ///
    /// # Errors
    /// [`DialError`].
    pub(crate) async fn dial(
        &self,
        spec: &ConnectionSpec,
        stderr: &Arc<StderrRing>,
        introduction: &Introduction,
    ) -> Result<Dialed, DialError> {
        let first = self.dial_once(spec, stderr, introduction).await;
        let dialed = match first {
            Err(Failed::ProbeBroke) => {
                let plain = introduction.in_era(EraChoice::Sessions);
                self.dial_once(spec, stderr, &plain).await
            }
            first => first,
        };
        dialed.map_err(Failed::into_error)
    }

    async fn dial_once(
        &self,
        spec: &ConnectionSpec,
        stderr: &Arc<StderrRing>,
        introduction: &Introduction,
    ) -> Result<Dialed, Failed> {
        use mcp::client::Transport::{Sse, StreamableHttp};
        let order: &[mcp::client::Transport] = match &spec.config.transport {
            Transport::Stdio { .. } => {
                let spare = self.spawn(spec, stderr).await?;
                return self.wake_once(spec, spare, introduction).await;
            }
            Transport::Sse(_) => &[Sse],
            Transport::StreamableHttp(_) => &[StreamableHttp],
            Transport::Probe(_) => &[StreamableHttp, Sse],
            Transport::Unset => &[],
        };
        let start = tokio::time::Instant::now();
        let opened = self.open(spec).await?;
        let resolved = start.elapsed();
        let mut dialed = self.http(spec, opened, order, introduction).await?;
        dialed.steps.insert(0, (Step::Resolve, resolved));
        Ok(dialed)
    }

    async fn open(&self, spec: &ConnectionSpec) -> Result<Opened, DialError> {
        let failed = |cause: String| DialError::at(Step::Resolve, cause);
        let launch = match &spec.config.launch {
            None => LaunchBundle::default(),
            Some(sealed) => {
                let reference = SecretRef::new(spec.tenant, &sealed.path, sealed.version)
                    .map_err(|error| failed(error.to_string()))?;
                let value = self.secrets.resolve(&reference).await.map_err(|error| {
                    failed(match error {
                        SecretError::NotFound => {
                            "the server's secret values are gone: save the server again".to_owned()
                        }
                        // Where and how it cannot be reached is the operator's to know.
                        SecretError::Unavailable { detail } => {
                            let server = spec.server;
                            tracing::warn!(%server, detail, "the secret store is unavailable");
                            STORE_UNAVAILABLE.to_owned()
                        }
                        other => other.to_string(),
                    })
                })?;
                LaunchBundle::parse(&value).map_err(|error| failed(error.to_string()))?
            }
        };
        let masker = launch.masker(&spec.config).map_err(|error| failed(error.to_string()))?;
        let catalogue_masker =
            launch.catalogue_masker(&spec.config).map_err(|error| failed(error.to_string()))?;
        Ok(Opened { launch, masker: Arc::new(masker), catalogue_masker })
    }

    async fn http(
        &self,
        spec: &ConnectionSpec,
        opened: Opened,
        order: &[mcp::client::Transport],
        introduction: &Introduction,
    ) -> Result<Dialed, Failed> {
        let failed = |cause| DialError::at(Step::Resolve, cause);
        let Some(shown) = http_of(&spec.config.transport) else {
            return Err(failed("no command and no url is set".to_owned()).into());
        };
        let target = http_target::target(shown, &opened.launch).map_err(failed)?;
        let proxy = http_target::proxy(shown, &opened.launch).map_err(failed)?;
        let mut failures: Vec<(mcp::client::Transport, ConnectError)> = Vec::new();
        for transport in order {
            let target = match transport {
                mcp::client::Transport::Sse => Target::Sse(target.clone()),
                _ => Target::StreamableHttp(target.clone()),
            };
            let mut options = self.options(spec, introduction, *transport);
            options.ca_file = shown.ca_file.as_ref().map(PathBuf::from);
            options.proxy.clone_from(&proxy);
            match self.connector.connect(target, &options).await {
                Ok(connected) => {
                    let times = connected.connection.setup_times();
                    let rest = times.initialized.saturating_sub(times.established);
                    let steps = vec![(Step::Connect, times.established), (Step::Initialize, rest)];
                    return Ok(dialed(connected, opened, None, steps));
                }
                Err(ConnectError::ProbeBroke) if introduction.era == EraChoice::Probe => {
                    return Err(Failed::ProbeBroke);
                }
                Err(error) => {
                    let another = may_be_another_transport(&error);
                    failures.push((*transport, error));
                    if !another {
                        break;
                    }
                }
            }
        }
        Err(http_failure(spec, &failures, &opened.masker).into())
    }

    fn options(
        &self,
        spec: &ConnectionSpec,
        introduction: &Introduction,
        transport: mcp::client::Transport,
    ) -> ClientOptions {
        let defaults = ClientOptions::default();
        ClientOptions {
            era: introduction.era,
            connect_timeout: spec.connect_timeout(),
            initialize_timeout: spec.initialize_timeout(),
            read_timeout: spec.read_timeout(),
            max_message_bytes: self.config.max_message_bytes,
            // The worker's own limit is in front of it; a margin is for its own requests.
            max_in_flight: self.config.max_in_flight.saturating_add(16),
            capabilities: introduction.capabilities(transport),
            client_info: introduction.client_info().unwrap_or(defaults.client_info.clone()),
            ..defaults
        }
    }
}

/// How an attempt failed.
enum Failed {
    /// The question for the era broke it: without it, it may stand.
    ProbeBroke,
    /// For good.
    Error(DialError),
}

impl From<DialError> for Failed {
    fn from(error: DialError) -> Self {
        Self::Error(error)
    }
}

impl Failed {
    fn into_error(self) -> DialError {
        match self {
            Self::ProbeBroke => {
                DialError::at(Step::Initialize, ConnectError::ProbeBroke.to_string())
            }
            Self::Error(DialError { step, cause }) => DialError { step, cause: cause::cut(&cause) },
        }
    }
}

fn http_of(transport: &Transport) -> Option<&HttpTarget> {
    match transport {
        Transport::Sse(target) | Transport::StreamableHttp(target) | Transport::Probe(target) => {
            Some(target)
        }
        Transport::Stdio { .. } | Transport::Unset => None,
    }
}

fn dialed(
    connected: Connected,
    opened: Opened,
    process: Option<Process>,
    steps: Vec<(Step, Duration)>,
) -> Dialed {
    let Opened { masker, catalogue_masker, .. } = opened;
    let link = Link { connection: connected.connection, masker, catalogue_masker };
    Dialed { link: Arc::new(link), events: connected.events, process, steps }
}

/// Whether what answered may still speak another transport.
fn may_be_another_transport(error: &ConnectError) -> bool {
    match error {
        ConnectError::Http(status) => {
            status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 407 | 429)
        }
        ConnectError::InvalidResponse => true,
        _ => false,
    }
}

fn http_failure(
    spec: &ConnectionSpec,
    failures: &[(mcp::client::Transport, ConnectError)],
    masker: &Masker,
) -> DialError {
    let step = match failures.last().map(|(_, error)| error.stage()) {
        Some(Stage::Configure) => Step::Resolve,
        Some(Stage::Initialize) => Step::Initialize,
        _ => Step::Connect,
    };
    let text = |error| cause::connecting(error, spec.initialize_timeout(), masker);
    match failures {
        [(_, error)] => DialError::at(step, text(error)),
        many => {
            let tried: Vec<String> = many
                .iter()
                .map(|(transport, error)| format!("as {transport}: {}", text(error)))
                .collect();
            DialError::at(step, tried.join("; "))
        }
    }
}
