//! The names of secrets: which tenant's, at which path, in which version.
//!
//! Names are no secrets: they stand in events and logs.

use std::fmt;

use domain::TenantId;

/// A path or a version that no secret can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecretPath {
    /// The path breaks the rule of [`SecretPath::new`].
    #[error("{0:?} is not a valid secret path")]
    Path(String),
    /// Versions count from 1.
    #[error("a secret has no version 0")]
    VersionZero,
}

/// Where a secret lives: a tenant and a path within it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretPath {
    tenant: TenantId,
    path: String,
}

impl SecretPath {
    /// Longest path in bytes.
    pub const MAX_BYTES: usize = 200;

    /// Names the secret at `path` of `tenant`.
    ///
    /// # Errors
    /// [`InvalidSecretPath::Path`] unless `path` has 1 to [`Self::MAX_BYTES`] bytes and consists
    /// of segments of `[A-Za-z0-9_.-]`, separated by single slashes, none of them `.` or `..`.
    pub fn new(tenant: TenantId, path: &str) -> Result<Self, InvalidSecretPath> {
        let fits = path.len() <= Self::MAX_BYTES && path.split('/').all(is_segment);
        if fits {
            Ok(Self { tenant, path: path.to_owned() })
        } else {
            Err(InvalidSecretPath::Path(path.chars().take(80).collect()))
        }
    }

    /// Whose secret it is.
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The path within the tenant.
    pub fn as_str(&self) -> &str {
        &self.path
    }
}

fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && segment != "."
        && segment != ".."
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.path)
    }
}

/// One version of a secret: what events and commands carry in place of the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretRef {
    path: SecretPath,
    version: u32,
}

impl SecretRef {
    /// Rebuilds a reference from its stored parts.
    ///
    /// # Errors
    /// [`InvalidSecretPath`] if `path` breaks the rule of [`SecretPath::new`], or `version` is 0.
    pub fn new(tenant: TenantId, path: &str, version: u32) -> Result<Self, InvalidSecretPath> {
        Self::of(SecretPath::new(tenant, path)?, version)
    }

    /// Names `version` of the secret at `path`.
    ///
    /// # Errors
    /// [`InvalidSecretPath::VersionZero`] if `version` is 0.
    pub fn of(path: SecretPath, version: u32) -> Result<Self, InvalidSecretPath> {
        if version == 0 { Err(InvalidSecretPath::VersionZero) } else { Ok(Self { path, version }) }
    }

    /// A version that a store holds, which counts from 1.
    pub(crate) fn held(path: SecretPath, version: u32) -> Self {
        debug_assert_ne!(version, 0);
        Self { path, version }
    }

    /// Where the secret lives.
    pub const fn path(&self) -> &SecretPath {
        &self.path
    }

    /// Which version, from 1.
    pub const fn version(&self) -> u32 {
        self.version
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.path, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_of_plain_segments() {
        for good in ["a", "server/0198/launch", "A_b-c.d/1", "...", &"x".repeat(200)] {
            assert!(SecretPath::new(TenantId::SYSTEM, good).is_ok(), "{good:?}");
        }
        let long = "x".repeat(201);
        for bad in ["", "/a", "a/", "a//b", ".", "a/../b", "a/./b", "a b", "a\0", "ü", &long] {
            assert!(SecretPath::new(TenantId::SYSTEM, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn versions_count_from_one() {
        assert_eq!(SecretRef::new(TenantId::SYSTEM, "a", 0), Err(InvalidSecretPath::VersionZero));
        assert_eq!(SecretRef::new(TenantId::SYSTEM, "a", 1).unwrap().version(), 1);
    }
}
