//! `cargo xtask crash`: sudden death of every part under load, as often as is asked for.

use clap::Args;

use crate::failure::Outcome;
use crate::test;
use crate::workspace::Workspace;

/// How often, and in which order.
#[derive(Args)]
pub(crate) struct Options {
    /// Kills, stops and pauses of a cluster's parts, and as many deaths of `up`.
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Repeats a run; without it each run has a seed of its own, and prints it.
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs both: a cluster on PostgreSQL and NATS, and one process on SQLite.
///
/// # Errors
/// As of [`test::run`].
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    let tests = "test(=crash::cluster::what_was_answered_is_on_record_once_whoever_dies) or \
                 test(=crash::rounds::what_was_answered_is_on_record_exactly_once_after_any_death)";
    let arguments = ["--profile", "crash", "--no-capture", "-E", tests].map(str::to_owned);
    let mut variables = vec![("MCP_ORCH_TEST_KILLS", options.kills.to_string())];
    variables.extend(options.seed.map(|seed| ("MCP_ORCH_TEST_SEED", seed.to_string())));
    test::run_with(workspace, &arguments, &variables)
}
