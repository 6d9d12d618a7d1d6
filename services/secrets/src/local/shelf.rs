//! The files of one secret.

use std::fs::{self, ReadDir};
use std::io;
use std::path::{Path, PathBuf};

use domain::TenantId;
use ring::digest;
use secrecy::zeroize::Zeroizing;

use super::sealing::{DoesNotOpen, MAX_SEALED_BYTES, Sealer};
use super::{files, key, unavailable};
use crate::store::MAX_VERSIONS;
use crate::{SecretError, SecretPath, SecretRef, SecretValue};

const SEALED: &str = "sealed";
const DESTROYED: &str = "destroyed";
/// Holds the path, which is no secret: a directory is named by a hash that leads back to none.
const NAME: &str = "path";
/// Under which number `destroyed` is sealed: no version has it.
const NO_VERSION: u32 = 0;

/// The directory of one secret, whether or not it exists. Writers hold the lock of the store.
pub(super) struct Shelf<'a> {
    root: &'a Path,
    sealer: &'a Sealer,
    path: &'a SecretPath,
    directory: PathBuf,
}

impl<'a> Shelf<'a> {
    pub(super) fn of(root: &'a Path, sealer: &'a Sealer, path: &'a SecretPath) -> Self {
        let directory = tenant_directory(root, path).join(hash_of(path).as_str());
        Self { root, sealer, path, directory }
    }

    pub(super) fn reference(&self, version: u32) -> SecretRef {
        SecretRef::held(self.path.clone(), version)
    }

    /// Seals `value` as the next version.
    pub(super) fn put(&self, value: &SecretValue) -> Result<SecretRef, SecretError> {
        let destroyed = self.last_destroyed()?;
        let mut versions = self.versions_after(destroyed)?;
        let last = versions.last().copied().unwrap_or(destroyed);
        let exhausted = || SecretError::Unavailable { detail: "no version is left".to_owned() };
        let version = last.checked_add(1).ok_or_else(exhausted)?;
        self.make_directories().map_err(|error| unavailable(&self.directory, &error))?;
        self.write_name()?;
        self.write(&self.file(version), version, value.expose())?;
        versions.push(version);
        for oldest in &versions[..versions.len().saturating_sub(MAX_VERSIONS)] {
            // The new version is durable: failing now would make the caller put it twice.
            if let Err(error) = self.remove(&self.file(*oldest)) {
                tracing::warn!(%error, "an old version of a secret was not removed");
            }
        }
        Ok(self.reference(version))
    }

    /// Opens one version.
    pub(super) fn resolve(&self, version: u32) -> Result<SecretValue, SecretError> {
        if version <= self.last_destroyed()? {
            return Err(SecretError::NotFound);
        }
        self.open(&self.file(version), version)?.ok_or(SecretError::NotFound)
    }

    /// The newest version that resolves.
    pub(super) fn latest(&self) -> Result<(SecretRef, SecretValue), SecretError> {
        let version = self.versions()?.pop().ok_or(SecretError::NotFound)?;
        Ok((self.reference(version), self.resolve(version)?))
    }

    /// The versions that resolve, oldest first.
    pub(super) fn versions(&self) -> Result<Vec<u32>, SecretError> {
        self.versions_after(self.last_destroyed()?)
    }

