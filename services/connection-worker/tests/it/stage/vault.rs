//! A store of secrets that can be away.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use secrets::{MemoryStore, SecretError, SecretPath, SecretRef, SecretStore, SecretValue};

pub(crate) struct Vault {
    store: MemoryStore,
    is_away: AtomicBool,
}

impl Vault {
    pub(crate) fn new() -> Self {
        Self { store: MemoryStore::new(), is_away: AtomicBool::new(false) }
    }

    pub(crate) fn go_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
    }

    pub(crate) fn come_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), SecretError> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(SecretError::Unavailable { detail: "https://vault:8200 refused".into() }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl SecretStore for Vault {
    async fn put(&self, path: &SecretPath, value: SecretValue) -> Result<SecretRef, SecretError> {
        self.store.put(path, value).await
    }

    async fn create_once(
        &self,
        path: &SecretPath,
        value: SecretValue,
    ) -> Result<(SecretRef, SecretValue), SecretError> {
        self.store.create_once(path, value).await
    }

    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        self.check()?;
        self.store.resolve(reference).await
    }

    async fn latest(&self, path: &SecretPath) -> Result<(SecretRef, SecretValue), SecretError> {
        self.check()?;
        self.store.latest(path).await
    }

    async fn versions(&self, path: &SecretPath) -> Result<Vec<u32>, SecretError> {
        self.check()?;
        self.store.versions(path).await
    }

    async fn delete(&self, path: &SecretPath) -> Result<(), SecretError> {
        self.store.delete(path).await
    }
}
