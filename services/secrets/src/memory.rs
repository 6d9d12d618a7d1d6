//! Secrets in memory, gone with the process: for tests of what uses a [`SecretStore`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::store::{MAX_VERSIONS, check_size};
use crate::{SecretError, SecretPath, SecretRef, SecretStore, SecretValue};

/// A [`SecretStore`] that forgets.
#[derive(Debug, Default)]
pub struct MemoryStore {
    secrets: Mutex<HashMap<SecretPath, Secret>>,
}

#[derive(Debug, Default)]
struct Secret {
    last_version: u32,
    values: BTreeMap<u32, SecretValue>,
}

impl Secret {
    /// Keeps the value, and says under which version.
    fn put(&mut self, value: SecretValue) -> u32 {
        self.last_version += 1;
        self.values.insert(self.last_version, value);
        while self.values.len() > MAX_VERSIONS {
            self.values.pop_first();
        }
        self.last_version
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn secrets(&self) -> MutexGuard<'_, HashMap<SecretPath, Secret>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SecretStore for MemoryStore {
    async fn put(&self, path: &SecretPath, value: SecretValue) -> Result<SecretRef, SecretError> {
        check_size(&value)?;
        let version = self.secrets().entry(path.clone()).or_default().put(value);
        Ok(SecretRef::held(path.clone(), version))
    }

    async fn create_once(
        &self,
        path: &SecretPath,
        value: SecretValue,
    ) -> Result<(SecretRef, SecretValue), SecretError> {
        check_size(&value)?;
        let mut secrets = self.secrets();
        let secret = secrets.entry(path.clone()).or_default();
        let (version, value) = match secret.values.last_key_value() {
            Some((version, value)) => (*version, value.clone()),
            None => (secret.put(value.clone()), value),
        };
        Ok((SecretRef::held(path.clone(), version), value))
    }

    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        self.secrets()
            .get(reference.path())
            .and_then(|secret| secret.values.get(&reference.version()))
            .cloned()
            .ok_or(SecretError::NotFound)
    }

    async fn latest(&self, path: &SecretPath) -> Result<(SecretRef, SecretValue), SecretError> {
        let secrets = self.secrets();
        let newest = secrets.get(path).and_then(|secret| secret.values.last_key_value());
        let (version, value) = newest.ok_or(SecretError::NotFound)?;
        Ok((SecretRef::held(path.clone(), *version), value.clone()))
    }

    async fn versions(&self, path: &SecretPath) -> Result<Vec<u32>, SecretError> {
        let secrets = self.secrets();
        Ok(secrets.get(path).map(|s| s.values.keys().copied().collect()).unwrap_or_default())
    }

    async fn delete(&self, path: &SecretPath) -> Result<(), SecretError> {
        if let Some(secret) = self.secrets().get_mut(path) {
            secret.values.clear();
        }
        Ok(())
    }
}
