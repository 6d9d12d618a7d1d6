//! What the suite runs against: the fixture, and a gateway with a forwarder in front of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::Value;

use crate::failure::{Context, Failure, Outcome};
use crate::process;
use crate::workspace::Workspace;

/// How long a process may take to say that it is ready, a debug build on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often a state is asked for.
const STEP: Duration = Duration::from_millis(200);

/// A running process, which is killed when it is dropped.
struct Running {
    child: Child,
    /// The first line that it printed.
    first_line: String,
}

impl Running {
    fn start(command: &mut Command) -> Outcome<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().cannot(|| format!("start {name}"))?;
        let stdout = child.stdout.take();
        let mut running = Self { child, first_line: String::new() };
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut lines = stdout.into_iter().flat_map(|it| BufReader::new(it).lines()).flatten();
            let _ = sender.send(lines.next());
            lines.for_each(drop);
        });
        match receiver.recv_timeout(START_LIMIT) {
            Ok(Some(line)) => running.first_line = line,
            _ => return Err(Failure::new(format!("{name} did not get ready"))),
        }
        Ok(running)
    }

    /// Where it listens, as fixtures say it.
    fn address(&self) -> Outcome<&str> {
        let address = self.first_line.strip_prefix("listening on ");
        address.ok_or_else(|| Failure::new(format!("not an address: {}", self.first_line)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of stdin ends a fixture; the rest is killed.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn binary(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.target.join("debug").join(name)
}

/// The fixture as a process of its own.
pub(crate) struct Fixture(Running);

impl Fixture {
    /// Starts one with further arguments.
    ///
    /// # Errors
    /// If it does not get ready.
    pub(crate) fn start(workspace: &Workspace, arguments: &[&str]) -> Outcome<Self> {
        let binary = binary(workspace, "fixture-conformance");
        let mut command = process::command(binary, &workspace.root);
        let running = Running::start(command.arg("--end-with-stdin").args(arguments))?;
        running.address()?;
        Ok(Self(running))
    }

    /// One of its endpoints. The suite's DNS rebinding checks want a name of this machine.
    pub(crate) fn url(&self, path: &str) -> String {
        let address = self.0.address().unwrap_or_default();
        format!("http://{}/{path}", address.replace("127.0.0.1", "localhost"))
    }
}

/// How a gateway reaches the fixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Upstream {
    /// Streamable HTTP, in the era that the gateway chooses.
    Http,
    /// Streamable HTTP with sessions.
    Sessions,
    /// HTTP+SSE with sessions, one connection for each client.
    Sse,
    /// Stdio with sessions, one process for each client.
    Stdio,
}

impl Upstream {
    /// What the part of a report is called.
    pub(crate) fn part(self) -> &'static str {
        match self {
            Self::Http => "gateway",
            Self::Sessions => "gateway to sessions",
            Self::Sse => "gateway to sse",
            Self::Stdio => "gateway to stdio",
        }
    }

    /// Checks, as `scenario: check`, that such an upstream gives a gateway no occasion to pass.
    pub(crate) fn exempt(self) -> &'static [&'static str] {
        match self {
            Self::Sessions => &[],
            // It has no stream of a call that could be ended and gone on with, which is passed on
            // to the client. The suite then gives information instead of a judgement.
            Self::Http | Self::Sse | Self::Stdio => {
                &["server-sse-polling: server-sse-disconnect-resume"]
            }
        }
    }

    /// The fixture's process, where it is not the gateway's own child, and how it is registered.
    fn register(self, workspace: &Workspace) -> Outcome<(Option<Fixture>, Vec<String>)> {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let start = |arguments: &[&str]| Fixture::start(workspace, arguments);
        Ok(match self {
            Self::Http => {
                let fixture = start(&[])?;
                let how = words(&["--url", &fixture.url("mcp"), "--transport", "http"]);
                (Some(fixture), how)
            }
            Self::Sessions => {
                let fixture = start(&["--era", "sessions"])?;
                let how = words(&["--url", &fixture.url("mcp"), "--transport", "http"]);
                (Some(fixture), how)
            }
            Self::Sse => {
                let fixture = start(&["--era", "sessions", "--transport", "sse"])?;
                let url = fixture.url("sse");
                let how = ["--url", &url, "--transport", "sse", "--isolation", "session"];
                (Some(fixture), words(&how))
            }
            Self::Stdio => {
                let program = binary(workspace, "fixture-conformance").display().to_string();
                let command = [&program, "--transport", "stdio", "--era", "sessions"];
                let how = [&["--isolation", "session", "--"], &command[..]].concat();
                (None, words(&how))
            }
        })
    }
}

