//! The configuration of `mcp-orch control-plane`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{NatsSettings, PostgresSettings, SecretsSettings, VaultSettings};
use crate::wiring::Endpoint;

/// What a control-plane is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ControlPlaneConfig {
    /// Where the views are kept, which are made anew from the log where they are missing.
    pub(crate) data: PathBuf,
    /// Where `mcp-orch.log` is written; without it the log goes to stderr alone.
    pub(crate) logs: Option<PathBuf>,
    /// Where gRPC and REST are served.
    pub(crate) listen: SocketAddr,
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    pub(crate) admin_listen: SocketAddr,
    /// The URL of the whole installation, for every URL that is given out.
    pub(crate) public_url: Option<String>,
    /// Plain HTTP on an address that others can reach.
    pub(crate) allow_plaintext: bool,
    /// Go without Vault.
    pub(crate) local_secrets_in_a_cluster: bool,
    /// Where the sealed secrets are without Vault: one directory for all services.
    pub(crate) local_secrets: Option<PathBuf>,
    /// The log.
    pub(crate) postgres: PostgresSettings,
    /// The bus.
    pub(crate) nats: NatsSettings,
    /// The secrets.
    pub(crate) vault: VaultSettings,
}

impl Default for ControlPlaneConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            logs: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            public_url: None,
            allow_plaintext: false,
            local_secrets_in_a_cluster: false,
            local_secrets: None,
            postgres: PostgresSettings::default(),
            nats: NatsSettings::default(),
            vault: VaultSettings::default(),
        }
    }
}

impl ControlPlaneConfig {
    /// Where it listens.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            listen: self.listen,
            admin_listen: self.admin_listen,
            public_url: self.public_url.clone(),
            allow_plaintext: self.allow_plaintext,
        }
    }

    /// Where its secrets are.
    pub(crate) fn secrets(&self) -> SecretsSettings {
        SecretsSettings {
            vault: self.vault.clone(),
            local_allowed: self.local_secrets_in_a_cluster,
            local: self.local_secrets.clone(),
        }
    }
}
