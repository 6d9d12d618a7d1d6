//! The configuration of `mcp-orch edge`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{NatsSettings, SecretsSettings, VaultSettings};
use crate::wiring::Endpoint;

/// What an edge is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EdgeServiceConfig {
    /// Where `mcp-orch.log` is written; without it the log goes to stderr alone.
    pub(crate) logs: Option<PathBuf>,
    /// Where MCP clients connect.
    pub(crate) listen: SocketAddr,
    /// Where `/metrics`, `/healthz` and `/readyz` are.
    pub(crate) admin_listen: SocketAddr,
    /// The URL of the whole installation, for every URL that is given out.
    pub(crate) public_url: Option<String>,
    /// Plain HTTP on an address that others can reach.
    pub(crate) allow_plaintext: bool,
    /// Origins of web pages that may speak to it, beside its own.
    pub(crate) allowed_origins: Vec<String>,
    /// Seconds after which the session of a silent client ends.
    pub(crate) session_idle: u64,
    /// Most sessions that one key may have open.
    pub(crate) sessions_per_key: usize,
    /// Go without Vault.
    pub(crate) local_secrets_in_a_cluster: bool,
    /// Where the sealed secrets are without Vault: one directory for all services.
    pub(crate) local_secrets: Option<PathBuf>,
    /// The bus.
    pub(crate) nats: NatsSettings,
    /// The secrets, for the key of signed states alone.
    pub(crate) vault: VaultSettings,
}

impl Default for EdgeServiceConfig {
    fn default() -> Self {
        Self {
            logs: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            public_url: None,
            allow_plaintext: false,
            allowed_origins: Vec::new(),
            session_idle: 1_800,
            sessions_per_key: 2_000,
            local_secrets_in_a_cluster: false,
            local_secrets: None,
            nats: NatsSettings::default(),
            vault: VaultSettings::default(),
        }
    }
}

impl EdgeServiceConfig {
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
