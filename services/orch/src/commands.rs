//! One module for each command.

mod announce;
mod bootstrap;
mod call;
mod connect;
mod control_plane;
pub(crate) mod demo_server;
mod doctor;
mod edge;
mod health;
mod import;
mod key;
mod login;
mod migrate;
mod prepare;
mod project;
mod replay;
mod secrets;
mod server;
mod store;
mod stream;
mod table;
mod tool;
mod up;
mod worker;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

use crate::cli::Command;

/// Runs a command that needs the asynchronous runtime, and says on stderr why it failed.
pub(crate) fn run(command: Command) -> ExitCode {
    // Fails only when a provider is installed already, and then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match block_on(command) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the answer to whoever typed the command")]
fn complain(message: &str) {
    eprintln!("mcp-orch: {message}");
}

fn block_on(command: Command) -> Result<ExitCode> {
    let runtime = runtime().context("cannot start the runtime")?;
    let code = runtime.block_on(dispatch(command))?;
    // A thread that waits for standard input must not keep the process.
    runtime.shutdown_background();
    Ok(code)
}

/// On one core a thread that hands work to another one gains nothing: everything then runs on
/// this one, which also takes what is ready in turn and so finds more of it in its caches.
fn runtime() -> std::io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut builder = match cores {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => up::run(args).await?,
        Command::Connect(args) => connect::run(args).await?,
        Command::Import(args) => import::run(args).await?,
        Command::Login(args) => login::run(args).await?,
        Command::Project(command) => project::run(command).await?,
        Command::Server(command) => return server::run(command).await,
        Command::Tool(command) => tool::run(command).await?,
        Command::Key(command) => key::run(command).await?,
        Command::Call(command) => call::run(command).await?,
        Command::ControlPlane(args) => control_plane::run(*args).await?,
        Command::Worker(args) => worker::run(args).await?,
        Command::Edge(args) => edge::run(args).await?,
        Command::Prepare(args) => prepare::run(&args)?,
        Command::Migrate(args) => migrate::run(&args).await?,
        Command::Stream(command) => stream::run(command).await?,
        Command::Store(command) => store::run(command).await?,
        Command::Secrets(command) => secrets::run(command).await?,
        Command::Health(args) => health::run(&args).await?,
        Command::Replay(args) => return replay::run(args).await,
        Command::Doctor => return Ok(doctor::run()),
        Command::DemoServer | Command::Reaper { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}
