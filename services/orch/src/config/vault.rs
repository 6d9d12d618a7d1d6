//! The secrets of a cluster: Vault, or in so many words without it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use secrets::{Credential, TransitConfig, VaultConfig, VaultLogin};
use serde::{Deserialize, Serialize};

use super::secret::{Hidden, require};

/// How a service logs in to Vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LoginMethod {
    /// With `role_id` and `secret_id`.
    #[default]
    AppRole,
    /// With the token in `jwt_file`, as `role`.
    Jwt,
    /// With the pod's service account, or the token in `jwt_file`, as `role`.
    Kubernetes,
    /// With a `token` that somebody else renews.
    Token,
}

/// How a service reaches a server with Vault's API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VaultSettings {
    /// The URL, such as `https://vault.internal:8200`; without it there is no Vault.
    pub(crate) address: Option<String>,
    /// The certificate of the authority that signed the server's, as PEM.
    pub(crate) ca: Option<PathBuf>,
    /// The namespace in which the mounts are.
    pub(crate) namespace: Option<String>,
    /// Where the KV engine (version 2) is mounted; may contain `{tenant}`.
    pub(crate) mount: String,
    /// The folder of all our secrets in that mount.
    pub(crate) prefix: String,
    /// Where the transit engine is mounted that seals each tenant's values; none without it.
    pub(crate) transit_mount: Option<String>,
    /// How to log in.
    pub(crate) login: LoginMethod,
    /// Where the method is mounted, where that is not its own name.
    pub(crate) login_mount: Option<String>,
    /// As which role, with `jwt` and `kubernetes`.
    pub(crate) role: Option<String>,
    /// As which role, with `approle`.
    pub(crate) role_id: Option<String>,
    /// What proves it, with `approle`.
    pub(crate) secret_id: Option<Hidden>,
    /// The file with it, read anew at each login.
    pub(crate) secret_id_file: Option<PathBuf>,
    /// What proves it, with `token`.
    pub(crate) token: Option<Hidden>,
    /// The file with it, read anew at each login.
    pub(crate) token_file: Option<PathBuf>,
    /// The file with the token, with `jwt` and `kubernetes`.
    pub(crate) jwt_file: Option<PathBuf>,
}

impl Default for VaultSettings {
    fn default() -> Self {
        Self {
            address: None,
            ca: None,
            namespace: None,
            mount: "secret".to_owned(),
            prefix: "mcp-orch".to_owned(),
            transit_mount: None,
            login: LoginMethod::default(),
            login_mount: None,
            role: None,
            role_id: None,
            secret_id: None,
            secret_id_file: None,
            token: None,
            token_file: None,
            jwt_file: None,
        }
    }
}

/// Where the secrets of a service are.
#[derive(Clone, Debug)]
pub(crate) struct SecretsSettings {
    /// Vault, if it has an address.
    pub(crate) vault: VaultSettings,
    /// Whether somebody said that it goes without.
    pub(crate) local_allowed: bool,
    /// The directory of the sealed file, without Vault.
    pub(crate) local: Option<PathBuf>,
}

/// Which store of secrets is meant.
#[derive(Debug)]
pub(crate) enum ChosenSecrets {
    /// A server with Vault's API.
    Vault(Box<VaultConfig>),
    /// A sealed file in this directory.
    Local(PathBuf),
}

impl SecretsSettings {
    /// Decides where secrets are kept.
    ///
    /// # Errors
    /// When there is no Vault and nobody said that it goes without, or both are given.
    pub(crate) fn choose(&self) -> Result<ChosenSecrets> {
        match (&self.vault.address, self.local_allowed) {
            (Some(_), false) => Ok(ChosenSecrets::Vault(Box::new(self.vault.to_config()?))),
            (Some(_), true) => {
                bail!("vault.address and --local-secrets-in-a-cluster exclude each other")
            }
            (None, true) => {
                let directory = self.local.clone();
                let directory = directory.context(
                    "--local-secrets-in-a-cluster needs --local-secrets, one directory that all \
                     services of the cluster share",
                )?;
                Ok(ChosenSecrets::Local(directory))
            }
            (None, false) => bail!(
                "vault.address is missing: a cluster keeps its secrets in Vault. To go without, \
                 with the secrets sealed in a directory that all services share, say \
                 --local-secrets-in-a-cluster"
            ),
        }
    }
}

