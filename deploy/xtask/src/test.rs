//! `cargo xtask test`: all tests, with all that they need.
//!
//! A run without arguments takes in the conformance suite.
//!
//! The packages for the system tests are installed while cargo builds. A database, a bus and a
//! store of secrets run for as long as the tests do, for all of them. A test that needs one of
//! them is told by the environment where it is, and fails where the variable is missing.

mod shared;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Instant;

use self::shared::Shared;
use crate::conformance::{self, Suite};
use crate::failure::{Failure, Outcome};
use crate::process;
use crate::tools::cargo_tools::NEXTEST;
use crate::tools::cluster::Programs;
use crate::tools::node::Node;
use crate::tools::python;
use crate::workspace::Workspace;

/// What the system tests use beside the workspace's own binaries.
struct Peers {
    node: Node,
    node_modules: PathBuf,
    /// The `bin` of the environment with the MCP client.
    python_client: PathBuf,
    /// The `bin` of the environment with the MCP servers.
    python_servers: PathBuf,
    programs: Programs,
}

impl Peers {
    /// Says where all of them are.
    fn tell(&self, workspace: &Workspace, command: &mut Command) {
        command
            .env("PATH", self.node.search_path())
            .env("MCP_ORCH_BIN", workspace.target.join("debug/mcp-orch"))
            .env("MCP_ORCH_TEST_NODE_MODULES", &self.node_modules)
            .env("MCP_ORCH_TEST_PYTHON", self.python_client.join("python"))
            .env("MCP_ORCH_TEST_PYTHON_SERVERS", &self.python_servers);
        self.programs.tell(command);
    }
}

/// Installs, builds and runs; `arguments` go to `cargo nextest run`.
///
/// # Errors
/// If something is missing and cannot be installed, the build fails, or a test fails.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Outcome {
    run_with(workspace, arguments, &[])
}

/// The same, with further variables for the tests.
///
/// # Errors
/// As of [`run`].
pub(crate) fn run_with(
    workspace: &Workspace,
    arguments: &[String],
    variables: &[(&str, String)],
) -> Outcome {
    let started = Instant::now();
    let (nextest, peers) = prepare(workspace)?;
    eprintln!("built, and ready to test, after {} s", started.elapsed().as_secs());
    if has_doctests(workspace) {
        // Before the others: the last line of a run is then the count of all tests.
        process::run(process::cargo(&workspace.root).args(["test", "--doc", "--workspace"]))?;
    }
    // Also before them, for the same reason; what it finds does not keep the tests from running.
    let conformance = if arguments.is_empty() {
        let suite = Suite::new(&peers.node_modules, &peers.node.search_path());
        conformance::check(workspace, &conformance::Options::default(), &suite)
    } else {
        Ok(())
    };
    let shared = Shared::start(workspace, &peers.programs)?;
    let nextest = |more: &[&str]| {
        let mut tests = process::command(&nextest, &workspace.root);
        tests.args(["nextest", "run", "--workspace"]).args(more).args(arguments);
        peers.tell(workspace, &mut tests);
        shared.tell(&mut tests);
        tests.envs(variables.iter().map(|(name, value)| (name, value)));
        tests
    };
    // The users' tests once more on a cluster; before the others, for the same reason.
    let on_a_cluster = if arguments.is_empty() {
        process::run(nextest(&["--profile", "cluster"]).env("MCP_ORCH_TEST_CLUSTER", "1"))
    } else {
        Ok(())
    };
    process::run(&mut nextest(&[]))?;
    on_a_cluster?;
    conformance
}

fn prepare(workspace: &Workspace) -> Outcome<(PathBuf, Peers)> {
    thread::scope(|scope| {
        let peers = scope.spawn(|| install_peers(workspace));
        let nextest = NEXTEST.find_or_install(workspace)?;
        // All targets at once, with the features that the tests are built with: nextest then
        // finds everything built, and the binaries that the system tests start are there.
        let mut build = process::cargo(&workspace.root);
        process::run(build.args(["build", "--workspace", "--all-targets"]))?;
        let peers =
            peers.join().map_err(|_| Failure::new("installing for the tests panicked"))??;
        Ok((nextest, peers))
    })
}

fn install_peers(workspace: &Workspace) -> Outcome<Peers> {
    let node = Node::find_or_install(workspace)?;
    Ok(Peers {
        node_modules: node.modules(workspace)?,
        python_client: python::environment(workspace, "client")?,
        python_servers: python::environment(workspace, "servers")?,
        programs: Programs::find_or_install(workspace)?,
        node,
    })
}

/// Whether any library has an example that would run: compiling none takes minutes too.
fn has_doctests(workspace: &Workspace) -> bool {
    workspace.crates.iter().any(|member| {
        let source = workspace.root.join(&member.folder).join("src");
        source.join("lib.rs").exists() && folder_has_doctests(&source)
    })
}

fn folder_has_doctests(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return folder_has_doctests(&path);
        }
        path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(&path).is_ok_and(|source| has_doctest(&source))
    })
}

fn has_doctest(source: &str) -> bool {
    let mut inside = false;
    for line in source.lines().map(str::trim_start) {
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let Some(fence) = doc.and_then(|doc| doc.trim_start().strip_prefix("```")) else {
            continue;
        };
        if inside {
            inside = false;
            continue;
        }
        inside = true;
        let runs =
            |tag: &str| matches!(tag, "" | "rust" | "no_run" | "should_panic" | "compile_fail");
        if fence.split(',').all(|tag| runs(tag.trim())) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::has_doctest;

    #[test]
    fn only_rust_examples_count_as_doctests() {
        assert!(has_doctest("/// ```\n/// let one = 1;\n/// ```\n"));
        assert!(has_doctest("//! ```rust,no_run\n//! run();\n//! ```\n"));
        assert!(!has_doctest("/// ```text\n/// a picture\n/// ```\n"));
        assert!(!has_doctest("/// ```ignore\n/// x\n/// ```\nlet fence = \"```\";\n"));
    }
}
