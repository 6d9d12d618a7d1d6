//! A program that runs to its end.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::orch::Orch;
use super::peers::node_modules;

/// How long a program may run.
const LIMIT: Duration = Duration::from_secs(90);

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// Runs it in a home of its own, with nothing else of this environment but the search path.
    pub(crate) async fn run<A: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
    ) -> Self {
        let home = TempDir::new().unwrap();
        let mut command = Command::new(program.as_ref());
        command.args(arguments).env_clear().env("HOME", home.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(environment.iter().copied()).current_dir(home.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        let name = program.as_ref().display().to_string();
        let output = tokio::time::timeout(LIMIT, command.output()).await;
        let output = output
            .unwrap_or_else(|_| panic!("{name} did not end within {LIMIT:?}"))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Itself, if it ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!(self.success, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// What it said, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// One request of the Inspector's command line over `sse` or `http`.
pub(crate) async fn inspect(orch: &Orch, url: &str, transport: &str, arguments: &[&str]) -> Value {
    let inspector = node_modules().join("@modelcontextprotocol/inspector/cli/build/cli.js");
    let inspector = inspector.display().to_string();
    let header = format!("Authorization: Bearer {}", orch.api_key);
    let common = [&inspector, "--cli", url, "--transport", transport, "--header", &header];
    Program::run("node", common.into_iter().chain(arguments.iter().copied()), &[]).await.ok().json()
}
