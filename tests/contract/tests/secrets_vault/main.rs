//! The contract of secret stores over a real server with Vault's API, and what only that
//! adapter promises.

#![expect(clippy::unwrap_used, reason = "a helper of tests panics as a test does")]

mod canary;
mod contract;
mod login;
mod migration;
mod outage;
mod policy;
mod tenancy;
mod transit;

use std::future::Future;
use std::time::Duration;

use fixtures::vault::Vault;
use secrets::{Credential, TransitConfig, VaultConfig, VaultLogin, VaultStore};

/// A server, a mount of this test alone, and how a store reaches them as root.
struct Seat {
    vault: Vault,
    config: VaultConfig,
}

impl Seat {
    fn new() -> Self {
        Self::on(Vault::start().unwrap())
    }

    fn on(vault: Vault) -> Self {
        let mount = vault.mount().unwrap();
        let login = VaultLogin::Token(credential(vault.token()));
        let config = VaultConfig { mount, ..VaultConfig::new(vault.address(), login) };
        Self { vault, config }
    }

    fn with_transit() -> Self {
        let mut seat = Self::new();
        let mount = seat.vault.transit().unwrap();
        seat.config.transit = Some(TransitConfig { mount, ..TransitConfig::default() });
        seat
    }

    /// The same place, logged in otherwise.
    fn config(&self, login: VaultLogin) -> VaultConfig {
        VaultConfig { login, ..self.config.clone() }
    }

    async fn store(&self) -> VaultStore {
        VaultStore::connect(self.config.clone()).await.unwrap()
    }

    async fn store_as(&self, login: VaultLogin) -> VaultStore {
        VaultStore::connect(self.config(login)).await.unwrap()
    }
}

fn credential(value: &str) -> Credential {
    Credential::Value(value.to_owned().into())
}

/// Waits for a condition, at most half a minute.
async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let wait = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !condition().await {
            ticks.tick().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(waited.is_ok(), "this never came: {what}");
}
