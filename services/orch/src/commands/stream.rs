//! `mcp-orch stream rebuild`: the stream of published events anew from the log.

use anyhow::{Context, Result};

use super::table::say;
use crate::cli::cluster::StreamCommand;
use crate::config::ControlPlaneConfig;

#[derive(serde::Serialize)]
struct NoFlags {}

/// Does as it was told.
pub(crate) async fn run(command: StreamCommand) -> Result<()> {
    let StreamCommand::Rebuild { config } = command;
    let config: ControlPlaneConfig = runtime::config::load(config.as_deref(), &NoFlags {})?;
    let opened = event_store::PostgresConfig::new(
        config.postgres.app()?,
        config.postgres.log()?,
        runtime::clock::system(),
    );
    let store = event_store::PostgresEventStore::open(opened).await?;
    let stream = bus::nats::rebuild(config.nats.to_config("control-plane")?).await?;
    let rebuilt = control_plane::backbone::rebuild_stream(&store, stream).await;
    store.close().await;
    let events = rebuilt.context("the stream is not as the log")?;
    say(&format!("{events} events are in the stream again"));
    Ok(())
}
