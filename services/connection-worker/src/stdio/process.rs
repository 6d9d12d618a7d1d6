//! A child process under its reaper.
//!
//! What always holds: the environment of the child is what is given here and nothing else; the
//! child and all its descendants are gone when [`Process::stop`] returned, and go when the
//! [`Process`] is dropped or this process dies in any way.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::reaper::kill_group;
use crate::reaper::protocol::{Exit, Report};

/// How long the reaper may take to say whether it started the program.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How long a program may take to end by itself once its stdin is closed.
const STDIN_GRACE: Duration = Duration::from_millis(500);
/// How long the reaper may take to end the tree: its own limits, and a margin.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// How a reaper is started: the program and what comes before the reaper's own arguments.
#[derive(Clone, Debug)]
pub struct ReaperCommand {
    /// The program, absolute: this program itself.
    pub program: PathBuf,
    /// E.g. `["reaper"]`.
    pub args: Vec<OsString>,
}

/// What is to be started. Has no `Debug`: arguments and environment may be secrets.
pub(crate) struct ChildCommand<'a> {
    /// The program; looked up in the `PATH` of `env`.
    pub(crate) program: &'a str,
    /// Its arguments.
    pub(crate) args: &'a [SecretString],
    /// Its whole environment.
    pub(crate) env: Vec<(&'a str, &'a str)>,
    /// Where it runs; here, if nothing is said.
    pub(crate) cwd: Option<&'a str>,
}

/// Why a program does not run. The texts hold the program's name and nothing secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// There is no such program.
    #[error("`{0}` not found")]
    NotFound(String),
    /// There is no such directory.
    #[error("the working directory `{0}` does not exist")]
    NoDirectory(String),
    /// The system refused.
    #[error("`{program}` cannot be started: {cause}")]
    Refused {
        /// The program.
        program: String,
        /// What the system says.
        cause: io::Error,
    },
    /// Our own supervisor did not start; nothing of the server's configuration is to blame.
    #[error("the supervisor of child processes cannot be started: {0}")]
    Reaper(io::Error),
}

/// How a process is doing.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// How the program ended, once it did.
    exit: Option<Exit>,
    /// The reaper is gone, and so is the whole tree.
    gone: bool,
}

/// A child process with all its descendants. Dropping it ends them.
pub(crate) struct Process {
    /// Closing it ends the tree.
    control: OwnedWriteHalf,
    life: watch::Receiver<Life>,
    pid: u32,
}

/// The streams of a started program.
pub(crate) struct Streams {
    /// What it reads.
    pub(crate) stdin: ChildStdin,
    /// What it writes.
    pub(crate) stdout: ChildStdout,
    /// What it complains.
    pub(crate) stderr: ChildStderr,
}

/// Starts a program under a reaper. A task in `tasks` lives as long as anything of its tree.
///
/// # Errors
/// [`SpawnError`]; then nothing runs.
pub(crate) async fn spawn(
    reaper: &ReaperCommand,
    child: &ChildCommand<'_>,
    tasks: &TaskTracker,
) -> Result<(Process, Streams), SpawnError> {
    if let Some(cwd) = child.cwd
        && !tokio::fs::metadata(cwd).await.is_ok_and(|found| found.is_dir())
    {
        return Err(SpawnError::NoDirectory(cwd.to_owned()));
    }
    let (ours, theirs) = StdUnixStream::pair().map_err(SpawnError::Reaper)?;
    let (mut started, streams) = start(reaper, child, &theirs).map_err(SpawnError::Reaper)?;
    // Ours alone from here on: else the end of the reaper would not be seen.
    drop(theirs);
    ours.set_nonblocking(true).map_err(SpawnError::Reaper)?;
    let (reports, control) = UnixStream::from_std(ours).map_err(SpawnError::Reaper)?.into_split();
    let mut reports = BufReader::new(reports);
    let first = tokio::time::timeout(START_LIMIT, next_report(&mut reports)).await;
    let pid = match first {
        Ok(Some(Report::Started { pid })) => pid,
        Ok(Some(Report::NotStarted { errno })) => {
            // The reaper ends by itself; it is reaped so that no zombie stays.
            let _ = started.wait().await;
            return Err(not_started(child.program, errno));
        }
        Ok(_) => {
            return Err(SpawnError::Reaper(io::Error::other("it ended before its report")));
        }
        Err(_) => return Err(SpawnError::Reaper(io::Error::from(io::ErrorKind::TimedOut))),
    };
    let (told, life) = watch::channel(Life::default());
    tasks.spawn(watch_over(started, reports, pid, told));
    Ok((Process { control, life, pid }, streams))
}

