//! `mcp-orch up` in directories of its own, started, stopped and killed as an operator would; or,
//! where `MCP_ORCH_TEST_CLUSTER` is set, a whole cluster in its place.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use cluster::{Cluster, Programs};
use fixtures::process::free_port;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::cli::Cli;
use super::grpc::Grpc;
use super::leftovers::running_with_home;
use super::peers::installed;
use super::rest::Rest;
use super::sse::SseClient;
use super::streamable::Streamable;
use super::wait::eventually;

/// How long a start may take, a debug build's included.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long the processes of a system that is gone may still be there.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(10);
/// How long draining may take.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How `up` is started; the default is an empty system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Further arguments.
    pub(crate) arguments: Vec<String>,
    /// Further environment variables.
    pub(crate) environment: Vec<(String, String)>,
}

impl Options {
    /// With the built-in demo server.
    pub(crate) fn demo() -> Self {
        Self::default().argument("--demo")
    }

    /// With a further argument.
    pub(crate) fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The same for a cluster: what `up` takes as flags its services take from the environment.
    fn for_cluster(&self) -> cluster::Options {
        let mut options = cluster::Options {
            environment: self.environment.clone(),
            ..cluster::Options::default()
        };
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            let flag = argument.strip_prefix("--").expect("a flag");
            if flag == "demo" {
                options.bootstrap.push(argument.clone());
                continue;
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => (flag, arguments.next().expect("a value").clone()),
            };
            if name == "project-id" {
                options.bootstrap.push(format!("--{name}={value}"));
                continue;
            }
            let name = format!("MCP_ORCH_{}", name.replace('-', "_").to_uppercase());
            options.environment.push((name, value));
        }
        options
    }

    /// With a further environment variable.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }
}

/// What `up --json` prints on readiness. Key and password come on the first start only.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ready {
    pub(crate) url: String,
    pub(crate) project_id: String,
    pub(crate) sse_url: String,
    pub(crate) mcp_url: String,
    pub(crate) api_key: Option<String>,
    pub(crate) admin: Option<Admin>,
}

/// The first owner's login.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Admin {
    pub(crate) email: String,
    pub(crate) password: Option<String>,
}

/// A running system. On drop its whole process group is killed, and nothing of it may be left.
#[derive(Debug)]
pub(crate) struct Orch {
    /// In its place, where that was asked for.
    cluster: Option<Box<Cluster>>,
    directory: TempDir,
    options: Options,
    port: u16,
    admin_port: u16,
    child: Option<Child>,
    /// The readiness line of the last start.
    pub(crate) ready: Ready,
    /// The key of the first start.
    pub(crate) api_key: String,
    /// The owner's JWT.
    pub(crate) token: String,
}

impl Orch {
    /// Starts a new system and logs its owner in.
    pub(crate) async fn start(options: Options) -> Self {
        match std::env::var("MCP_ORCH_TEST_CLUSTER") {
            Ok(asked) if !asked.is_empty() => Self::start_cluster(options).await,
            _ => Self::start_up(options).await,
        }
    }

    /// Starts a new cluster, whatever the environment says, and logs its owner in.
    pub(crate) async fn start_cluster(options: Options) -> Self {
        let mut orch = Self::stopped(options);
        let compose = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/compose/compose.yaml");
        let programs = Programs::find().unwrap();
        let started = Cluster::start(Path::new(compose), programs, orch.options.for_cluster());
        let cluster = started.await.unwrap_or_else(|error| panic!("{error:#}"));
        orch.ready = serde_json::from_str(cluster.ready_line()).unwrap();
        orch.cluster = Some(Box::new(cluster));
        orch.api_key = orch.ready.api_key.clone().expect("the first start gives a key");
        orch.log_in().await;
        orch
    }

    async fn start_up(options: Options) -> Self {
        let mut orch = Self::stopped(options);
        orch.launch().await.unwrap_or_else(|error| panic!("{error}"));
        orch.api_key = orch.ready.api_key.clone().expect("the first start gives a key");
        orch.log_in().await;
        orch
    }

