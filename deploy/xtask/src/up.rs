//! `cargo xtask up`: from a clone to a running system.
//!
//! The default build is the quick one, for a person who waits for a URL; an optimised binary
//! that is newer than every source is used as it is.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use crate::failure::{Context, Outcome};
use crate::process;
use crate::tools::cluster::Programs;
use crate::workspace::Workspace;

/// What the binary is made of, relative to the root.
const SOURCES: [&str; 6] =
    ["Cargo.lock", "Cargo.toml", "migrations", "proto", "services", "web/dist"];

/// Builds the binary where needed and becomes `mcp-orch up`, or with `--cluster` a whole cluster.
///
/// # Errors
/// If the build fails or the binary cannot be started; it does not return otherwise.
pub(crate) fn run(workspace: &Workspace, mut arguments: Vec<String>) -> Outcome {
    if arguments.iter().any(|argument| argument == "--cluster") {
        arguments.retain(|argument| argument != "--cluster");
        return cluster(workspace, arguments);
    }
    let release = arguments.iter().any(|argument| argument == "--release");
    arguments.retain(|argument| argument != "--release");
    let binary = if release {
        build(workspace, Profile::Release, &["mcp-orch"])?
    } else {
        match fresh_release(workspace) {
            Some(binary) => binary,
            None => build(workspace, Profile::Dev, &["mcp-orch"])?,
        }
    };
    let error = process::command(&binary, &std::env::current_dir().unwrap_or_default())
        .arg("up")
        .args(arguments)
        .exec();
    Err(error).cannot(|| format!("start {}", binary.display()))
}

/// Provides what a cluster needs, builds, and becomes the program that runs one from the compose
/// file.
fn cluster(workspace: &Workspace, mut arguments: Vec<String>) -> Outcome {
    let release = arguments.iter().any(|argument| argument == "--release");
    arguments.retain(|argument| argument != "--release");
    let profile = if release { Profile::Release } else { Profile::Dev };
    let programs = Programs::find_or_install(workspace)?;
    let binary = build(workspace, profile, &["mcp-orch", "cluster"])?;
    let runner = binary.with_file_name("cluster");
    let mut command = process::command(&runner, &std::env::current_dir().unwrap_or_default());
    programs.tell(&mut command);
    let error = command
        .arg("up")
        .arg("--compose")
        .arg(workspace.root.join("deploy/compose/compose.yaml"))
        .args(arguments)
        .env("MCP_ORCH_BIN", &binary)
        .exec();
    Err(error).cannot(|| format!("start {}", runner.display()))
}

#[derive(Clone, Copy, PartialEq)]
enum Profile {
    Dev,
    Release,
}

fn build(workspace: &Workspace, profile: Profile, binaries: &[&str]) -> Outcome<PathBuf> {
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    };
    let binary = workspace.target.join(folder).join("mcp-orch");
    if !binary.exists() {
        eprintln!(
            "building mcp-orch from source; the first time takes about {} on two cores",
            match profile {
                Profile::Dev => "three minutes (`--release`: seven, for the fast binary)",
                Profile::Release => "seven minutes",
            }
        );
    }
    let started = Instant::now();
    // The whole workspace is named so that features unify as they do for the tests, and
    // neither build throws away the other's dependencies.
    let mut cargo = process::cargo(&workspace.root);
    cargo.args(["build", "--workspace"]);
    cargo.args(binaries.iter().flat_map(|binary| ["--bin", binary]));
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    process::run(&mut cargo)?;
    eprintln!("built in {} s", started.elapsed().as_secs());
    Ok(binary)
}

fn fresh_release(workspace: &Workspace) -> Option<PathBuf> {
    let binary = workspace.target.join("release/mcp-orch");
    let built = fs::metadata(&binary).and_then(|metadata| metadata.modified()).ok()?;
    let changed = SOURCES.iter().filter_map(|source| newest(&workspace.root.join(source))).max()?;
    (built > changed).then_some(binary)
}

/// When the newest file under `path` was written; `None` where there is none.
fn newest(path: &Path) -> Option<SystemTime> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_dir() {
        return metadata.modified().ok();
    }
    let entries = fs::read_dir(path).ok()?;
    entries.filter_map(|entry| newest(&entry.ok()?.path())).max()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn workspace(root: &Path) -> Workspace {
        Workspace { root: root.to_owned(), target: root.join("target"), crates: Vec::new() }
    }

    fn write(path: &Path, written_s: u64) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("folder");
        fs::write(path, "").expect("written");
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(written_s);
        fs::File::options().write(true).open(path).expect("open").set_modified(time).expect("time");
    }

    #[test]
    fn a_release_binary_is_used_only_while_no_source_is_newer() {
        let root = tempfile::tempdir().expect("folder");
        let workspace = workspace(root.path());
        let source = root.path().join("services/edge/src/lib.rs");
        write(&source, 100);
        assert_eq!(fresh_release(&workspace), None);

        let binary = root.path().join("target/release/mcp-orch");
        write(&binary, 200);
        assert_eq!(fresh_release(&workspace), Some(binary));

        write(&source, 300);
        assert_eq!(fresh_release(&workspace), None);
    }
}
