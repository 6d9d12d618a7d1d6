//! Secrets in a server with Vault's API: the KV engine, version 2, and the transit engine.
//!
//! ```text
//! <mount>/data/<prefix>/<tenant>/<path>       {"base64": …}, or {"sealed": …} by transit
//! <mount>/metadata/<prefix>/<tenant>/<path>   which numbers are used: never removed
//! <transit>/keys/<key prefix>-<tenant>        seals all values of the tenant
//! ```
//!
//! What always holds:
//! - A version is written with check-and-set on the number before it, so that no two writers,
//!   in whatever process, get the same one.
//! - A deletion destroys the versions and keeps the numbers, which the engine goes on from.
//! - No value is kept in memory: each one is asked for when it is needed.
//! - Away is said at once, with a cause, and recovers by itself: see [`VaultStanding`].
//! - The library below logs nothing: neither tokens nor values reach a log of it.

mod config;
mod failure;
mod keeper;
mod kv;
mod login;
mod quiet;
mod schedule;
mod sessions;
mod transit;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use domain::TenantId;
use tokio::sync::watch;
use vaultrs::kv2;

use self::config::of_tenant;
pub use self::config::{Credential, TransitConfig, VaultConfig, VaultLogin};
use self::failure::{Failure, provide_tls};
pub(crate) use self::kv::{Entry, Held, History, Written};
use self::sessions::Sessions;
pub use self::sessions::VaultStanding;
use crate::store::check_size;
use crate::{SecretError, SecretPath, SecretRef, SecretStore, SecretValue};

/// How often a put is tried that others come before.
const ATTEMPTS: usize = 64;
/// Most names that one erasure walks through.
const MAX_NAMES: usize = 1_000_000;

/// A [`SecretStore`] in a server with Vault's API. Clones share one login.
///
/// Dropping the last clone ends the renewal of the token, which then ends by itself.
#[derive(Clone)]
pub struct VaultStore {
    sessions: Arc<Sessions>,
}

impl VaultStore {
    /// Logs in, and keeps the login from then on.
    ///
    /// # Errors
    /// [`SecretError::Unavailable`] if the configuration cannot be used, the server cannot be
    /// reached or refuses the login; its text says which.
    pub async fn connect(config: VaultConfig) -> Result<Self, SecretError> {
        config
            .check()
            .map_err(|why| SecretError::Unavailable { detail: format!("Vault: {why}") })?;
        provide_tls();
        let sessions = Sessions::open(config).await?;
        tokio::spawn(keeper::keep(Arc::downgrade(&sessions)));
        Ok(Self { sessions })
    }

    /// Whether Vault serves us now, and changes of that: for a health report.
    pub fn standing(&self) -> watch::Receiver<VaultStanding> {
        self.sessions.standing()
    }

    /// Erases all secrets of a tenant: its transit key, where there is one, and every version of
    /// every path. An interrupted erasure is repeated.
    ///
    /// # Errors
    /// [`SecretError::Denied`], [`SecretError::Unavailable`].
    pub async fn erase_tenant(&self, tenant: TenantId) -> Result<(), SecretError> {
        if let Some(transit) = &self.sessions.config().transit {
            transit::erase(&self.sessions, transit, tenant).await?;
        }
        for path in self.paths(tenant).await? {
            self.delete(&path).await?;
        }
        Ok(())
    }

    /// Every path of a tenant that was ever used.
    async fn paths(&self, tenant: TenantId) -> Result<Vec<SecretPath>, SecretError> {
        let (mut paths, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            for name in self.list(tenant, &folder).await? {
                let whole = format!("{folder}{name}");
                if whole.ends_with('/') {
                    folders.push(whole);
                } else {
                    // What has no such name was not written by us.
                    paths.extend(SecretPath::new(tenant, &whole));
                }
            }
            if paths.len() + folders.len() > MAX_NAMES {
                let detail = format!("the tenant has more than {MAX_NAMES} paths");
                return Err(SecretError::Unavailable { detail });
            }
        }
        Ok(paths)
    }

    async fn list(&self, tenant: TenantId, folder: &str) -> Result<Vec<String>, Failure> {
        let config = self.sessions.config();
        let folder = format!("{}/{tenant}/{folder}", config.prefix);
        let place = Arc::new((of_tenant(&config.mount, tenant), folder));
        let request = move |session: Arc<login::Session>| {
            let place = Arc::clone(&place);
            async move { kv2::list(session.client(), &place.0, &place.1).await }
        };
        match self.sessions.run(request).await {
            Err(Failure::Absent) => Ok(Vec::new()),
            listed => listed,
        }
    }

    pub(crate) fn entry<'a>(&'a self, path: &'a SecretPath) -> Entry<'a> {
        Entry::of(&self.sessions, path)
    }
}

#[async_trait]
impl SecretStore for VaultStore {
    async fn put(&self, path: &SecretPath, value: SecretValue) -> Result<SecretRef, SecretError> {
        check_size(&value)?;
        let entry = self.entry(path);
        for _ in 0..ATTEMPTS {
            let history = entry.history().await?.unwrap_or_default();
            if entry.write(&history, &value).await? == Written::Done {
                return Ok(SecretRef::held(path.clone(), history.last + 1));
            }
        }
        Err(crowded())
    }

    async fn create_once(
        &self,
        path: &SecretPath,
        value: SecretValue,
    ) -> Result<(SecretRef, SecretValue), SecretError> {
        check_size(&value)?;
        let entry = self.entry(path);
        let mut history: Option<History> = None;
        for _ in 0..ATTEMPTS {
            match self.latest(path).await {
                Err(SecretError::NotFound) => {}
                found => return found,
            }
            // There was nothing after these numbers were read, so that a write right behind them
            // is the first, or comes second and is refused.
            if let Some(history) = &history
                && entry.write(history, &value).await? == Written::Done
            {
                return Ok((SecretRef::held(path.clone(), history.last + 1), value));
            }
            history = Some(entry.history().await?.unwrap_or_default());
        }
        Err(crowded())
    }

    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        let version = Some(reference.version());
        let (_, value) = self.entry(reference.path()).resolve(version).await?;
        Ok(value)
    }

    async fn latest(&self, path: &SecretPath) -> Result<(SecretRef, SecretValue), SecretError> {
        let entry = self.entry(path);
        match entry.resolve(None).await {
            // The newest number may be destroyed while an older one is not.
            Err(SecretError::NotFound) => {}
            found => return found,
        }
        let newest = entry.versions().await?.pop().ok_or(SecretError::NotFound)?;
        entry.resolve(Some(newest)).await
    }

    async fn versions(&self, path: &SecretPath) -> Result<Vec<u32>, SecretError> {
        self.entry(path).versions().await
    }

    async fn delete(&self, path: &SecretPath) -> Result<(), SecretError> {
        let entry = self.entry(path);
        let history = entry.history().await?.unwrap_or_default();
        let kept: Vec<u32> = history.kept.iter().map(|(version, _)| *version).collect();
        Ok(entry.destroy(&kept).await?)
    }
}

fn crowded() -> SecretError {
    SecretError::Unavailable { detail: "too many writers at one path: try again".to_owned() }
}

impl fmt::Debug for VaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultStore").field("sessions", &self.sessions).finish()
    }
}
