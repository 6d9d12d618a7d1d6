//! The commands of `mcp-orch`, as the operator of a data directory types them.

use std::path::Path;

use serde_json::Value;

use super::peers::installed;
use super::program::Program;

/// The command line for one system and one project.
#[derive(Clone, Debug)]
pub(crate) struct Cli {
    data: String,
    project: String,
}

impl Cli {
    pub(crate) fn new(data: &Path, project: &str) -> Self {
        Self { data: data.display().to_string(), project: project.to_owned() }
    }

    /// Runs a command; where the system is and which project is meant is in the environment.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Program {
        let environment =
            [("MCP_ORCH_DATA", self.data.as_str()), ("MCP_ORCH_PROJECT_ID", &self.project)];
        Program::run(installed("MCP_ORCH_BIN"), arguments, &environment).await
    }

    /// Runs a command that lists, and gives the rows.
    pub(crate) async fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let program = self.run(&[arguments, &["--json"]].concat()).await.ok();
        program.json().as_array().expect("rows").clone()
    }
}
