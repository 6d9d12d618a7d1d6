//! `mcp-orch up` in a data directory of its own, driven as a script would: by its first line of
//! output and its REST API.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fixtures::Process;
use fixtures::process::free_port;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::error::Error;
use crate::http_client::json_request;
use crate::session::{Endpoint, Wire};

/// How long a server may take to become active.
const ACTIVE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often its status is asked for.
const STATUS_STEP: Duration = Duration::from_millis(100);

/// What `up --json` prints on readiness.
#[derive(Debug, Deserialize)]
struct Ready {
    url: String,
    project_id: String,
    sse_url: String,
    mcp_url: String,
    api_key: String,
    admin: Admin,
}

#[derive(Debug, Deserialize)]
struct Admin {
    email: String,
    password: String,
}

/// A running `up`, killed on drop. Its data directory goes with it.
#[derive(Debug)]
pub(crate) struct Orchestrator {
    process: Process,
    ready: Ready,
    token: String,
    _directory: TempDir,
}

impl Orchestrator {
    /// Starts it on free ports and waits until it is ready.
    pub(crate) fn start(bin: &Path) -> Result<Self, Error> {
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("stderr.log");
        let mut command = Command::new(bin.canonicalize()?);
        command.arg("up").arg("--data").arg(directory.path().join("data"));
        command.args(["--listen", &format!("127.0.0.1:{}", free_port()?), "--json"]);
        // Nothing of the caller's environment changes what is measured; logs stay here too.
        command.env_clear().env("HOME", directory.path()).current_dir(directory.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("MCP_ORCH_ADMIN_LISTEN", "127.0.0.1:0");
        command.stderr(File::create(&log)?);
        let (process, line) = Process::start(&mut command).map_err(|error| {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            Error::unexpected(format!("{} up: {error}\n{log}", bin.display()))
        })?;
        let ready = serde_json::from_str(&line)?;
        Ok(Self { process, ready, token: String::new(), _directory: directory })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The unified endpoint over a transport; `tool` is the tool's name there.
    pub(crate) fn endpoint(&self, wire: Wire, tool: &str) -> Result<Endpoint, Error> {
        let url = match wire {
            Wire::Streamable => &self.ready.mcp_url,
            Wire::Sse => &self.ready.sse_url,
        };
        Ok(Endpoint::new(wire, url, tool)?.with_bearer(&self.ready.api_key))
    }

    /// Logs the first owner in.
    pub(crate) async fn login(&mut self) -> Result<(), Error> {
        let url = format!("{}/api/auth/login", self.ready.url);
        let admin = &self.ready.admin;
        let body = json!({ "email": admin.email, "password": admin.password });
        let (status, answer) = json_request(Method::POST, &url, None, Some(&body)).await?;
        match answer["access_token"].as_str() {
            Some(token) if status == StatusCode::OK => token.clone_into(&mut self.token),
            _ => return Err(Error::unexpected(format!("login: {status} {answer}"))),
        }
        Ok(())
    }

    /// Registers a server of the project; the body is that of the REST API.
    pub(crate) async fn register(&mut self, server: &Value) -> Result<(), Error> {
        self.api(Method::POST, "/servers", Some(server)).await.map(drop)
    }

    /// Sets the project's audit mode.
    pub(crate) async fn set_audit_mode(&mut self, mode: &str) -> Result<(), Error> {
        self.api(Method::PATCH, "", Some(&json!({ "audit_mode": mode }))).await.map(drop)
    }

    /// The project's servers, as the API shows them.
    pub(crate) async fn servers(&mut self) -> Result<Vec<Value>, Error> {
        let answer = self.api(Method::GET, "/servers?limit=100", None).await?;
        let servers = answer.as_array().or_else(|| answer["servers"].as_array());
        servers.cloned().ok_or_else(|| Error::unexpected(format!("not a list: {answer}")))
    }

    /// Waits until every named server is active.
    pub(crate) async fn wait_active(&mut self, names: &[&str]) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let servers = self.servers().await?;
            let active = |name: &&&str| {
                servers.iter().any(|it| it["name"] == **name && it["status"] == "active")
            };
            if names.iter().filter(active).count() == names.len() {
                return Ok(());
            }
            if start.elapsed() > ACTIVE_TIMEOUT {
                let text = format!("not active in {ACTIVE_TIMEOUT:?}: {}", json!(servers));
                return Err(Error::unexpected(text));
            }
            tokio::time::sleep(STATUS_STEP).await;
        }
    }

    /// One request on the project with the owner's token, which is renewed once when it expired.
    async fn api(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let url = format!("{}/projects/{}{path}", self.ready.url, self.ready.project_id);
        if self.token.is_empty() {
            self.login().await?;
        }
        let send = |token: String| {
            let (method, url) = (method.clone(), url.clone());
            async move { json_request(method, &url, Some(&token), body).await }
        };
        let (mut status, mut answer) = send(self.token.clone()).await?;
        if status == StatusCode::UNAUTHORIZED {
            self.login().await?;
            (status, answer) = send(self.token.clone()).await?;
        }
        if status.is_success() {
            return Ok(answer);
        }
        Err(Error::unexpected(format!("{method} {url}: {status} {answer}")))
    }
}
