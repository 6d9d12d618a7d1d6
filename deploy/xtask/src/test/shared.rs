//! One database, one bus and one store of secrets for all tests of a run.
//!
//! Each test takes a database, a namespace or a mount of its own in them. They are processes of
//! a process that ends them when its standard input ends, as it does however this one ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::failure::{Context, Failure, Outcome};
use crate::process;
use crate::tools::cluster::Programs;
use crate::workspace::Workspace;

/// The servers that run, until this is dropped.
pub(super) struct Shared {
    servers: Child,
    /// What the tests find them by.
    environment: BTreeMap<String, String>,
}

impl Shared {
    /// Starts them.
    ///
    /// # Errors
    /// If they do not start; what they said is on the terminal.
    pub(super) fn start(workspace: &Workspace, programs: &Programs) -> Outcome<Self> {
        let program = workspace.target.join("debug/cluster");
        let mut command = process::command(&program, &workspace.root);
        programs.tell(&mut command);
        command.arg("servers").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut servers = command.spawn().cannot(|| format!("start {}", program.display()))?;
        let mut line = String::new();
        if let Some(stdout) = servers.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .cannot(|| "read where the servers are".into())?;
        }
        let environment = serde_json::from_str(&line)
            .map_err(|_| Failure::new("the servers for the tests did not start"));
        match environment {
            Ok(environment) => Ok(Self { servers, environment }),
            Err(failure) => {
                servers.kill().ok();
                servers.wait().ok();
                Err(failure)
            }
        }
    }

    /// Tells a command where they are.
    pub(super) fn tell(&self, command: &mut Command) {
        command.envs(&self.environment);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.servers.stdin.take());
        self.servers.wait().ok();
    }
}
