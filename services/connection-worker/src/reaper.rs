//! A supervisor of one child process: a small process of its own between the worker and the
//! program, so that no child outlives its worker.
//!
//! What always holds: when the control socket closes, because the worker stopped it or died in
//! any way, SIGKILL included, the whole tree of the program is ended: SIGTERM, a short grace,
//! then SIGKILL until no descendant is left. Being a subreaper, it adopts what detaches itself.
//! It starts no thread and no runtime, and holds none of the program's standard streams.
//!
//! Call: `reaper --control-fd N -- COMMAND [ARG…]`. What happens is said on the control socket in
//! lines, see [`protocol`].

pub(crate) mod protocol;
mod tree;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout};

use self::protocol::{Exit, Report};

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// For how long processes that do not even end on SIGKILL are waited for.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How often the tree is looked at again while it is being killed.
const KILL_ROUND: Duration = Duration::from_millis(20);
/// The exit code when the program was not found, as shells have it.
const NOT_FOUND: u8 = 127;
/// The exit code when the program could not be started.
const NOT_STARTED: u8 = 126;
/// The exit code for a wrong call.
const USAGE: u8 = 2;

/// Runs a reaper to its end: the entry point of the process. `args` is what follows the
/// subcommand. Call it before any thread or runtime is started.
///
/// The exit code is the program's own (128 and the signal's number where a signal ended it), 127
/// where the program was not found.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some((control, program, arguments)) = parse(args) else {
        complain("usage: reaper --control-fd N -- COMMAND [ARG...]");
        return ExitCode::from(USAGE);
    };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    unblock_signals(&mut command);
    match Reaper::prepare(control).and_then(|reaper| reaper.run(command)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&format!("reaper: {error}"));
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn complain(text: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(io::stderr(), "{text}");
}

fn parse(
    args: impl IntoIterator<Item = OsString>,
) -> Option<(RawFd, OsString, impl Iterator<Item = OsString>)> {
    let mut args = args.into_iter();
    if args.next()? != "--control-fd" {
        return None;
    }
    let control = args.next()?.to_str()?.parse().ok().filter(|fd| *fd > 2)?;
    if args.next()? != "--" {
        return None;
    }
    Some((control, args.next()?, args))
}

struct Reaper {
    control: UnixStream,
    signals: SignalFd,
    /// The program, once it was started.
    main: Option<Pid>,
    /// How the program ended, once it did.
    exit: Option<Exit>,
}

/// What there is to do next.
#[derive(Debug, PartialEq, Eq)]
enum Wake {
    /// The worker is gone or wants an end, or somebody sent a signal to end.
    Stop,
    /// A child ended.
    Child,
    /// The time is over.
    Timeout,
}

