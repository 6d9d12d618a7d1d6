//! Keyed digests: they tell whether two contents are the same, and nothing else to who has not
//! the tenant's key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Refusal, TenantId};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrets::{SecretPath, SecretValue};

use crate::app::App;
use crate::fault;

const PATH: &str = "journal/digest-key";
const MAX_CACHED: usize = 10_000;

/// The key of one tenant. Has no `Debug`.
#[derive(Clone)]
pub struct DigestKey(Arc<hmac::Key>);

impl DigestKey {
    fn new(value: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, value)))
    }

    /// HMAC-SHA-256 of the bytes.
    pub fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.0, bytes).as_ref());
        digest
    }

    /// The digest in lower-case hexadecimal; empty for no bytes.
    pub fn hex(&self, bytes: &[u8]) -> String {
        if bytes.is_empty() {
            return String::new();
        }
        hex(&self.digest(bytes))
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0xf)]));
    }
    text
}

/// The keys of all tenants, made when they are first needed and kept in memory from then on.
#[derive(Default)]
pub struct DigestKeys {
    keys: Mutex<HashMap<TenantId, DigestKey>>,
    making: tokio::sync::Mutex<()>,
}

impl DigestKeys {
    /// The tenant's key.
    ///
    /// # Errors
    /// When the secret store is not available.
    pub async fn of(&self, app: &App, tenant: TenantId) -> Result<DigestKey, Refusal> {
        if let Some(key) = self.cached(tenant) {
            return Ok(key);
        }
        let _one_at_a_time = self.making.lock().await;
        if let Some(key) = self.cached(tenant) {
            return Ok(key);
        }
        let path = SecretPath::new(tenant, PATH).map_err(|error| fault::internal(&error))?;
        // Another process may make it at the same time: all of them go on with one key.
        let mut random = vec![0; 32];
        SystemRandom::new().fill(&mut random).map_err(|error| fault::internal(&error))?;
        let offered = SecretValue::from(random);
        let (_, value) = app.secrets.create_once(&path, offered).await.map_err(fault::secret)?;
        let key = DigestKey::new(value.expose());
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MAX_CACHED {
            keys.clear();
        }
        keys.insert(tenant, key.clone());
        Ok(key)
    }

    fn cached(&self, tenant: TenantId) -> Option<DigestKey> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned()
    }
}
