//! Setting a connection up: resolve the secrets, start or reach the server, initialize.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::server::{HttpTarget, Transport};
use mcp::client::{
    ClientOptions, CloseCause, ConnectError, Connected, Connector, Events, Stage, Target,
};
use secrecy::{ExposeSecret, SecretString};
use secrets::{SecretError, SecretRef, SecretStore};
use tokio_util::task::TaskTracker;

use super::{ConnectionSpec, Link, cause, http_target};
use crate::config::WorkerConfig;
use crate::launch::LaunchBundle;
use crate::mask::Masker;
use crate::stdio::{self, ChildCommand, Process, StderrRing};

/// How long the end of a process is waited for, once its output ended.
const EXIT_GRACE: Duration = Duration::from_secs(1);

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

    /// Sets a connection up once. Dropping the future takes back what it did.
    ///
    /// # Errors
    /// [`DialError`].
    pub(crate) async fn dial(
        &self,
        spec: &ConnectionSpec,
        stderr: &Arc<StderrRing>,
    ) -> Result<Dialed, DialError> {
        let start = tokio::time::Instant::now();
        let opened = self.open(spec).await?;
        let resolved = start.elapsed();
        let dialed = match &spec.config.transport {
            Transport::Stdio { .. } => self.stdio(spec, opened, stderr).await,
            Transport::Sse(target) => {
                self.http(spec, opened, target, &[mcp::client::Transport::Sse]).await
            }
            Transport::StreamableHttp(target) => {
                self.http(spec, opened, target, &[mcp::client::Transport::StreamableHttp]).await
            }
            Transport::Probe(target) => {
                let order = [mcp::client::Transport::StreamableHttp, mcp::client::Transport::Sse];
                self.http(spec, opened, target, &order).await
            }
            Transport::Unset => Err(DialError::at(Step::Resolve, "no command and no url is set")),
        };
        match dialed {
            Ok(mut dialed) => {
                dialed.steps.insert(0, (Step::Resolve, resolved));
                Ok(dialed)
            }
            Err(DialError { step, cause }) => Err(DialError { step, cause: cause::cut(&cause) }),
        }
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

    async fn stdio(
        &self,
        spec: &ConnectionSpec,
        opened: Opened,
        stderr: &Arc<StderrRing>,
    ) -> Result<Dialed, DialError> {
        let start = tokio::time::Instant::now();
        let Transport::Stdio { command, cwd, .. } = &spec.config.transport else {
            return Err(DialError::at(Step::Spawn, "no command is set"));
        };
        let child = ChildCommand {
            program: command,
            args: &opened.launch.args,
            env: environment(&self.config.base_env, &opened.launch.env),
            cwd: cwd.as_deref(),
        };
        let (process, streams) = stdio::spawn(&self.config.reaper, &child, &self.tasks)
            .await
            .map_err(|error| DialError::at(Step::Spawn, error.to_string()))?;
        let spawned = start.elapsed();
        let masker = Arc::clone(&opened.masker);
        self.tasks.spawn(stdio::drain(streams.stderr, masker, Arc::clone(stderr)));
        let target =
            Target::Stdio { stdin: Box::new(streams.stdin), stdout: Box::new(streams.stdout) };
        let options = self.options(spec);
        let connected = tokio::select! {
            biased;
            connected = self.connector.connect(target, &options) => connected,
            exit = process.ended() => {
                return Err(DialError::at(Step::Initialize, cause::ended_early(exit)));
            }
        };
        match connected {
            Ok(connected) => {
                let initialized = start.elapsed().saturating_sub(spawned);
                let steps = vec![(Step::Spawn, spawned), (Step::Initialize, initialized)];
                Ok(dialed(connected, opened, Some(process), steps))
            }
            Err(error) => Err(stdio_failure(spec, &process, &error, &opened.masker).await),
        }
    }

    async fn http(
        &self,
        spec: &ConnectionSpec,
        opened: Opened,
        shown: &HttpTarget,
        order: &[mcp::client::Transport],
    ) -> Result<Dialed, DialError> {
        let failed = |cause| DialError::at(Step::Resolve, cause);
        let target = http_target::target(shown, &opened.launch).map_err(failed)?;
        let mut options = self.options(spec);
        options.ca_file = shown.ca_file.as_ref().map(PathBuf::from);
        options.proxy = http_target::proxy(shown, &opened.launch).map_err(failed)?;
        let mut failures: Vec<(mcp::client::Transport, ConnectError)> = Vec::new();
        for transport in order {
            let target = match transport {
                mcp::client::Transport::Sse => Target::Sse(target.clone()),
                _ => Target::StreamableHttp(target.clone()),
            };
            match self.connector.connect(target, &options).await {
                Ok(connected) => {
                    let times = connected.connection.setup_times();
                    let rest = times.initialized.saturating_sub(times.established);
                    let steps = vec![(Step::Connect, times.established), (Step::Initialize, rest)];
                    return Ok(dialed(connected, opened, None, steps));
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
        Err(http_failure(spec, &failures, &opened.masker))
    }

    fn options(&self, spec: &ConnectionSpec) -> ClientOptions {
        ClientOptions {
            connect_timeout: spec.connect_timeout(),
            initialize_timeout: spec.initialize_timeout(),
            read_timeout: spec.read_timeout(),
            max_message_bytes: self.config.max_message_bytes,
            // The worker's own limit is in front of it; a margin is for its own requests.
            max_in_flight: self.config.max_in_flight.saturating_add(16),
            ..ClientOptions::default()
        }
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

/// The whole environment of a child: what every child gets, and what the server's own
/// configuration says, which counts more.
fn environment<'a>(
    base: &'a [(String, String)],
    own: &'a BTreeMap<String, SecretString>,
) -> Vec<(&'a str, &'a str)> {
    let base = base.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let own = own.iter().map(|(name, value)| (name.as_str(), value.expose_secret()));
    base.chain(own).collect()
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

async fn stdio_failure(
    spec: &ConnectionSpec,
    process: &Process,
    error: &ConnectError,
    masker: &Masker,
) -> DialError {
    let step = Step::Initialize;
    let ended = matches!(error, ConnectError::Closed(CloseCause::Ended | CloseCause::Broken(_)));
    if ended && let Ok(exit) = tokio::time::timeout(EXIT_GRACE, process.ended()).await {
        return DialError::at(step, cause::ended_early(exit));
    }
    DialError::at(step, cause::connecting(error, spec.initialize_timeout(), masker))
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
