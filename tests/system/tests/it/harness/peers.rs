//! The servers and interpreters that `cargo xtask test` installs and names in the environment.

use std::path::PathBuf;

use fixtures::Upstream;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::wait::eventually;

/// A path that `cargo xtask test` puts into the environment.
pub(crate) fn installed(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
        panic!("{variable} is not set: run the system tests with `cargo xtask test`")
    });
    assert!(path.exists(), "{variable} names {}, which is not there", path.display());
    path
}

/// The folder with the packages from npm.
pub(crate) fn node_modules() -> PathBuf {
    installed("MCP_ORCH_TEST_NODE_MODULES")
}

/// The interpreter with the MCP client.
pub(crate) fn python() -> PathBuf {
    installed("MCP_ORCH_TEST_PYTHON")
}

/// A program of the Python environment with the MCP servers.
pub(crate) fn python_server(name: &str) -> String {
    installed("MCP_ORCH_TEST_PYTHON_SERVERS").join(name).display().to_string()
}

fn everything() -> String {
    let path = "@modelcontextprotocol/server-everything/dist/index.js";
    node_modules().join(path).display().to_string()
}

/// The reference server over stdio, as a body of the REST API.
pub(crate) fn everything_stdio(name: &str) -> Value {
    json!({ "name": name, "type": "stdio", "command": "node", "args": [everything(), "stdio"] })
}

/// The reference server over HTTP, which chooses no port by itself.
#[derive(Debug)]
pub(crate) struct Everything {
    _process: tokio::process::Child,
    _home: TempDir,
    /// Where its endpoint is.
    pub(crate) url: String,
}

/// Starts the reference server over `sse` or `streamableHttp`.
pub(crate) async fn everything_http(transport: &str) -> Everything {
    let home = tempfile::tempdir().unwrap();
    let port = fixtures::process::free_port().unwrap();
    let log = std::fs::File::create(home.path().join("log")).unwrap();
    let process = tokio::process::Command::new("node")
        .args([everything(), transport.to_owned()])
        .env("PORT", port.to_string())
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("node starts");
    eventually("server-everything listens", std::time::Duration::from_secs(30), async || {
        let connected = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
        connected.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let path = if transport == "sse" { "sse" } else { "mcp" };
    Everything { _process: process, _home: home, url: format!("http://127.0.0.1:{port}/{path}") }
}

/// The fixture over stdio, as a body of the REST API.
pub(crate) fn stdio_fixture(name: &str, arguments: &[&str]) -> Value {
    let (command, arguments) = Upstream::stdio(arguments).unwrap();
    json!({ "name": name, "type": "stdio", "command": command, "args": arguments })
}

/// The fixture that implements all of the protocol, over stdio, as a body of the REST API.
pub(crate) fn conformance_stdio(name: &str, arguments: &[&str]) -> Value {
    let (command, arguments) = Upstream::conformance_stdio(arguments).unwrap();
    json!({ "name": name, "type": "stdio", "command": command, "args": arguments })
}
