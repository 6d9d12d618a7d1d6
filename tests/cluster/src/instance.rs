//! One process of a cluster.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// How many of the last lines of a log are shown when something failed.
const TAIL_LINES: usize = 30;

/// How a process is started, each time the same.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(String, String)>,
    /// Another user and group, by id: some programs refuse to run as root.
    pub(crate) user: Option<u32>,
    /// Where it runs, and its log is.
    pub(crate) directory: PathBuf,
}

impl Launch {
    /// The command, in an environment that holds nothing but what was given.
    ///
    /// It is started through `setpriv`, so that it ends with this process however that ends, and
    /// its id is the program's own.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = self.user {
            command.args([format!("--reuid={user}"), format!("--regid={user}")]);
            command.arg("--clear-groups");
        }
        command.arg("--").arg(&self.program).args(&self.arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.directory).stdin(Stdio::null()).kill_on_drop(true);
        // Ctrl-C is for who started all of them, and ends them in order.
        command.process_group(0);
        command
    }
}

/// A process that runs, or was ended and can be started again.
#[derive(Debug)]
pub struct Instance {
    name: String,
    launch: Launch,
    child: Option<Child>,
}

impl Instance {
    pub(crate) fn new(name: String, launch: Launch) -> Self {
        Self { name, launch, child: None }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&mut self) -> Result<()> {
        if self.is_running()? {
            bail!("{} runs already", self.name);
        }
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log_file())
            .with_context(|| format!("cannot write the log of {}", self.name))?;
        let mut command = self.launch.command();
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        self.child = Some(child);
        Ok(())
    }

    /// Runs it to its end and gives what it printed.
    ///
    /// # Errors
    /// When it takes too long or fails, with what it said.
    pub(crate) async fn run(&self, limit: Duration) -> Result<String> {
        let mut command = self.launch.command();
        let output = tokio::time::timeout(limit, command.output())
            .await
            .with_context(|| format!("{} did not end within {limit:?}", self.name))?
            .with_context(|| format!("cannot start {}", self.name))?;
        std::fs::write(self.log_file(), &output.stderr)?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            bail!("{} ended with {}: {}", self.name, output.status, text.trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Its name: the service, and which of its replicas, from 1.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<i32> {
        let id = self.child.as_ref().and_then(Child::id);
        let id = id.with_context(|| format!("{} does not run", self.name))?;
        Ok(i32::try_from(id)?)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid()?), signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn is_running(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// Kills it with SIGKILL and reaps it. What it started stays, or ends by itself.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().with_context(|| format!("{} does not run", self.name))?;
        child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Sends a signal that ends it, and waits until it ended.
    ///
    /// # Errors
    /// When it does not run, or runs on after `limit`.
    pub async fn end(&mut self, signal: Signal, limit: Duration) -> Result<()> {
        self.signal(signal)?;
        self.ended(limit).await.map(drop)
    }

    /// Waits until it ended; none where it was not running.
    ///
    /// # Errors
    /// When it runs on after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = tokio::time::timeout(limit, child.wait())
            .await
            .with_context(|| format!("{} still runs after {limit:?}", self.name))??;
        self.child = None;
        Ok(Some(status))
    }

    /// Where its log is.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.launch.directory.join("log")
    }

    /// Where it runs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.launch.directory
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = std::fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}
