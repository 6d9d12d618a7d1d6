//! The port: what every secret store does.

use async_trait::async_trait;

use crate::{SecretPath, SecretRef, SecretValue};

/// Why a store refused. No variant carries anything of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No such path, no such version, or it was deleted. Another tenant's secret looks the same.
    #[error("no such secret")]
    NotFound,
    /// The value has more than [`SecretValue::MAX_BYTES`] bytes: store a smaller one.
    #[error("a secret value has at most {limit_bytes} bytes, this one has {size_bytes}")]
    TooLarge {
        /// What was given.
        size_bytes: usize,
        /// What is accepted.
        limit_bytes: usize,
    },
    /// What is stored is damaged or was moved here from elsewhere: restore it from a backup, or
    /// put the secret anew.
    #[error("what is sealed at {path} does not open: it is damaged or was moved there")]
    Tampered {
        /// At which path; another version of it may still open.
        path: SecretPath,
    },
    /// The store is there, but does not allow this service what it asked for: change the policy
    /// of its role, or let the service do it that may.
    #[error("the secret store does not allow it: {detail}")]
    Denied {
        /// What was refused, for the operator.
        detail: String,
    },
    /// The store cannot be reached or written; trying again later may help.
    #[error("the secret store is unavailable: {detail}")]
    Unavailable {
        /// What failed, for the operator.
        detail: String,
    },
}

/// A store of secrets.
///
/// Contract, checked by one suite against every adapter:
/// - an acknowledged `put` survives a crash; concurrent puts at a path get distinct versions;
/// - a path keeps its newest [`MAX_VERSIONS`] versions, a put beyond that
///   destroys the oldest;
/// - after `delete` no version resolves, and a later `put` continues the numbering;
/// - of several first creations with `create_once`, in whatever process, one wins, and all get its
///   value;
/// - every method is safe to cancel: dropping its future leaves either the old or the new state.
#[async_trait]
pub trait SecretStore: Send + Sync + 'static {
    /// Stores `value` as the next version of `path`, durably. This also is how to rotate.
    ///
    /// # Errors
    /// [`SecretError::TooLarge`], [`SecretError::Denied`], [`SecretError::Unavailable`].
    async fn put(&self, path: &SecretPath, value: SecretValue) -> Result<SecretRef, SecretError>;

    /// The newest version and its value, or, where no version resolves, `value` as the next one.
    ///
    /// For what several processes need and the first of them makes, such as a signing key: all
    /// of them offer one, and all of them go on with what this returns. A caller that may only
    /// read gets what is there.
    ///
    /// # Errors
    /// As of [`put`](Self::put) and [`resolve`](Self::resolve), and [`SecretError::Denied`] if
    /// there is none and the caller may not write one.
    async fn create_once(
        &self,
        path: &SecretPath,
        value: SecretValue,
    ) -> Result<(SecretRef, SecretValue), SecretError>;

    /// The value of one version.
    ///
    /// # Errors
    /// [`SecretError::NotFound`], [`SecretError::Tampered`], [`SecretError::Denied`],
    /// [`SecretError::Unavailable`].
    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError>;

    /// The newest version and its value.
    ///
    /// # Errors
    /// As of [`resolve`](Self::resolve).
    async fn latest(&self, path: &SecretPath) -> Result<(SecretRef, SecretValue), SecretError>;

    /// The versions that resolve, oldest first; empty for a path that is unknown or deleted.
    ///
    /// # Errors
    /// [`SecretError::Denied`], [`SecretError::Unavailable`].
    async fn versions(&self, path: &SecretPath) -> Result<Vec<u32>, SecretError>;

    /// Destroys all versions of `path`, durably. Deleting what is not there is no error, so that
    /// an interrupted erasure can be repeated.
    ///
    /// # Errors
    /// [`SecretError::Denied`]; [`SecretError::Unavailable`]: then some versions may still
    /// resolve, repeat.
    async fn delete(&self, path: &SecretPath) -> Result<(), SecretError>;
}

/// Most versions kept per path.
pub const MAX_VERSIONS: usize = 100;

/// Refuses a value above [`SecretValue::MAX_BYTES`].
pub(crate) fn check_size(value: &SecretValue) -> Result<(), SecretError> {
    if value.len() > SecretValue::MAX_BYTES {
        return Err(SecretError::TooLarge {
            size_bytes: value.len(),
            limit_bytes: SecretValue::MAX_BYTES,
        });
    }
    Ok(())
}