    fn stopped(options: Options) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("home")).unwrap();
        Self {
            cluster: None,
            directory,
            options,
            port: free_port().unwrap(),
            admin_port: free_port().unwrap(),
            child: None,
            ready: Ready::default(),
            api_key: String::new(),
            token: String::new(),
        }
    }

    /// The cluster that it is.
    pub(crate) fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("a cluster")
    }

    /// What only a system of one process has.
    fn one_process(&self) {
        assert!(self.cluster.is_none(), "this is about a system of one process");
    }

    /// Starts it again on the same data; a system that is still running is an error.
    pub(crate) async fn start_again(&mut self) {
        self.launch().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The same, with other options.
    pub(crate) async fn start_again_with(&mut self, options: Options) -> Result<(), String> {
        self.options = options;
        self.launch().await
    }

    async fn launch(&mut self) -> Result<(), String> {
        if let Some(cluster) = &mut self.cluster {
            self.ready.api_key = None;
            return cluster.start_services().await.map_err(|error| format!("{error:#}"));
        }
        assert!(self.child.is_none(), "still running");
        let path = |name: &str| self.directory.path().join(name);
        let log = File::options().append(true).create(true).open(path("stderr.log")).unwrap();
        let mut command = Command::new(installed("MCP_ORCH_BIN"));
        command.args(["up", "--json"]).args(&self.options.arguments);
        command.arg("--data").arg(self.data()).arg("--logs").arg(self.logs());
        command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        command.args(["--admin-listen", &format!("127.0.0.1:{}", self.admin_port)]);
        command.env_clear().env("HOME", self.home());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.directory.path()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        let mut line = String::new();
        let read = tokio::time::timeout(START_LIMIT, stdout.read_line(&mut line)).await;
        if !matches!(read, Ok(Ok(length)) if length > 0) {
            self.kill().await;
            return Err(format!("`mcp-orch up` did not get ready: {}", self.stderr_tail()));
        }
        let transcript = path("stdout.log");
        tokio::spawn(async move {
            let mut rest = Vec::new();
            let _ = stdout.read_to_end(&mut rest).await;
            let _ = fs::write(transcript, rest);
        });
        self.ready = serde_json::from_str(&line)
            .map_err(|error| format!("not a readiness line: {error}: {line}"))?;
        Ok(())
    }

    async fn log_in(&mut self) {
        let admin = self.ready.admin.clone().expect("the first start gives a login");
        let password = admin.password.expect("the first start gives a password");
        let body = serde_json::json!({ "email": admin.email, "password": password });
        let rest = Rest::new(&self.local_url(), None);
        let answer = rest.post("/api/auth/login", &body).await.expect_status(200);
        self.token = answer["access_token"].as_str().expect("a token").to_owned();
    }

    /// Ends it as an operator does, and waits until it has drained. Nothing may be left.
    pub(crate) async fn stop(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.stop_services().await.unwrap_or_else(|error| panic!("{error:#}"));
            self.nothing_left().await;
            return;
        }
        let id = Pid::from_raw(self.pid());
        kill(id, Signal::SIGTERM).unwrap();
        let status = self.ended(STOP_LIMIT).await;
        assert!(status.success(), "SIGTERM ended it with {status}: {}", self.stderr_tail());
        self.nothing_left().await;
    }

    /// Kills the one process, and neither its children nor anything else.
    pub(crate) async fn kill(&mut self) {
        if let Some(child) = &mut self.child
            && child.try_wait().unwrap().is_none()
        {
            child.kill().await.unwrap();
        }
        self.child = None;
    }

    /// Waits until it ended by itself.
    pub(crate) async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let child = self.child.as_mut().expect("running");
        let waited = tokio::time::timeout(limit, child.wait()).await;
        let status = waited.unwrap_or_else(|_| panic!("still running after {limit:?}")).unwrap();
        self.child = None;
        status
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Fails if a child or grandchild of the system outlives it.
    pub(crate) async fn nothing_left(&self) {
        eventually("all processes of the system are gone", LEFTOVER_LIMIT, async || {
            let left = running_with_home(&self.home());
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }

    /// The process id.
    pub(crate) fn pid(&self) -> i32 {
        self.one_process();
        let id = self.child.as_ref().and_then(Child::id).expect("running");
        i32::try_from(id).unwrap()
    }

    /// The directory that holds everything of this system.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The home directory that tells this system's processes from others.
    pub(crate) fn home(&self) -> PathBuf {
        if let Some(cluster) = &self.cluster {
            return cluster.home();
        }
        self.directory.path().join("home")
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.one_process();
        self.directory.path().join("data")
    }

    /// Where the log is.
    pub(crate) fn logs(&self) -> PathBuf {
        self.one_process();
        self.directory.path().join("logs")
    }

    /// Where it listens, whatever its public URL is.
    pub(crate) fn local_url(&self) -> String {
        if self.cluster.is_some() {
            return self.ready.url.clone();
        }
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process's memory that is not shared with others, children not counted.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// How many processes of the system there are.
    pub(crate) fn processes(&self) -> usize {
        running_with_home(&self.home()).len()
    }

    /// What it counts, as Prometheus reads it.
    pub(crate) async fn metrics(&self) -> String {
        Rest::new(&self.admin_url(), None).get("/metrics").await.text
    }

    /// The URL of the listener for metrics and health.
    pub(crate) fn admin_url(&self) -> String {
        if let Some(cluster) = &self.cluster {
            return format!("http://{}", cluster.address("edge", 9464, 0).unwrap());
        }
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    /// The end of what it said on stderr.
    pub(crate) fn stderr_tail(&self) -> String {
        let text = fs::read(self.directory.path().join("stderr.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// The path of the project in the REST API.
    pub(crate) fn project(&self, path: &str) -> String {
        format!("/projects/{}{path}", self.ready.project_id)
    }

    /// REST as the owner.
    pub(crate) fn rest(&self) -> Rest {
        Rest::new(&self.local_url(), Some(&self.token))
    }

    /// REST with a key.
    pub(crate) fn rest_as(&self, credential: &str) -> Rest {
        Rest::new(&self.local_url(), Some(credential))
    }

    /// gRPC as the owner.
    pub(crate) async fn grpc(&self) -> Grpc {
        Grpc::connect(&self.local_url(), &self.token).await
    }

    /// The command line, as the operator of this data directory.
    pub(crate) fn cli(&self) -> Cli {
        match &self.cluster {
            Some(_) => Cli::remote(&self.ready.url, &self.token, &self.ready.project_id),
            None => Cli::new(&self.data(), &self.ready.project_id),
        }
    }

    /// An initialized session with the unified endpoint over Streamable HTTP.
    pub(crate) async fn mcp(&self) -> Streamable {
        Streamable::open(&self.ready.mcp_url, &self.api_key).await
    }

    /// An initialized session with the unified endpoint over SSE.
    pub(crate) async fn sse(&self) -> SseClient {
        SseClient::open(&self.ready.sse_url, &self.api_key).await
    }

    /// Registers a server.
    pub(crate) async fn register(&self, server: &Value) -> Value {
        let answer = self.rest().post(&self.project("/servers"), server).await;
        assert!(answer.status.is_success(), "{server} was answered with {answer:?}");
        answer.body
    }

    /// All servers, as the REST API shows them.
    pub(crate) async fn servers(&self) -> Vec<Value> {
        let servers = self.rest().get(&self.project("/servers")).await.expect_status(200);
        servers.as_array().expect("a list").clone()
    }

    /// The server of this name.
    pub(crate) async fn server(&self, name: &str) -> Value {
        let servers = self.servers().await;
        let found = servers.iter().find(|server| server["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {servers:?}")).clone()
    }

    /// Waits until the named servers are active.
    pub(crate) async fn active(&self, names: &[&str]) {
        eventually(&format!("{names:?} are active"), START_LIMIT, async || {
            let servers = self.servers().await;
            let active = |name: &&&str| {
                servers.iter().any(|it| it["name"] == **name && it["status"] == "active")
            };
            if names.iter().all(|name| active(&name)) {
                return Ok(());
            }
            Err(serde_json::to_string(&servers).unwrap())
        })
        .await;
    }
}

impl Drop for Orch {
    fn drop(&mut self) {
        if let Some(id) = self.child.as_ref().and_then(Child::id) {
            let _ = killpg(Pid::from_raw(i32::try_from(id).unwrap()), Signal::SIGKILL);
        }
        let home = self.home();
        if let Some(mut cluster) = self.cluster.take()
            && std::thread::panicking()
        {
            for instance in cluster.instances() {
                eprintln!("{}:\n{}\n", instance.name(), instance.tail());
            }
        }
        if std::thread::panicking() {
            eprintln!("the end of the system's stderr:\n{}", self.stderr_tail());
            return;
        }
        let gone = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(eventually(
                "all processes of the system are gone",
                LEFTOVER_LIMIT,
                async || {
                    let left = running_with_home(&home);
                    if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
                },
            ));
        });
        gone.join().expect("a test leaves no process behind");
    }
}
