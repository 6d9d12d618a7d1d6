//! `mcp-orch`: parses the command line and hands over; each command is a module of its own.

mod cli;
mod commands;
mod config;
mod remote;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

/// A call makes many small allocations: this allocator does them in half the time of the
/// system's, and gives what is not used any more back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        // These two stay free of the asynchronous runtime: a machine may run hundreds of them.
        Command::Reaper { args } => connection_worker::reaper::main(args),
        Command::DemoServer => commands::demo_server::run(),
        command => commands::run(command),
    }
}
