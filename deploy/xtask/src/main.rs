//! The project's own tasks, started as `cargo xtask TASK`.
//!
//! One module per task; `tools` finds or installs what a task needs, `tidy` holds the rules of
//! the tree that no other tool checks. This file only reads the command line.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command-line tool speaks on its terminal"
)]

mod bench;
mod conformance;
mod crash;
mod failure;
mod fuzz;
mod lint;
mod process;
mod test;
mod tidy;
mod tools;
mod up;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Outcome;
use crate::workspace::Workspace;

/// Builds, runs, checks and tests the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build `mcp-orch` and run `mcp-orch up` with the arguments that follow.
    ///
    /// `--release` among them builds the optimised binary, and is not passed on. `--cluster`
    /// starts PostgreSQL, NATS, a server with Vault's API and each service as processes, as the
    /// compose file describes them.
    Up {
        /// Arguments of `mcp-orch up`, such as `--demo` or `--config mcp.json`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        arguments: Vec<String>,
    },
    /// Install what the tests need, build, and run all tests.
    Test {
        /// Arguments of `cargo nextest run`, such as a part of a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        arguments: Vec<String>,
    },
    /// Check format, lints, licences and sources, contracts, and the rules of the tree.
    Lint(lint::Options),
    /// Check the rules of the tree: arrows, map, sizes, links, migrations.
    Tidy {
        /// Write down sizes that shrank; a size that grew stays a finding.
        #[arg(long)]
        bless: bool,
    },
    /// All that a change must pass: lint, then test.
    Ci,
    /// Run the official conformance suite on the fixture, the gateway and the connector.
    Conformance(conformance::Options),
    /// Measure calls through a release build; arguments go to the bench.
    Bench {
        /// Arguments of the bench, such as `--help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        arguments: Vec<String>,
    },
    /// Kill, stop and pause every part under load, and hold what was answered against the log.
    Crash(crash::Options),
    /// Run the fuzz targets of the wire under libFuzzer.
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Outcome {
    let workspace = Workspace::load()?;
    match task {
        Task::Up { arguments } => up::run(&workspace, arguments),
        Task::Test { arguments } => test::run(&workspace, &arguments),
        Task::Lint(options) => lint::run(&workspace, &options),
        Task::Tidy { bless } => tidy::run(&workspace, bless),
        Task::Ci => {
            lint::run(&workspace, &lint::Options::default())?;
            test::run(&workspace, &[])
        }
        Task::Conformance(options) => conformance::run(&workspace, &options),
        Task::Bench { arguments } => bench::run(&workspace, &arguments),
        Task::Crash(options) => crash::run(&workspace, &options),
        Task::Fuzz(options) => fuzz::run(&workspace, &options),
    }
}