fn start(
    reaper: &ReaperCommand,
    child: &ChildCommand<'_>,
    control: &StdUnixStream,
) -> io::Result<(Child, Streams)> {
    let mut command = Command::new(&reaper.program);
    command
        .args(&reaper.args)
        .arg("--control-fd")
        .arg(control.as_raw_fd().to_string())
        .arg("--")
        .arg(child.program)
        .args(child.args.iter().map(ExposeSecret::expose_secret))
        .env_clear()
        .envs(child.env.iter().copied())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(cwd) = child.cwd {
        command.current_dir(cwd);
    }
    leave_open(&mut command, control);
    let mut started = command.spawn()?;
    let streams = started.stdin.take().zip(started.stdout.take()).zip(started.stderr.take());
    let Some(((stdin, stdout), stderr)) = streams else {
        return Err(io::Error::other("a stream is missing"));
    };
    Ok((started, Streams { stdin, stdout, stderr }))
}

/// Lets the started program inherit `fd`, and no other process that is started meanwhile.
#[expect(unsafe_code, reason = "only the forked process may change the flag of its own copy")]
fn leave_open(command: &mut Command, fd: &StdUnixStream) {
    let raw = fd.as_raw_fd();
    // SAFETY: between fork and exec only one `fcntl` is called, which is async-signal-safe, on a
    // descriptor that the caller keeps open until the program was started.
    unsafe {
        command.pre_exec(move || {
            let fd = BorrowedFd::borrow_raw(raw);
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        });
    }
}

fn not_started(program: &str, errno: i32) -> SpawnError {
    let cause = io::Error::from_raw_os_error(errno);
    match cause.kind() {
        io::ErrorKind::NotFound => SpawnError::NotFound(program.to_owned()),
        _ => SpawnError::Refused { program: program.to_owned(), cause },
    }
}

async fn next_report(reports: &mut BufReader<OwnedReadHalf>) -> Option<Report> {
    let mut line = String::new();
    match reports.read_line(&mut line).await {
        Ok(count) if count > 0 => Report::parse(line.trim_end()),
        _ => None,
    }
}

/// Until the reaper and with it the whole tree is gone.
async fn watch_over(
    mut reaper: Child,
    mut reports: BufReader<OwnedReadHalf>,
    pid: u32,
    told: watch::Sender<Life>,
) {
    let mut reported = false;
    while let Some(report) = next_report(&mut reports).await {
        if let Report::Ended(exit) = report {
            reported = true;
            told.send_modify(|life| life.exit = Some(exit));
        }
    }
    let status = reaper.wait().await;
    if !reported {
        // Somebody killed the reaper: what it watched over goes as far as it is still together.
        tracing::warn!(pid, ?status, "the supervisor of a child process was killed");
        kill_group(pid);
    }
    told.send_modify(|life| {
        life.exit = life.exit.or(Some(Exit::Signal(nix::sys::signal::Signal::SIGKILL as i32)));
        life.gone = true;
    });
}

impl Process {
    /// Waits until the program ended.
    pub(crate) async fn ended(&self) -> Exit {
        let mut life = self.life.clone();
        match life.wait_for(|life| life.exit.is_some()).await {
            Ok(life) => life.exit.unwrap_or(Exit::Code(0)),
            // The watcher always tells before it leaves.
            Err(_) => Exit::Signal(nix::sys::signal::Signal::SIGKILL as i32),
        }
    }

    /// How the program ended, if it did.
    pub(crate) fn exit(&self) -> Option<Exit> {
        self.life.borrow().exit
    }

    /// Ends the program: its stdin should be closed by now, which it gets a moment to follow;
    /// then its tree is told to end, then killed. Returns when nothing of it is left.
    pub(crate) async fn stop(self) {
        let _ = tokio::time::timeout(STDIN_GRACE, self.ended()).await;
        let Self { control, mut life, pid } = self;
        drop(control);
        let gone = tokio::time::timeout(STOP_LIMIT, life.wait_for(|life| life.gone)).await;
        if gone.is_err() {
            tracing::error!(pid, "a child process does not end");
        }
    }
}

#[cfg(test)]
mod tests;
