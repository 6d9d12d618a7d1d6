//! The configuration of `mcp-orch worker`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{NatsSettings, SecretsSettings, VaultSettings};

/// What a worker is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WorkerServiceConfig {
    /// Where `mcp-orch.log` is written; without it the log goes to stderr alone.
    pub(crate) logs: Option<PathBuf>,
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    pub(crate) admin_listen: SocketAddr,
    /// What this worker has that others may not have, such as `docker`: servers can ask for it.
    pub(crate) labels: Vec<String>,
    /// How much it gets compared with others.
    pub(crate) weight: u32,
    /// Most servers that it takes; 0 means no limit of its own.
    pub(crate) capacity: u32,
    /// Go without Vault.
    pub(crate) local_secrets_in_a_cluster: bool,
    /// Where the sealed secrets are without Vault: one directory for all services.
    pub(crate) local_secrets: Option<PathBuf>,
    /// The bus.
    pub(crate) nats: NatsSettings,
    /// The secrets.
    pub(crate) vault: VaultSettings,
}

impl Default for WorkerServiceConfig {
    fn default() -> Self {
        Self {
            logs: None,
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            labels: Vec::new(),
            weight: 1,
            capacity: 0,
            local_secrets_in_a_cluster: false,
            local_secrets: None,
            nats: NatsSettings::default(),
            vault: VaultSettings::default(),
        }
    }
}

impl WorkerServiceConfig {
    /// Where its secrets are.
    pub(crate) fn secrets(&self) -> SecretsSettings {
        SecretsSettings {
            vault: self.vault.clone(),
            local_allowed: self.local_secrets_in_a_cluster,
            local: self.local_secrets.clone(),
        }
    }
}
