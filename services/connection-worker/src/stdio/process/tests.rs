//! With real processes: a worker's process that is killed is this test program once more.

use std::io::{BufRead, BufReader as StdBufReader, Write};
use std::path::Path;
use std::process::{Command as StdCommand, Stdio};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Set for the process that plays the worker that is killed.
const PLAYS_WORKER: &str = "TEST_PLAYS_WORKER";
const LIMIT: Duration = Duration::from_secs(20);

fn reaper() -> ReaperCommand {
    let running = std::env::current_exe().unwrap();
    let program = running.ancestors().nth(2).unwrap().join("examples/reaper");
    assert!(program.is_file(), "no {}: build the examples", program.display());
    ReaperCommand { program, args: vec![] }
}

async fn start(script: &str, env: &[(&str, &str)]) -> Result<(Process, Streams), SpawnError> {
    let args = ["-c".to_owned().into(), script.to_owned().into()];
    let env = [("PATH", "/usr/bin:/bin")].iter().chain(env).copied().collect();
    let child = ChildCommand { program: "sh", args: &args, env, cwd: None };
    spawn(&reaper(), &child, &TaskTracker::new()).await
}

/// A program that leaves a child and a detached grandchild behind, tells their ids, and waits.
const FAMILY: &str = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; \
     setsid sh -c 'sleep 1000 </dev/null >/dev/null 2>&1 & echo $!' ; echo $$; exec cat >/dev/null";

async fn lines(stdout: &mut ChildStdout, count: usize) -> Vec<String> {
    let mut stdout = BufReader::new(stdout);
    let mut lines = Vec::new();
    for _ in 0..count {
        let mut line = String::new();
        tokio::time::timeout(LIMIT, stdout.read_line(&mut line)).await.unwrap().unwrap();
        lines.push(line.trim_end().to_owned());
    }
    lines
}

fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn wait_until_gone(pids: &[String]) {
    let start = Instant::now();
    while let Some(pid) = pids.iter().find(|pid| runs(pid)) {
        assert!(start.elapsed() < LIMIT, "process {pid} is still there");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn streams_and_the_status_pass_through() {
    let (process, mut streams) = start("cat; echo oops >&2; exit 3", &[]).await.unwrap();
    streams.stdin.write_all(b"hello").await.unwrap();
    drop(streams.stdin);
    let (mut out, mut err) = (String::new(), String::new());
    streams.stdout.read_to_string(&mut out).await.unwrap();
    streams.stderr.read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("hello", "oops\n"));
    assert_eq!(process.ended().await, Exit::Code(3));
    process.stop().await;
}

#[tokio::test]
async fn the_child_has_nothing_of_ours() {
    let script = "env; ls -l /proc/self/fd | sed 's/.* -> //'";
    let (process, mut streams) = start(script, &[("OWN", "value")]).await.unwrap();
    let mut out = String::new();
    streams.stdout.read_to_string(&mut out).await.unwrap();
    let named: Vec<&str> =
        out.lines().filter_map(|line| line.split_once('=')).map(|l| l.0).collect();
    for name in &named {
        // The shell itself adds PWD, SHLVL and _.
        assert!(["PATH", "OWN", "PWD", "SHLVL", "_", "OLDPWD"].contains(name), "{out}");
    }
    assert!(out.contains("OWN=value"), "{out}");
    assert!(!out.contains("socket:"), "the control socket was inherited: {out}");
    process.stop().await;
}

#[tokio::test]
async fn the_child_gets_its_signals() {
    let args = ["-E", "^SigBlk", "/proc/self/status"].map(|arg| arg.to_owned().into());
    let child = ChildCommand {
        program: "grep",
        args: &args,
        env: vec![("PATH", "/usr/bin:/bin")],
        cwd: None,
    };
    let (process, mut streams) = spawn(&reaper(), &child, &TaskTracker::new()).await.unwrap();
    let mut out = String::new();
    streams.stdout.read_to_string(&mut out).await.unwrap();
    assert_eq!(out.trim_end(), "SigBlk:\t0000000000000000");
    process.stop().await;
}

#[tokio::test]
async fn a_program_that_heeds_sigterm_is_not_killed() {
    let (process, streams) = start("exec sleep 1000", &[]).await.unwrap();
    let mut life = process.life.clone();
    drop(streams.stdin);
    process.stop().await;
    let exit = life.wait_for(|life| life.gone).await.unwrap().exit;
    assert_eq!(exit, Some(Exit::Signal(15)));
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let named = |program: &'static str, cwd: Option<&'static str>| async move {
        let env = vec![("PATH", "/usr/bin:/bin")];
        let child = ChildCommand { program, args: &[], env, cwd };
        spawn(&reaper(), &child, &TaskTracker::new()).await.err().unwrap().to_string()
    };
    assert_eq!(named("no-such-program", None).await, "`no-such-program` not found");
    assert_eq!(
        named("sh", Some("/no/such/dir")).await,
        "the working directory `/no/such/dir` does not exist"
    );
    let refused = named("/etc/passwd", None).await;
    assert!(refused.starts_with("`/etc/passwd` cannot be started: Permission denied"), "{refused}");
}

#[tokio::test]
async fn a_stop_ends_the_whole_family() {
    let (process, mut streams) = start(FAMILY, &[]).await.unwrap();
    let family = lines(&mut streams.stdout, 3).await;
    assert!(family.iter().all(|pid| runs(pid)), "{family:?}");
    drop(streams.stdin);
    process.stop().await;
    assert!(!family.iter().any(|pid| runs(pid)), "{family:?}");
}

#[tokio::test]
async fn a_stubborn_family_is_killed() {
    let script = "trap '' TERM HUP; \
         (trap '' TERM; while :; do sleep 1; done) </dev/null >/dev/null 2>&1 & \
         echo $!; echo $$; while :; do sleep 1; done";
    let (process, mut streams) = start(script, &[]).await.unwrap();
    let family = lines(&mut streams.stdout, 2).await;
    process.stop().await;
    wait_until_gone(&family);
}

#[tokio::test]
async fn what_a_program_leaves_behind_goes_with_it() {
    let script = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; exit 5";
    let (process, mut streams) = start(script, &[]).await.unwrap();
    let left = lines(&mut streams.stdout, 1).await;
    assert_eq!(process.ended().await, Exit::Code(5));
    process.stop().await;
    wait_until_gone(&left);
}

#[tokio::test]
async fn without_its_reaper_the_group_is_killed() {
    let (process, mut streams) = start("echo $PPID; echo $$; exec sleep 1000", &[]).await.unwrap();
    let pids = lines(&mut streams.stdout, 2).await;
    StdCommand::new("kill").args(["-9", &pids[0]]).status().unwrap();
    assert_eq!(process.ended().await, Exit::Signal(9));
    wait_until_gone(&pids);
    process.stop().await;
}

/// Not a test of its own: plays the worker in [`a_killed_worker_leaves_nothing`].
#[test]
fn plays_the_worker() {
    if std::env::var_os(PLAYS_WORKER).is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (_process, mut streams) = start(FAMILY, &[]).await.unwrap();
        let family = lines(&mut streams.stdout, 3).await;
        let mut out = io::stdout();
        writeln!(out, "\nfamily {}", family.join(" ")).unwrap();
        out.flush().unwrap();
        std::future::pending::<()>().await;
    });
}

#[test]
fn a_killed_worker_leaves_nothing() {
    let mut worker = StdCommand::new(std::env::current_exe().unwrap())
        .args(["--exact", "stdio::process::tests::plays_the_worker", "--nocapture"])
        .env(PLAYS_WORKER, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = StdBufReader::new(worker.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("family ").map(str::to_owned));
    let family: Vec<String> = told.unwrap().split(' ').map(str::to_owned).collect();
    assert!(family.iter().all(|pid| runs(pid)), "{family:?}");
    worker.kill().unwrap();
    worker.wait().unwrap();
    wait_until_gone(&family);
}
