//! The store of secrets of a process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use runtime::health::{Health, HealthRegistry};
use secrets::{LocalStore, SecretStore, VaultConfig, VaultStanding, VaultStore};
use tokio_util::sync::CancellationToken;

use super::until_there;
use crate::config::{ChosenSecrets, SecretsSettings};

/// Opens the sealed file in `directory`.
///
/// # Errors
/// When it cannot be opened, or its key is not there.
pub(crate) async fn open_local(directory: &Path) -> Result<Arc<dyn SecretStore>> {
    let directory: PathBuf = directory.to_owned();
    let store = tokio::task::spawn_blocking(move || LocalStore::open(&directory)).await??;
    Ok(Arc::new(store))
}

/// Opens the secrets of a cluster's service, and follows whether they are there.
///
/// # Errors
/// When the settings cannot be used, or the process is asked to stop before Vault is there.
pub(crate) async fn open_secrets(
    settings: &SecretsSettings,
    health: &HealthRegistry,
    stop: &CancellationToken,
) -> Result<Arc<dyn SecretStore>> {
    let reporter = health.register("secrets");
    let config = match settings.choose()? {
        ChosenSecrets::Local(directory) => {
            tracing::warn!("this cluster keeps its secrets without Vault, as it was told to");
            let store = open_local(&directory).await?;
            reporter.set(Health::Ok);
            return Ok(store);
        }
        ChosenSecrets::Vault(config) => config,
    };
    let store = until_there("Vault", &reporter, stop, async || {
        VaultStore::connect(VaultConfig::clone(&config)).await
    })
    .await?;
    let mut standing = store.standing();
    tokio::spawn(async move {
        loop {
            let now = standing.borrow_and_update().clone();
            reporter.set(match now {
                VaultStanding::Serving => Health::Ok,
                VaultStanding::Away { cause } => Health::Degraded(cause),
            });
            if standing.changed().await.is_err() {
                return;
            }
        }
    });
    Ok(Arc::new(store))
}
