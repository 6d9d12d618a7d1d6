//! The database of a cluster.

use std::path::PathBuf;

use anyhow::Result;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::secret::{Hidden, require};

/// How a control-plane reaches PostgreSQL, as two roles: one that appends and reads, and one that
/// gives positions and publishes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PostgresSettings {
    /// The URL of the role of the application.
    pub(crate) app_url: Option<Hidden>,
    /// The file with it.
    pub(crate) app_url_file: Option<PathBuf>,
    /// The URL of the role of the log.
    pub(crate) log_url: Option<Hidden>,
    /// The file with it.
    pub(crate) log_url_file: Option<PathBuf>,
}

impl PostgresSettings {
    /// The URL of the role of the application.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
    pub(crate) fn app(&self) -> Result<SecretString> {
        require("postgres.app_url", self.app_url.as_ref(), self.app_url_file.as_ref())
    }

    /// The URL of the role of the log.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
    pub(crate) fn log(&self) -> Result<SecretString> {
        require("postgres.log_url", self.log_url.as_ref(), self.log_url_file.as_ref())
    }
}
