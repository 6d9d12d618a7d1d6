//! `cargo xtask bench`: builds everything optimised and runs the bench on it.

use crate::failure::Outcome;
use crate::process;
use crate::workspace::Workspace;

/// Builds all binaries in release and runs `bench` with the arguments.
///
/// # Errors
/// If the build or the bench fails.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Outcome {
    // All binaries: the bench finds the upstream fixtures beside its own file.
    process::run(process::cargo(&workspace.root).args([
        "build",
        "--release",
        "--workspace",
        "--exclude",
        "xtask",
        "--bins",
    ]))?;
    let binaries = workspace.target.join("release");
    process::run(
        process::command(binaries.join("bench"), &workspace.root)
            .args(arguments)
            .env("MCP_ORCH_BIN", binaries.join("mcp-orch")),
    )
}
