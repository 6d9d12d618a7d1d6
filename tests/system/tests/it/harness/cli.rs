//! The commands of `mcp-orch`, as the operator of a data directory types them.

use std::path::Path;

use serde_json::Value;

use super::peers::installed;
use super::program::Program;

/// The command line for one system and one project.
#[derive(Clone, Debug)]
pub(crate) struct Cli {
    environment: Vec<(&'static str, String)>,
}

impl Cli {
    /// As the operator of a data directory.
    pub(crate) fn new(data: &Path, project: &str) -> Self {
        Self::with(vec![("MCP_ORCH_DATA", data.display().to_string())], project)
    }

    /// As somebody with a login.
    pub(crate) fn remote(url: &str, token: &str, project: &str) -> Self {
        let login = vec![("MCP_ORCH_URL", url.to_owned()), ("MCP_ORCH_TOKEN", token.to_owned())];
        Self::with(login, project)
    }

    fn with(mut environment: Vec<(&'static str, String)>, project: &str) -> Self {
        environment.push(("MCP_ORCH_PROJECT_ID", project.to_owned()));
        Self { environment }
    }

    /// Runs a command; where the system is and which project is meant is in the environment.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Program {
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Program::run(installed("MCP_ORCH_BIN"), arguments, &environment).await
    }

    /// Runs a command that lists, and gives the rows.
    pub(crate) async fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let program = self.run(&[arguments, &["--json"]].concat()).await.ok();
        program.json().as_array().expect("rows").clone()
    }
}
