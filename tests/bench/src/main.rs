//! The bench: what the product adds to a call, compared in one run with calling the upstream
//! directly and with a bare proxy hop.
//!
//! What always holds: each message is unique and each answer is checked, executions are counted
//! by the upstream itself, and modes alternate in rounds so that drift of the machine hits all
//! of them alike.

mod affinity;
mod cost;
mod error;
mod goal;
mod http_client;
mod load;
mod orchestrator;
mod report;
mod sample;
mod scenario;
mod session;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::report::Report;
use crate::scenario::{isolation, memory, transport};

#[derive(Parser)]
#[command(about = "Measures what mcp-orch adds to a call; without a scenario, runs all of them")]
struct Arguments {
    #[command(subcommand)]
    scenario: Option<Scenario>,
    /// The mcp-orch to measure; by default the one next to this program.
    #[arg(long, global = true, value_name = "FILE")]
    bin: Option<PathBuf>,
    /// Write the figures to this file, as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with 1 when a stated goal is missed.
    #[arg(long, global = true)]
    check: bool,
    /// Do not pin the load to the first core and the servers to the second.
    #[arg(long, global = true)]
    no_pin: bool,
}

#[derive(Subcommand)]
enum Scenario {
    /// Echo at 1, 8 and 32 sessions: direct, through the floor, through the unified endpoint.
    Transport(transport::Options),
    /// A healthy server alone, and beside three broken ones.
    Isolation(isolation::Options),
    /// Memory of `up` with 20 idle servers, after 1,000 calls and a login.
    Memory(memory::Options),
}

fn main() -> Result<ExitCode, Error> {
    let arguments = Arguments::parse();
    let report = run(&arguments)?;
    writeln!(io::stdout(), "{}", report.text())?;
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    let missed = arguments.check && !report.goals_met();
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run(arguments: &Arguments) -> Result<Report, Error> {
    let cores = affinity::Cores::find(!arguments.no_pin)?;
    let bin = || match &arguments.bin {
        Some(path) => Ok(path.clone()),
        None => fixtures::binary("mcp-orch"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut report = Report::new(&cores);
        match &arguments.scenario {
            Some(Scenario::Transport(options)) => {
                report.transport = Some(transport::run(options, &cores, bin).await?);
            }
            Some(Scenario::Isolation(options)) => {
                report.isolation = Some(isolation::run(options, &cores, &bin()?).await?);
            }
            Some(Scenario::Memory(options)) => {
                report.memory = Some(memory::run(options, &bin()?).await?);
            }
            None => {
                // Memory comes first: it is the one scenario that runs unpinned.
                report.memory = Some(memory::run(&memory::Options::default(), &bin()?).await?);
                let options = transport::Options::default();
                report.transport = Some(transport::run(&options, &cores, bin).await?);
                let options = isolation::Options::default();
                report.isolation = Some(isolation::run(&options, &cores, &bin()?).await?);
            }
        }
        Ok(report)
    })
}