impl VaultSettings {
    /// What the store is opened with.
    ///
    /// # Errors
    /// When what the login needs is missing.
    pub(crate) fn to_config(&self) -> Result<VaultConfig> {
        let address = self.address.clone().context("vault.address is missing")?;
        let mut config = VaultConfig::new(address, self.login()?);
        config.namespace.clone_from(&self.namespace);
        config.mount.clone_from(&self.mount);
        config.prefix.clone_from(&self.prefix);
        config.ca.clone_from(&self.ca);
        config.transit = self
            .transit_mount
            .clone()
            .map(|mount| TransitConfig { mount, ..TransitConfig::default() });
        Ok(config)
    }

    fn login(&self) -> Result<VaultLogin> {
        let mount = |name: &str| self.login_mount.clone().unwrap_or_else(|| name.to_owned());
        let role = || self.role.clone().context("vault.role is missing");
        Ok(match self.login {
            LoginMethod::AppRole => VaultLogin::AppRole {
                mount: mount("approle"),
                role_id: self.role_id.clone().context("vault.role_id is missing")?,
                secret_id: credential(
                    "vault.secret_id",
                    self.secret_id.as_ref(),
                    self.secret_id_file.as_ref(),
                )?,
            },
            LoginMethod::Jwt => {
                let file = self.jwt_file.clone().context("vault.jwt_file is missing")?;
                let (mount, role) = (mount("jwt"), self.role.clone());
                VaultLogin::Jwt { mount, role, jwt: Credential::File(file) }
            }
            LoginMethod::Kubernetes => VaultLogin::Kubernetes {
                mount: mount("kubernetes"),
                role: role()?,
                jwt: self
                    .jwt_file
                    .clone()
                    .map_or_else(Credential::service_account, Credential::File),
            },
            LoginMethod::Token => VaultLogin::Token(credential(
                "vault.token",
                self.token.as_ref(),
                self.token_file.as_ref(),
            )?),
        })
    }
}

/// A file is read at each login, so that whoever rotates it need not restart anything.
fn credential(key: &str, given: Option<&Hidden>, file: Option<&PathBuf>) -> Result<Credential> {
    match (given, file) {
        (None, Some(file)) => Ok(Credential::File(file.clone())),
        _ => Ok(Credential::Value(require(key, given, file)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(address: Option<&str>, local_allowed: bool) -> SecretsSettings {
        let vault = VaultSettings {
            address: address.map(str::to_owned),
            login: LoginMethod::Token,
            token_file: Some("/run/token".into()),
            ..VaultSettings::default()
        };
        SecretsSettings { vault, local_allowed, local: Some("/srv/secrets".into()) }
    }

    #[test]
    fn a_cluster_without_vault_must_be_asked_for_in_so_many_words() {
        let refused = settings(None, false).choose().unwrap_err().to_string();
        assert!(refused.contains("--local-secrets-in-a-cluster"), "{refused}");
        assert!(matches!(settings(None, true).choose().unwrap(), ChosenSecrets::Local(_)));
        let vault = Some("http://127.0.0.1:8200");
        assert!(matches!(settings(vault, false).choose().unwrap(), ChosenSecrets::Vault(_)));
        assert!(settings(vault, true).choose().is_err(), "one of the two would be ignored");
    }

    #[test]
    fn what_a_login_needs_is_named() {
        for (login, missing) in [
            (LoginMethod::AppRole, "vault.role_id"),
            (LoginMethod::Jwt, "vault.jwt_file"),
            (LoginMethod::Kubernetes, "vault.role"),
            (LoginMethod::Token, "vault.token"),
        ] {
            let settings = VaultSettings {
                address: Some("https://vault:8200".to_owned()),
                login,
                ..VaultSettings::default()
            };
            let error = settings.to_config().unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
        }
    }
}
