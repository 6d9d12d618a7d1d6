//! The conformance fixture over stdio, as a server's command.

use domain::server::Transport;
use fixtures::Upstream;
use serde_json::{Value, json};

/// The fixture's transport, and the sealed arguments that go with it.
pub(crate) fn conformance(arguments: &[&str]) -> (Transport, Value) {
    let (program, args) = Upstream::conformance_stdio(arguments).unwrap();
    let command = program.display().to_string();
    let shown_args = args.clone();
    let transport = Transport::Stdio { command, shown_args, env_names: vec![], cwd: None };
    (transport, json!({ "args": args }))
}