    /// Removes all versions, and remembers the last one so that none is used again.
    pub(super) fn destroy(&self) -> Result<(), SecretError> {
        let destroyed = self.last_destroyed()?;
        if let Some(last) = self.versions_after(destroyed)?.last() {
            self.write(&self.directory.join(DESTROYED), NO_VERSION, &last.to_be_bytes())?;
        }
        // Also what an interrupted deletion or put left behind.
        let failed = |error| unavailable(&self.directory, &error);
        let Some(entries) = entries(&self.directory).map_err(failed)? else {
            return Ok(());
        };
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            if name != DESTROYED && name != NAME {
                self.remove(&self.directory.join(name))?;
            }
        }
        files::sync_directory(&self.directory).map_err(failed)
    }

    /// The highest version that was ever used, 0 if none was.
    pub(super) fn last_used(&self) -> Result<u32, SecretError> {
        let destroyed = self.last_destroyed()?;
        Ok(self.versions_after(destroyed)?.pop().unwrap_or(destroyed))
    }

    /// Whether anything was ever stored at this path.
    pub(super) fn is_there(&self) -> bool {
        self.directory.is_dir()
    }

    /// Writes the path down, unless it is. Shelves of older versions of this store have none.
    pub(super) fn write_name(&self) -> Result<(), SecretError> {
        let file = self.directory.join(NAME);
        let name = self.path.as_str().as_bytes();
        let written = match files::read_if_there(&file, SecretPath::MAX_BYTES) {
            Ok(Some(there)) if there == name => Ok(()),
            _ => files::write_durably(&file, name),
        };
        written.map_err(|error| unavailable(&file, &error))
    }

    /// The last version that a deletion destroyed, 0 if there was none.
    fn last_destroyed(&self) -> Result<u32, SecretError> {
        let Some(sealed) = self.open(&self.directory.join(DESTROYED), NO_VERSION)? else {
            return Ok(0);
        };
        let bytes = sealed.expose().try_into().map_err(|_| self.tampered())?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn versions_after(&self, destroyed: u32) -> Result<Vec<u32>, SecretError> {
        let failed = |error| unavailable(&self.directory, &error);
        let mut versions = Vec::new();
        for entry in entries(&self.directory).map_err(failed)?.into_iter().flatten() {
            let name = entry.map_err(failed)?.file_name();
            versions.extend(name.to_str().and_then(version_of).filter(|v| *v > destroyed));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    fn file(&self, version: u32) -> PathBuf {
        self.directory.join(format!("{version}.{SEALED}"))
    }

    fn make_directories(&self) -> io::Result<()> {
        files::make_directory(&tenant_directory(self.root, self.path))?;
        files::make_directory(&self.directory)
    }

    fn write(&self, file: &Path, version: u32, value: &[u8]) -> Result<(), SecretError> {
        let sealed = self.sealer.seal(self.path, version, value).map_err(|_| {
            SecretError::Unavailable { detail: "no randomness is available".to_owned() }
        })?;
        files::write_durably(file, &sealed).map_err(|error| unavailable(file, &error))
    }

    fn open(&self, file: &Path, version: u32) -> Result<Option<SecretValue>, SecretError> {
        match files::read_if_there(file, MAX_SEALED_BYTES) {
            Ok(None) => Ok(None),
            Ok(Some(sealed)) => {
                let opened = self.sealer.open(self.path, version, sealed);
                opened.map(Some).map_err(|DoesNotOpen| self.tampered())
            }
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(self.tampered()),
            Err(error) => Err(unavailable(file, &error)),
        }
    }

    fn remove(&self, file: &Path) -> Result<(), SecretError> {
        files::remove_if_there(file).map_err(|error| unavailable(file, &error))
    }

    fn tampered(&self) -> SecretError {
        SecretError::Tampered { path: self.path.clone() }
    }
}

/// A directory that holds a secret, and the path of it where that was written down.
pub(super) struct Found {
    pub(super) directory: PathBuf,
    pub(super) path: Option<SecretPath>,
}

/// Every secret below `root` that ever had a version, sorted by directory.
pub(super) fn all(root: &Path) -> Result<Vec<Found>, SecretError> {
    let mut found = Vec::new();
    for (name, tenant) in directories(root)? {
        let Ok(owner) = name.parse::<TenantId>() else {
            continue;
        };
        for (hash, directory) in directories(&tenant)? {
            let file = directory.join(NAME);
            let written = files::read_if_there(&file, SecretPath::MAX_BYTES)
                .map_err(|error| unavailable(&file, &error))?;
            let path = written
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .and_then(|text| SecretPath::new(owner, &text).ok())
                .filter(|path| hash_of(path).as_str() == hash);
            // A put that died before its value was written leaves a directory alone.
            if path.is_some() || holds_any(&directory).map_err(|e| unavailable(&directory, &e))? {
                found.push(Found { directory, path });
            }
        }
    }
    Ok(found)
}

fn directories(parent: &Path) -> Result<Vec<(String, PathBuf)>, SecretError> {
    let failed = |error| unavailable(parent, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(parent).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The name of a secret's directory: a path may differ from another one by case only, or nest
/// in it.
fn hash_of(path: &SecretPath) -> Zeroizing<String> {
    key::hexadecimal(digest::digest(&digest::SHA256, path.as_str().as_bytes()).as_ref())
}

fn tenant_directory(root: &Path, path: &SecretPath) -> PathBuf {
    root.join(path.tenant().to_string())
}

/// The version in a file name, written in the only form that this module writes.
fn version_of(name: &str) -> Option<u32> {
    let number = name.strip_suffix(SEALED)?.strip_suffix('.')?;
    let version = number.parse().ok()?;
    (version != NO_VERSION && format!("{version}") == number).then_some(version)
}

fn entries(directory: &Path) -> io::Result<Option<ReadDir>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        entries => entries.map(Some),
    }
}

/// Whether anything was ever sealed below `root`: a shelf is made for its first value.
pub(super) fn is_any_sealed(root: &Path) -> io::Result<bool> {
    for tenant in fs::read_dir(root)? {
        let tenant = tenant?;
        if !tenant.file_type()?.is_dir() {
            continue;
        }
        for shelf in fs::read_dir(tenant.path())? {
            if holds_any(&shelf?.path())? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether a shelf holds anything that was sealed.
fn holds_any(shelf: &Path) -> io::Result<bool> {
    for file in entries(shelf)?.into_iter().flatten() {
        let name = file?.file_name();
        if name != NAME && !name.to_string_lossy().ends_with(files::UNFINISHED) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_module_are_versions() {
        assert_eq!(version_of("1.sealed"), Some(1));
        assert_eq!(version_of("4294967295.sealed"), Some(u32::MAX));
        let others = ["0.sealed", "01.sealed", "+1.sealed", "4294967296.sealed", ".sealed"];
        for name in others.into_iter().chain(["1.sealed.unfinished", "1sealed", "destroyed"]) {
            assert_eq!(version_of(name), None, "{name}");
        }
    }
}
