//! `cargo xtask lint`: everything that is checked without running the product.
//!
//! Clippy is what takes long, and what shows its progress; the other steps run beside it and
//! speak when they end. All steps run even where one fails, so that one run shows everything.

mod contracts;
mod report;

use std::env;
use std::thread;

use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::process;
use crate::tidy;
use crate::tools::cargo_tools::DENY;
use crate::workspace::Workspace;
use report::{Note, Report};

/// What can be asked of the lint step.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Also look for known vulnerabilities; fetches the advisory database from the network.
    #[arg(long)]
    advisories: bool,
}

/// Runs all steps and prints what each took.
///
/// # Errors
/// If a step fails.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    let report = Report::default();
    thread::scope(|scope| {
        scope.spawn(|| report.step("tidy", || tidy(workspace)));
        scope.spawn(|| contracts::check(workspace, &report));
        scope.spawn(|| report.step("deny", || deny(workspace, options)));
        report.step("fmt", || format(workspace));
        report.step("clippy", || clippy(workspace));
    });
    report.finish()
}

fn format(workspace: &Workspace) -> Outcome<Note> {
    let mut format = process::cargo(&workspace.root);
    process::capture(format.args(["fmt", "--all", "--check", "--", "--color", "never"]))?;
    Ok(None)
}

fn clippy(workspace: &Workspace) -> Outcome<Note> {
    let mut clippy = process::cargo(&workspace.root);
    clippy.args(["clippy", "--workspace", "--all-targets"]);
    if env::var_os("CI").is_some() {
        // A lock file that was not committed as it is used would show only elsewhere.
        clippy.arg("--locked");
    }
    process::run(clippy.args(["--", "--deny", "warnings"]))?;
    Ok(None)
}

fn deny(workspace: &Workspace, options: &Options) -> Outcome<Note> {
    let program = DENY.find_or_install(workspace)?;
    let mut deny = process::command(program, &workspace.root);
    deny.args(["--log-level", "error", "--config", ".deny.toml", "check"]);
    deny.args(["--hide-inclusion-graph", "licenses", "bans", "sources"]);
    if options.advisories {
        deny.arg("advisories");
    }
    process::capture(&mut deny)?;
    Ok((!options.advisories).then(|| "advisories not asked for".into()))
}

fn tidy(workspace: &Workspace) -> Outcome<Note> {
    let findings = tidy::findings(workspace)?;
    if findings.is_empty() {
        return Ok(None);
    }
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    Err(Failure::new(lines.join("\n")))
}
