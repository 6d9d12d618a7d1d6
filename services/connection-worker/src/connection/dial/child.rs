//! Servers that are processes: started, and woken when they are needed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::server::Transport;
use mcp::client::{CloseCause, ConnectError, EraChoice, Target};
use secrecy::{ExposeSecret, SecretString};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::Instant;

use super::super::introduction::Introduction;
use super::super::{ConnectionSpec, cause};
use super::{DialError, Dialed, Dialer, Failed, Opened, Step, dialed};
use crate::mask::Masker;
use crate::stdio::{self, ChildCommand, Process, StderrRing};

/// How long the end of a process is waited for, once its output ended.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// A process that runs and was told nothing yet. Dropping it ends it.
pub(crate) struct Spare {
    opened: Opened,
    process: Process,
    stdin: ChildStdin,
    stdout: ChildStdout,
    steps: Vec<(Step, Duration)>,
}

impl Spare {
    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.process.exit().is_none()
    }
}

impl Dialer {
    /// Starts the server's process; only servers over stdio have one.
    ///
    /// # Errors
    /// [`DialError`].
    pub(crate) async fn spawn(
        &self,
        spec: &ConnectionSpec,
        stderr: &Arc<StderrRing>,
    ) -> Result<Spare, DialError> {
        let start = Instant::now();
        let opened = self.open(spec).await?;
        let resolved = start.elapsed();
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
            .map_err(|error| DialError::at(Step::Spawn, cause::cut(&error.to_string())))?;
        let spawned = start.elapsed().saturating_sub(resolved);
        let masker = Arc::clone(&opened.masker);
        self.tasks.spawn(stdio::drain(streams.stderr, masker, Arc::clone(stderr)));
        let steps = vec![(Step::Resolve, resolved), (Step::Spawn, spawned)];
        let (stdin, stdout) = (streams.stdin, streams.stdout);
        Ok(Spare { opened, process, stdin, stdout, steps })
    }

    /// Makes a connection of a process that was started before; where that fails, of a fresh one.
    ///
    /// # Errors
    /// [`DialError`].
    pub(crate) async fn wake(
        &self,
        spec: &ConnectionSpec,
        spare: Spare,
        stderr: &Arc<StderrRing>,
        introduction: &Introduction,
    ) -> Result<Dialed, DialError> {
        match self.wake_once(spec, spare, introduction).await {
            Ok(dialed) => Ok(dialed),
            // It may have waited for too long.
            Err(_) => self.dial(spec, stderr, introduction).await,
        }
    }

    pub(super) async fn wake_once(
        &self,
        spec: &ConnectionSpec,
        spare: Spare,
        introduction: &Introduction,
    ) -> Result<Dialed, Failed> {
        let start = Instant::now();
        let Spare { opened, process, stdin, stdout, mut steps } = spare;
        let target = Target::Stdio { stdin: Box::new(stdin), stdout: Box::new(stdout) };
        let options = self.options(spec, introduction, mcp::client::Transport::Stdio);
        let is_probe = introduction.era == EraChoice::Probe;
        let connected = tokio::select! {
            biased;
            connected = self.connector.connect(target, &options) => connected,
            exit = process.ended() => {
                let error = DialError::at(Step::Initialize, cause::ended_early(exit));
                return Err(if is_probe { Failed::ProbeBroke } else { error.into() });
            }
        };
        match connected {
            Ok(connected) => {
                steps.push((Step::Initialize, start.elapsed()));
                Ok(dialed(connected, opened, Some(process), steps))
            }
            Err(ConnectError::ProbeBroke) if is_probe => Err(Failed::ProbeBroke),
            Err(error) => Err(stdio_failure(spec, &process, &error, &opened.masker).await.into()),
        }
    }
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
