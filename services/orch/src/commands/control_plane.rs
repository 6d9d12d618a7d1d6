//! `mcp-orch control-plane`: commands, queries, records and leases of a cluster.

use anyhow::Result;

use super::bootstrap;
use crate::cli::cluster::{ControlPlaneArgs, ControlPlaneCommand};
use crate::config::ControlPlaneConfig;
use crate::wiring::{AdminPort, ClusterControlPlane, Process, open};

/// Runs until SIGTERM or SIGINT, or makes the first owner.
pub(crate) async fn run(args: ControlPlaneArgs) -> Result<()> {
    let config: ControlPlaneConfig = runtime::config::load(args.config.as_deref(), &args.flags)?;
    match args.command {
        Some(ControlPlaneCommand::Bootstrap(wanted)) => bootstrap::run(config, wanted).await,
        None => serve(config).await,
    }
}

async fn serve(config: ControlPlaneConfig) -> Result<()> {
    // Before anything is opened: what cannot be used is said at once.
    config.secrets().choose()?;
    let listening = open(&config.endpoint(), AdminPort::AsGiven).await?;
    let mut process = Process::start(config.logs.clone(), listening.admin)?;
    let started =
        ClusterControlPlane::start(&config, &listening.public_url, &process.health, &process.stop);
    let Some(control) = process.unless_stopped(started).await? else { return Ok(()) };
    process.serve(listening.main, control.router());
    process.asked_to_stop().await;
    control.stop().await;
    process.end().await;
    Ok(())
}
