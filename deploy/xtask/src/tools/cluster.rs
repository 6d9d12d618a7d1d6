//! The programs that a cluster is made of beside our own: a database, a bus, a store of secrets.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::Outcome;
use crate::tools::{nats, postgres, python};
use crate::workspace::Workspace;

/// Where they are.
pub(crate) struct Programs {
    postgres: PathBuf,
    nats: PathBuf,
    bao: PathBuf,
}

impl Programs {
    /// Takes the machine's, or else installs them.
    ///
    /// # Errors
    /// If one is missing and cannot be installed.
    pub(crate) fn find_or_install(workspace: &Workspace) -> Outcome<Self> {
        Ok(Self {
            postgres: postgres::find_or_install(workspace)?,
            nats: nats::find_or_install(workspace)?,
            // The real server with Vault's API, packed for pip.
            bao: python::environment(workspace, "openbao")?.join("bao"),
        })
    }

    /// Says where they are to what starts them.
    pub(crate) fn tell(&self, command: &mut Command) {
        command
            .env("MCP_ORCH_TEST_POSTGRES_BIN", &self.postgres)
            .env("MCP_ORCH_TEST_NATS_SERVER", &self.nats)
            .env("MCP_ORCH_TEST_BAO", &self.bao);
    }
}
