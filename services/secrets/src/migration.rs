//! Moving what a local store holds to Vault, so that every reference keeps its meaning.
//!
//! What always holds:
//! - A version has the same number on both sides. Numbers that were destroyed are used up on the
//!   other side, too, and destroyed there.
//! - Nothing that is there already is overwritten: a path that holds something else is refused.
//! - What was moved is read back and compared. An interrupted migration is repeated, and goes on
//!   where it ended.
//!
//! Nobody may write to the local store meanwhile.

use crate::store::MAX_VERSIONS;
use crate::vault::{Entry, Held, History, Written};
use crate::{
    ListError, LocalStore, SecretError, SecretPath, SecretRef, SecretStore as _, VaultStore,
};

/// What a migration did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Paths that were compared at the end, deleted ones included.
    pub paths: usize,
    /// Versions that were written now.
    pub written: usize,
    /// Versions that were there from an earlier run.
    pub found: usize,
    /// Numbers without a value that were used up now.
    pub numbers_only: usize,
}

/// Why a migration ended. It can be repeated once the cause is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// The local store does not say all it holds.
    #[error(transparent)]
    List(#[from] ListError),
    /// The local store did not answer.
    #[error("the local store, at {path}: {cause}")]
    Source {
        /// What was read.
        path: SecretPath,
        /// Why it failed.
        cause: SecretError,
    },
    /// Vault did not answer.
    #[error("vault, at {path}: {cause}")]
    Target {
        /// What was read or written.
        path: SecretPath,
        /// Why it failed.
        cause: SecretError,
    },
    /// Something else is at the path.
    #[error(
        "vault holds something else at {path}, version {version}: take another mount or prefix, \
         or remove what is there"
    )]
    Occupied {
        /// Where.
        path: SecretPath,
        /// The first version that differs.
        version: u32,
    },
    /// What was read back is not what was written.
    #[error("what vault gives back for {path} is not what the local store holds")]
    Unverified {
        /// Where.
        path: SecretPath,
    },
}

/// Moves every path of every tenant, with all versions, and compares both sides.
///
/// # Errors
/// [`MigrateError`]; what was moved until then stays, and a repetition goes on from there.
pub async fn migrate(from: &LocalStore, to: &VaultStore) -> Result<Report, MigrateError> {
    let mut report = Report::default();
    for path in from.paths().await? {
        let passage = Passage::of(from, to, &path).await?;
        passage.make(&mut report).await?;
        passage.verify().await?;
        report.paths += 1;
    }
    Ok(report)
}

/// One path on its way.
struct Passage<'a> {
    from: &'a LocalStore,
    to: &'a VaultStore,
    path: &'a SecretPath,
    entry: Entry<'a>,
    /// The versions with a value, ascending.
    live: Vec<u32>,
    last: u32,
}

impl<'a> Passage<'a> {
    async fn of(
        from: &'a LocalStore,
        to: &'a VaultStore,
        path: &'a SecretPath,
    ) -> Result<Self, MigrateError> {
        let source = |cause| MigrateError::Source { path: path.clone(), cause };
        let mut live = from.versions(path).await.map_err(source)?;
        // An old version whose removal failed is left behind, as it is beyond the limit.
        live.drain(..live.len().saturating_sub(MAX_VERSIONS));
        let last = from.last_used(path).await.map_err(source)?;
        Ok(Self { from, to, path, entry: to.entry(path), live, last })
    }

    async fn make(&self, report: &mut Report) -> Result<(), MigrateError> {
        let mut history = self.history().await?;
        if history.last > self.last {
            return Err(self.occupied(self.last + 1));
        }
        let mut numbers_only = self.check_present(&history).await?;
        report.found += history.kept.len().saturating_sub(numbers_only.len()).min(self.live.len());
        for version in history.last + 1..=self.last {
            let written = if self.live.binary_search(&version).is_ok() {
                report.written += 1;
                let reference = SecretRef::held(self.path.clone(), version);
                let value = self.from.resolve(&reference).await.map_err(|e| self.source(e))?;
                self.entry.write(&history, &value).await
            } else {
                report.numbers_only += 1;
                numbers_only.push(version);
                self.entry.write_number_only(&history).await
            };
            match written.map_err(|cause| self.target(cause))? {
                Written::Done => history = history.grown(),
                Written::Raced => return Err(self.occupied(version)),
            }
            // Those that fell out of what the engine keeps need no destruction.
            if numbers_only.len() > MAX_VERSIONS {
                numbers_only.remove(0);
            }
        }
        self.entry.destroy(&numbers_only).await.map_err(|failure| self.target(failure.into()))
    }

    /// Compares what is there with what should be, and tells which numbers still await their
    /// destruction.
    async fn check_present(&self, history: &History) -> Result<Vec<u32>, MigrateError> {
        let mut numbers_only = Vec::new();
        for &(version, is_plain) in &history.kept {
            let held = self.entry.read(Some(version)).await;
            let is_live = self.live.binary_search(&version).is_ok();
            match held {
                Ok((_, Held::NumberOnly)) if !is_live => numbers_only.push(version),
                Ok((_, Held::Value(there))) if is_live => {
                    let reference = SecretRef::held(self.path.clone(), version);
                    let here = self.from.resolve(&reference).await.map_err(|e| self.source(e))?;
                    if here != there {
                        return Err(self.occupied(version));
                    }
                }
                Err(SecretError::NotFound) if !is_live && !is_plain => {}
                Err(cause @ (SecretError::Unavailable { .. } | SecretError::Denied { .. })) => {
                    return Err(self.target(cause));
                }
                _ => return Err(self.occupied(version)),
            }
        }
        let is_kept = |version| history.kept.iter().any(|(kept, _)| *kept == version);
        match self.live.iter().find(|version| **version <= history.last && !is_kept(**version)) {
            Some(destroyed) => Err(self.occupied(*destroyed)),
            None => Ok(numbers_only),
        }
    }

    /// Reads everything back, through the port.
    async fn verify(&self) -> Result<(), MigrateError> {
        let unverified = || MigrateError::Unverified { path: self.path.clone() };
        let versions = self.to.versions(self.path).await.map_err(|cause| self.target(cause))?;
        if versions != self.live || self.history().await?.last != self.last {
            return Err(unverified());
        }
        for &version in &self.live {
            let reference = SecretRef::held(self.path.clone(), version);
            let here = self.from.resolve(&reference).await.map_err(|cause| self.source(cause))?;
            let there = self.to.resolve(&reference).await.map_err(|cause| self.target(cause))?;
            if here != there {
                return Err(unverified());
            }
        }
        Ok(())
    }

    async fn history(&self) -> Result<History, MigrateError> {
        let history = self.entry.history().await.map_err(|failure| self.target(failure.into()))?;
        Ok(history.unwrap_or_default())
    }

    fn source(&self, cause: SecretError) -> MigrateError {
        MigrateError::Source { path: self.path.clone(), cause }
    }

    fn target(&self, cause: SecretError) -> MigrateError {
        MigrateError::Target { path: self.path.clone(), cause }
    }

    fn occupied(&self, version: u32) -> MigrateError {
        MigrateError::Occupied { path: self.path.clone(), version }
    }
}
