//! Passwords: argon2id verifiers, checked with the same work whether there is one or not, and a
//! limit on attempts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use domain::{Refusal, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use secrets::SecretValue;
use tokio::sync::Semaphore;

use crate::fault;

/// How many passwords are worked on at the same time: each takes the memory below and a core.
const CONCURRENT: usize = 2;

/// Memory and passes of argon2id: of the settings that OWASP's password storage cheat sheet holds
/// equally strong, the one with the least memory, since a process keeps what it once took.
const MEMORY_KIB: u32 = 7 * 1024;
const PASSES: u32 = 5;

/// Makes and checks verifiers.
#[derive(Clone)]
pub struct PasswordHashing {
    permits: Arc<Semaphore>,
    /// A verifier of nobody's password, so that unknown users cost the same.
    nobody: Arc<str>,
}

impl PasswordHashing {
    /// Makes the verifier of nobody's password.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub async fn new() -> Result<Self, Refusal> {
        let permits = Arc::new(Semaphore::new(CONCURRENT));
        let nobody = blocking(|| hash(b"nobody has this password")).await?;
        Ok(Self { permits, nobody: nobody.into() })
    }

    /// The verifier of a password, to be sealed.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub async fn verifier(&self, password: SecretString) -> Result<SecretValue, Refusal> {
        let _permit = self.permits.acquire().await.map_err(|error| fault::internal(&error))?;
        let verifier = blocking(move || hash(password.expose_secret().as_bytes())).await?;
        Ok(SecretValue::from(verifier))
    }

    /// Whether the password fits the verifier. Without one the same work is done and it does not.
    ///
    /// # Errors
    /// When the verifier is none.
    pub async fn verify(
        &self,
        password: SecretString,
        verifier: Option<SecretValue>,
    ) -> Result<bool, Refusal> {
        let _permit = self.permits.acquire().await.map_err(|error| fault::internal(&error))?;
        let nobody = Arc::clone(&self.nobody);
        blocking(move || {
            let known = verifier.is_some();
            let text = match &verifier {
                Some(value) => value.expose_str().map_err(|error| fault::internal(&error))?,
                None => &nobody,
            };
            let parsed = PasswordHash::new(text).map_err(|error| fault::internal(&error))?;
            let password = password.expose_secret().as_bytes();
            // Memory and passes are those of the verifier.
            Ok(Argon2::default().verify_password(password, &parsed).is_ok() && known)
        })
        .await
    }
}

fn hash(password: &[u8]) -> Result<String, Refusal> {
    let params =
        Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| fault::internal(&error))?;
    let hash: PasswordHash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password)
        .map_err(|error| fault::internal(&error))?;
    Ok(hash.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| fault::internal(&error))?
}

/// Attempts at one address in one window of five minutes.
const ATTEMPTS: u32 = 10;
const WINDOW_US: i64 = 300_000_000;
const MAX_ADDRESSES: usize = 100_000;

/// Counts attempts to log in, by address.
#[derive(Debug, Default)]
pub struct LoginLimiter {
    windows: Mutex<HashMap<String, (i64, u32)>>,
}

impl LoginLimiter {
    /// Whether one more attempt at `email` may be made at `now`. When too many addresses are
    /// tried at once, addresses not seen in this window are refused.
    pub fn admits(&self, email: &str, now: Timestamp) -> bool {
        let window = now.as_micros().div_euclid(WINDOW_US);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_ADDRESSES {
            windows.retain(|_, (of, _)| *of == window);
        }
        if windows.len() >= MAX_ADDRESSES && !windows.contains_key(email) {
            return false;
        }
        let entry = windows.entry(email.to_owned()).or_insert((window, 0));
        if entry.0 != window {
            *entry = (window, 0);
        }
        entry.1 += 1;
        entry.1 <= ATTEMPTS
    }

    /// Forgets the attempts at an address after a login.
    pub fn forget(&self, email: &str) {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).remove(email);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_limited_by_address_and_window() {
        let limiter = LoginLimiter::default();
        let at = Timestamp::from_micros;
        assert!((0..ATTEMPTS).all(|_| limiter.admits("a@b", at(1))));
        assert!(!limiter.admits("a@b", at(1)));
        assert!(limiter.admits("c@d", at(1)));
        assert!(limiter.admits("a@b", at(WINDOW_US)));
        limiter.forget("a@b");
        assert!(limiter.admits("a@b", at(WINDOW_US)));
    }

    #[tokio::test]
    async fn only_the_right_password_fits_and_nobody_has_none() {
        let hashing = PasswordHashing::new().await.unwrap();
        let verifier = hashing.verifier("right".to_owned().into()).await.unwrap();
        let fits = |text: &str, verifier: Option<SecretValue>| {
            let hashing = hashing.clone();
            let text = SecretString::from(text.to_owned());
            async move { hashing.verify(text, verifier).await.unwrap() }
        };
        assert!(fits("right", Some(verifier.clone())).await);
        assert!(!fits("wrong", Some(verifier)).await);
        assert!(!fits("nobody has this password", None).await);
    }
}
