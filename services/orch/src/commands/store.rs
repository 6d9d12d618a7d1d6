//! `mcp-orch store copy`: from the SQLite of a local `up` to PostgreSQL.

use anyhow::{Context, Result};
use event_store::{SqliteConfig, SqliteEventStore};
use runtime::clock;

use super::migrate::admin_url;
use super::table::say;
use crate::cli::cluster::StoreCommand;
use crate::wiring::LOG_FILE;

/// Does as it was told.
pub(crate) async fn run(command: StoreCommand) -> Result<()> {
    let StoreCommand::Copy { from, to } = command;
    let log = SqliteConfig::new(from.join(LOG_FILE), clock::system());
    let source = SqliteEventStore::open_read_only(log)
        .await
        .with_context(|| format!("cannot read the log in {}", from.display()))?;
    let copied = event_store::copy(&source, &admin_url(&to)?).await;
    source.close().await;
    let report = copied?;
    say(&format!("copied and verified: {report:?}"));
    Ok(())
}
