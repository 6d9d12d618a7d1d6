//! The conformance fixture: over stdio as a server's command, over HTTP as a process.

use std::process::Command;

use domain::server::Transport;
use fixtures::process::Process;
use serde_json::{Value, json};

/// The fixture over stdio, and the sealed arguments that go with it.
pub(crate) fn conformance(arguments: &[&str]) -> (Transport, Value) {
    let program = fixtures::binary("fixture-conformance").unwrap();
    let args: Vec<&str> = [&["--transport", "stdio"], arguments].concat();
    let shown_args = args.iter().map(|arg| (*arg).to_owned()).collect();
    let command = program.display().to_string();
    let transport = Transport::Stdio { command, shown_args, env_names: vec![], cwd: None };
    (transport, json!({ "args": args }))
}

/// The fixture over HTTP; it ends when this is dropped.
pub(crate) struct Conformance {
    _process: Process,
    address: String,
}

impl Conformance {
    /// Starts one with further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(fixtures::binary("fixture-conformance").unwrap());
        command.arg("--end-with-stdin").args(arguments);
        let (process, line) = Process::start(&mut command).unwrap();
        let address = line.strip_prefix("listening on ").unwrap().trim().to_owned();
        Self { _process: process, address }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The URL of Streamable HTTP.
    pub(crate) fn mcp_url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The URL of HTTP with SSE.
    pub(crate) fn sse_url(&self) -> String {
        format!("http://{}/sse", self.address)
    }
}