/// `mcp-orch up` with the fixture as the one server of its project.
pub(crate) struct Gateway {
    forwarder: Running,
    mcp_url: String,
    _up: Running,
    _fixture: Option<Fixture>,
}

impl Gateway {
    /// Starts one, with its data and its log in `folder`, and waits until the server is active.
    ///
    /// # Errors
    /// If something does not get ready.
    pub(crate) fn start(workspace: &Workspace, upstream: Upstream, folder: &Path) -> Outcome<Self> {
        fs::create_dir_all(folder).cannot(|| format!("create {}", folder.display()))?;
        let (fixture, how) = upstream.register(workspace)?;
        let system = System { binary: binary(workspace, "mcp-orch"), folder };
        let up = system.up()?;
        let ready: Value = serde_json::from_str(&up.first_line)
            .cannot(|| format!("understand {}", up.first_line))?;
        system.tell(&["project", "set", "--naming", "plain-when-single"])?;
        system.register(&how)?;
        system.wait_active()?;
        let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
        let (url, mcp_url) = (text("url"), text("mcp_url"));
        let mut command = process::command(binary(workspace, "fixture-forwarder"), folder);
        command.args(["--end-with-stdin", "--upstream", url.trim_start_matches("http://")]);
        let forwarder = Running::start(command.env("FIXTURE_BEARER", text("api_key")))?;
        Ok(Self { forwarder, mcp_url, _up: up, _fixture: fixture })
    }

    /// The unified endpoint, through the forwarder that carries the key.
    ///
    /// # Errors
    /// If the system said no URL.
    pub(crate) fn url(&self) -> Outcome<String> {
        let path = self.mcp_url.splitn(4, '/').nth(3);
        let path = path.ok_or_else(|| Failure::new("the system printed no mcp_url"))?;
        let address = self.forwarder.address()?.replace("127.0.0.1", "localhost");
        Ok(format!("http://{address}/{path}"))
    }
}

/// `mcp-orch` and its folder.
struct System<'a> {
    binary: PathBuf,
    folder: &'a Path,
}

impl System<'_> {
    fn command(&self) -> Command {
        let mut command = process::command(&self.binary, self.folder);
        command.env("HOME", self.folder).env_remove("MCP_ORCH_URL").env_remove("MCP_ORCH_TOKEN");
        command
    }

    fn up(&self) -> Outcome<Running> {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .cannot(|| "find a free port".into())?
            .port();
        let log = self.folder.join("stderr.log");
        let errors = File::create(&log).cannot(|| format!("write {}", log.display()))?;
        let mut command = self.command();
        command.args(["up", "--json", "--data"]).arg(self.folder.join("data"));
        command.arg("--logs").arg(self.folder.join("logs"));
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--admin-listen", "127.0.0.1:0"]);
        Running::start(command.stderr(errors)).map_err(|failure| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            Failure::new(format!("{failure}\n{log}"))
        })
    }

    fn tell(&self, arguments: &[&str]) -> Outcome<String> {
        let mut command = self.command();
        command.args(arguments).arg("--data").arg(self.folder.join("data"));
        process::capture(&mut command)
    }

    /// `how` may end with a command, so the folder comes first.
    fn register(&self, how: &[String]) -> Outcome<String> {
        let mut command = self.command();
        command.args(["server", "add", "fixture", "--data"]).arg(self.folder.join("data"));
        process::capture(command.args(how))
    }

    fn wait_active(&self) -> Outcome {
        let started = Instant::now();
        loop {
            let listed = self.tell(&["server", "list", "--json"])?;
            if listed.contains("\"active\"") {
                return Ok(());
            }
            if started.elapsed() > START_LIMIT {
                return Err(Failure::new(format!("the server is not active: {listed}")));
            }
            std::thread::park_timeout(STEP);
        }
    }
}