impl Reaper {
    fn prepare(control: RawFd) -> io::Result<Self> {
        let control = adopt(control)?;
        set_child_subreaper(true)?;
        let mut wanted = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            wanted.add(signal);
        }
        wanted.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&wanted, flags)?;
        Ok(Self { control, signals, main: None, exit: None })
    }

    fn run(mut self, mut command: Command) -> io::Result<u8> {
        match command.spawn() {
            Ok(child) => {
                let pid = child.id();
                self.main = Some(Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)));
                self.report(&Report::Started { pid });
            }
            Err(error) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                self.report(&Report::NotStarted { errno: error.raw_os_error().unwrap_or(0) });
                return Ok(if missing { NOT_FOUND } else { NOT_STARTED });
            }
        }
        drop(command);
        release_streams()?;
        // Whatever fails from here on, the tree must go.
        let watched = self.watch();
        let ended = self.end_tree();
        watched.and(ended)?;
        Ok(self.exit.map_or(NOT_STARTED, Exit::code))
    }

    /// Until the program ended or is to be ended.
    fn watch(&mut self) -> io::Result<()> {
        loop {
            self.reap()?;
            if self.exit.is_some() || self.wait(None)? == Wake::Stop {
                return Ok(());
            }
        }
    }

    /// Ends all descendants; returns when none is left.
    fn end_tree(&mut self) -> io::Result<()> {
        if self.reap()? == Children::None {
            return Ok(());
        }
        tree::signal(Signal::SIGTERM);
        let grace = Instant::now() + GRACE;
        while let Some(left) = grace.checked_duration_since(Instant::now()) {
            if self.reap()? == Children::None {
                return Ok(());
            }
            self.wait_for_child(left)?;
        }
        let limit = Instant::now() + KILL_LIMIT;
        while self.reap()? != Children::None && Instant::now() < limit {
            tree::signal(Signal::SIGKILL);
            self.wait_for_child(KILL_ROUND)?;
        }
        Ok(())
    }

    /// Takes the status of each child that ended.
    fn reap(&mut self) -> io::Result<Children> {
        loop {
            let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) => return Ok(Children::Some),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(Errno::ECHILD) => return Ok(Children::None),
                Err(error) => return Err(error.into()),
            };
            if self.main == Some(pid) {
                self.exit = Some(exit);
                self.report(&Report::Ended(exit));
            }
        }
    }

    /// Waits for the next thing to do.
    fn wait(&mut self, limit: Option<Duration>) -> io::Result<Wake> {
        let control = PollFd::new(self.control.as_fd(), PollFlags::POLLIN);
        let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
        let mut fds = [control, signals];
        match poll(&mut fds, timeout(limit)) {
            Ok(0) => return Ok(Wake::Timeout),
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Wake::Child),
            Err(error) => return Err(error.into()),
        }
        let closed = fds[0].any() == Some(true) && self.control_closed();
        Ok(if self.told_to_stop()? || closed { Wake::Stop } else { Wake::Child })
    }

    /// Waits for a child while the control socket does not matter any more.
    fn wait_for_child(&mut self, limit: Duration) -> io::Result<()> {
        let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout(Some(limit))) {
            Ok(_) | Err(Errno::EINTR) => self.told_to_stop().map(drop),
            Err(error) => Err(error.into()),
        }
    }

    fn control_closed(&mut self) -> bool {
        // The worker says nothing; what comes nevertheless is passed over.
        let mut ignored = [0; 64];
        !matches!(self.control.read(&mut ignored), Ok(count) if count > 0)
    }

    /// Takes the signals that came; whether one of them was not SIGCHLD.
    fn told_to_stop(&self) -> io::Result<bool> {
        let mut stop = false;
        while let Some(info) = self.signals.read_signal()? {
            stop |= i32::try_from(info.ssi_signo) != Ok(Signal::SIGCHLD as i32);
        }
        Ok(stop)
    }

    fn report(&mut self, report: &Report) {
        // A worker that is gone needs no report; the closed socket ends the tree.
        let _ = self.control.write_all(report.to_line().as_bytes());
    }
}

/// Whether there are children.
#[derive(Debug, PartialEq, Eq)]
enum Children {
    Some,
    None,
}

fn timeout(limit: Option<Duration>) -> PollTimeout {
    match limit {
        None => PollTimeout::NONE,
        // Rounded up, so that the last fraction of a wait does not spin.
        Some(limit) => {
            PollTimeout::try_from(limit + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        }
    }
}

/// Lets the program get the signals that this process blocks for itself: else it would not even
/// see SIGTERM.
#[expect(unsafe_code, reason = "only the forked process may change its own mask")]
fn unblock_signals(command: &mut Command) {
    // SAFETY: between fork and exec only `pthread_sigmask` is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?));
    }
}

/// Takes over the inherited control socket, and keeps it from being inherited further.
#[expect(unsafe_code, reason = "an inherited descriptor is known by its number only")]
fn adopt(control: RawFd) -> io::Result<UnixStream> {
    // SAFETY: the worker passes the number of a descriptor that it left open for this process,
    // and nothing else in this process was opened or closed since the start.
    let control = unsafe { OwnedFd::from_raw_fd(control) };
    fcntl(&control, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(UnixStream::from(control))
}

/// Lets go of the standard streams, which are the program's: else the worker would not see when
/// the program closes them.
fn release_streams() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Ends a process group whose reaper is gone: the second line of defence.
pub(crate) fn kill_group(leader: u32) {
    if let Some(group) = i32::try_from(leader).ok().filter(|pid| *pid > 1) {
        // A group that is gone already is what is wanted.
        let _ = kill(Pid::from_raw(-group), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Option<(RawFd, OsString, Vec<OsString>)> {
        parse(args.iter().map(OsString::from))
            .map(|(fd, program, rest)| (fd, program, rest.collect()))
    }

    #[test]
    fn a_call_names_the_socket_and_the_command() {
        let (fd, program, rest) = parsed(&["--control-fd", "7", "--", "node", "--", "-x"]).unwrap();
        assert_eq!((fd, program.to_str()), (7, Some("node")));
        assert_eq!(rest, ["--", "-x"]);
    }

    #[test]
    fn a_wrong_call_is_refused() {
        for wrong in [
            &[][..],
            &["--control-fd", "7", "--"],
            &["--control-fd", "7", "node"],
            &["--control-fd", "1", "--", "node"],
            &["--control-fd", "x", "--", "node"],
            &["node"],
        ] {
            assert!(parsed(wrong).is_none(), "{wrong:?}");
        }
    }
}
