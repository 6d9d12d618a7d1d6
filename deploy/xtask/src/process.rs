//! Starting other programs, with the command shown where it fails.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::failure::{Context, Failure, Outcome};

/// What `cargo run` sets for the program that it starts.
///
/// Passed on to another cargo they would change the fingerprint of build scripts that watch
/// them, and every second run would compile half of the dependencies again.
const SET_BY_CARGO_RUN: [&str; 5] =
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];

/// A command in the workspace's root, free of what `cargo run` set for this process.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, root: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root);
    for (name, _) in env::vars_os() {
        let set_by_cargo = name
            .to_str()
            .is_some_and(|name| SET_BY_CARGO_RUN.iter().any(|start| name.starts_with(start)));
        if set_by_cargo {
            command.env_remove(&name);
        }
    }
    command
}

/// The cargo that started this process, or the one on the path.
pub(crate) fn cargo(root: &Path) -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), root)
}

/// Runs with this terminal, to the end.
///
/// # Errors
/// If it cannot be started, or ends with anything but success.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let status = command.status().cannot(|| format!("start `{}`", shown(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{}` ended with {status}", shown(command))))
    }
}

/// Runs to the end and gives back what it printed on its standard output.
///
/// # Errors
/// If it cannot be started, or ends with anything but success: then with all that it printed.
pub(crate) fn capture(command: &mut Command) -> Outcome<String> {
    let output = command.output().cannot(|| format!("start `{}`", shown(command)))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let printed = format!("{stdout}{stderr}");
    Err(Failure::new(format!(
        "`{}` ended with {}\n{}",
        shown(command),
        output.status,
        printed.trim_end()
    )))
}

fn shown(command: &Command) -> String {
    let mut words = vec![Path::new(command.get_program()).file_name().map_or_else(
        || command.get_program().to_string_lossy().into_owned(),
        |name| name.to_string_lossy().into_owned(),
    )];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Whether a program is there and answers `--version`.
pub(crate) fn command_works(program: &str, root: &Path) -> bool {
    capture(command(program, root).arg("--version")).is_ok()
}
