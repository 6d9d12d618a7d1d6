//! `mcp-orch secrets`: Vault made ready for a cluster, and filled from the sealed file of a
//! local `up`.

mod prepare;

use anyhow::{Context, Result};
use secrets::{LocalStore, VaultStore};

use super::table::say;
use crate::cli::cluster::SecretsCommand;
use crate::config::ControlPlaneConfig;

/// Does as it was told.
pub(crate) async fn run(command: SecretsCommand) -> Result<()> {
    match command {
        SecretsCommand::Prepare { address, directory } => prepare::run(&address, &directory).await,
        SecretsCommand::Migrate { from, config } => {
            let config = runtime::config::load(config.as_deref(), &NoFlags {})?;
            migrate(&from, config).await
        }
    }
}

#[derive(serde::Serialize)]
struct NoFlags {}

async fn migrate(from: &std::path::Path, config: ControlPlaneConfig) -> Result<()> {
    let directory = from.to_owned();
    let source = tokio::task::spawn_blocking(move || LocalStore::open(&directory))
        .await?
        .with_context(|| format!("cannot open the secrets in {}", from.display()))?;
    let target = VaultStore::connect(config.vault.to_config()?).await?;
    let report = secrets::migrate(&source, &target).await?;
    say(&format!(
        "{} secrets are in Vault: {} versions written, {} were there",
        report.paths, report.written, report.found
    ));
    Ok(())
}
