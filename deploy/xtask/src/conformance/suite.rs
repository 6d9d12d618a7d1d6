//! Running the suite itself, which is a program of Node.js.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::requirements::client_scenarios;
use super::results::{self, Check, Results, Status};
use crate::failure::{Context, Failure, Outcome};
use crate::process;

/// How long one scenario may take, in milliseconds: debug builds on a busy machine are slow.
const TIMEOUT_MS: &str = "60000";

/// The suite as it is installed.
pub(crate) struct Suite {
    node: PathBuf,
    search_path: OsString,
    package: PathBuf,
}

impl Suite {
    /// The suite in `modules`. It needs a newer Node.js than the rest, which is among the
    /// packages on Linux and has to be the machine's own elsewhere.
    pub(crate) fn new(modules: &Path, search_path: &OsStr) -> Self {
        let architecture = match env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            other => other,
        };
        let packaged = modules.join(format!("node-linux-{architecture}/bin/node"));
        Self {
            node: if packaged.exists() { packaged } else { PathBuf::from("node") },
            search_path: search_path.to_owned(),
            package: modules.join("@modelcontextprotocol/conformance"),
        }
    }

    /// All server scenarios of a revision, also those that it does not score.
    ///
    /// # Errors
    /// If the suite cannot be run. Checks that fail are no error.
    pub(crate) fn server(&self, url: &str, revision: &str, output: &Path) -> Outcome<Results> {
        let mut command = self.start("server", output)?;
        command.args(["--url", url, "--requirements", revision, "--timeout", TIMEOUT_MS]);
        run_to_end(&mut command, &output.join("suite.log"))?;
        results::read(output, "server-")
    }

    fn start(&self, leg: &str, output: &Path) -> Outcome<Command> {
        fs::create_dir_all(output).cannot(|| format!("create {}", output.display()))?;
        let mut command = process::command(&self.node, output);
        command.arg(self.package.join("dist/index.js")).env("PATH", &self.search_path);
        command.stdin(Stdio::null()).arg(leg).arg("--output-dir").arg(output);
        Ok(command)
    }

    /// The client scenarios of a revision that a connector can be put to.
    ///
    /// # Errors
    /// If the suite cannot be run, or the client is missing. Checks that fail are no error.
    pub(crate) fn clients(&self, client: &Path, revision: &str, output: &Path) -> Outcome<Results> {
        if !client.exists() {
            return Err(Failure::new(format!("{} is not built", client.display())));
        }
        let set = self.package.join(format!("requirements/{revision}.yaml"));
        let set = fs::read_to_string(&set).cannot(|| format!("read {}", set.display()))?;
        let mut all = Results::new();
        for scenario in client_scenarios(&set) {
            let folder = output.join(&scenario);
            let mut command = self.start("client", &folder)?;
            command.arg("--command").arg(client).args(["--scenario", &scenario]);
            command.args(["--spec-version", revision, "--force", "--timeout", TIMEOUT_MS]);
            let passed = run_to_end(&mut command, &folder.join("suite.log"))?;
            let mut found = results::read(&folder, "")?;
            let mut checks = found.remove(&scenario).unwrap_or_default();
            let failed = |it: &Check| matches!(it.status, Status::Failure | Status::Warning);
            if !passed && !checks.iter().any(failed) {
                let message = "the client ended with an error, or not at all".to_owned();
                let id = "client-exit".to_owned();
                checks.push(Check { id, status: Status::Failure, message });
            }
            all.insert(scenario, checks);
        }
        Ok(all)
    }
}

/// Runs to the end, whatever it ends with; whether that was success. What it prints goes to a
/// file: it is a thousand lines.
fn run_to_end(command: &mut Command, log: &Path) -> Outcome<bool> {
    let open = || fs::File::create(log).cannot(|| format!("write {}", log.display()));
    let output = open()?;
    let errors = output.try_clone().cannot(|| format!("write {}", log.display()))?;
    let status = command.stdout(output).stderr(errors).status();
    Ok(status.cannot(|| "start Node.js".into())?.success())
}
