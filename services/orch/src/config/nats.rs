//! The bus of a cluster.

use std::path::PathBuf;

use anyhow::{Result, bail};
use bus::NatsConfig;
use serde::{Deserialize, Serialize};

use super::secret::{Hidden, resolve};

/// How a service reaches NATS.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NatsSettings {
    /// The servers: `tls://host:port`, or `nats://…` without TLS.
    pub(crate) urls: Vec<String>,
    /// The certificate of the authority that signed theirs, as PEM; else those of the system.
    pub(crate) ca: Option<PathBuf>,
    /// The seed of this service's NKey.
    pub(crate) nkey_seed: Option<Hidden>,
    /// The file with it.
    pub(crate) nkey_seed_file: Option<PathBuf>,
    /// What all subjects, streams and buckets begin with: one for each installation.
    pub(crate) namespace: String,
    /// How many servers keep what is stored.
    pub(crate) replicas: u8,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            ca: None,
            nkey_seed: None,
            nkey_seed_file: None,
            namespace: "mcp_orch".to_owned(),
            replicas: 1,
        }
    }
}

impl NatsSettings {
    /// What the bus is opened with by `service`.
    ///
    /// # Errors
    /// When no server is named, or the seed cannot be read.
    pub(crate) fn to_config(&self, service: &'static str) -> Result<NatsConfig> {
        if self.urls.is_empty() {
            bail!("nats.urls is missing: the services of a cluster meet over NATS");
        }
        Ok(NatsConfig {
            urls: self.urls.clone(),
            service,
            nkey_seed: resolve(
                "nats.nkey_seed",
                self.nkey_seed.as_ref(),
                self.nkey_seed_file.as_ref(),
            )?,
            ca: self.ca.clone(),
            namespace: self.namespace.clone(),
            replicas: self.replicas,
        })
    }
}
