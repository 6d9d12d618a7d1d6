//! MCP clients that are not written in Rust: each is a small script over a real SDK, told what to
//! do by lines of JSON, and answering each with one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::peers::{installed, node_modules, python, python_server};

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Which client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sdk {
    /// The Python SDK, 1.x.
    Python,
    /// The TypeScript SDK, 1.x.
    TypeScript,
    /// The Python SDK, 2.x, in one of its modes.
    Python2(Mode),
    /// The TypeScript SDK, 2.x, in one of its modes.
    TypeScript2(Mode),
}

/// How a client that speaks both eras chooses one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    /// `initialize`, as all before it.
    Legacy,
    /// The stateless era where the server speaks it.
    Auto,
}

impl Sdk {
    const fn mode(self) -> Option<Mode> {
        match self {
            Self::Python | Self::TypeScript => None,
            Self::Python2(mode) | Self::TypeScript2(mode) => Some(mode),
        }
    }

    /// Whether it speaks the stateless era with a server that does.
    pub(crate) const fn is_stateless(self) -> bool {
        matches!(self.mode(), Some(Mode::Auto))
    }

    fn command(self) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let (program, script) = match self {
            Self::Python => (python(), "client.py"),
            // The servers are built on 2.x: the client is in the same environment.
            Self::Python2(_) => (python_server("python").into(), "client2.py"),
            Self::TypeScript | Self::TypeScript2(_) => ("node".into(), "client.mjs"),
        };
        let mut command = Command::new(program);
        match self {
            Self::Python | Self::Python2(_) => command.arg("-u").arg(folder.join(script)),
            _ => command.arg(folder.join(script)).arg(node_modules()),
        };
        command
    }
}

/// A connected client. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Client {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
    _home: TempDir,
}

impl Client {
    /// Starts the script and connects as `connection` says: `{"transport": "sse" | "http",
    /// "url", "headers"}`, `{"transport": "stdio", "command", "args", "env"}`, or one entry of a
    /// client's configuration file as it is.
    pub(crate) async fn connect(sdk: Sdk, connection: &Value) -> Self {
        let home = TempDir::new().unwrap();
        let log = home.path().join("stderr.log");
        let mut command = sdk.command();
        command.env_clear().env("HOME", home.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("PATH", path_with_our_binary());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(&log).unwrap()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{sdk:?}: {error}"));
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut client = Self { child, stdin, stdout, log, _home: home };
        let mut connection = connection.clone();
        if let Some(mode) = sdk.mode() {
            connection["mode"] = json!(format!("{mode:?}").to_lowercase());
        }
        client.ask(&connection).await;
        client
    }

    /// One command's answer.
    pub(crate) async fn ask(&mut self, command: &Value) -> Value {
        let answer = self.try_ask(command).await;
        assert!(answer["error"].is_null(), "{command}: {answer}\n{}", self.stderr());
        answer["ok"].clone()
    }

    /// One command's answer, which may be an error.
    pub(crate) async fn try_ask(&mut self, command: &Value) -> Value {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        self.stdin.flush().await.unwrap();
        let line = tokio::time::timeout(LIMIT, self.stdout.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{command}: no answer\n{}", self.stderr()));
        let line = line.unwrap().unwrap_or_else(|| panic!("{command}: ended\n{}", self.stderr()));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The names of all tools.
    pub(crate) async fn tools(&mut self) -> Vec<String> {
        let tools = self.ask(&json!({ "op": "list_tools" })).await;
        serde_json::from_value(tools).unwrap()
    }

    /// Calls a tool; gives the result as the SDK gives it.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask(&json!({ "op": "call", "name": tool, "arguments": arguments })).await
    }

    /// Ends the session in order, and the script.
    pub(crate) async fn close(mut self) {
        self.ask(&json!({ "op": "close" })).await;
        drop(self.stdin);
        let status = tokio::time::timeout(LIMIT, self.child.wait()).await;
        status.expect("the client ends").unwrap();
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// The search path of a machine on which `mcp-orch` is installed: configurations for clients that
/// only speak stdio start it by its name.
fn path_with_our_binary() -> OsString {
    let ours = installed("MCP_ORCH_BIN").parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(ours).chain(std::env::split_paths(&path))).unwrap()
}
