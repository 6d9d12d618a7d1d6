//! Secrets in sealed files beside the data, for a deployment of one machine.
//!
//! ```text
//! secrets.key                    256-bit key, mode 0600: back it up, and not beside the rest
//! secrets/lock                   serializes writers, also those of other processes
//! secrets/key-check              recognizes a wrong key without opening a value
//! secrets/<tenant>/<hash of path>/<version>.sealed
//! secrets/<tenant>/<hash of path>/destroyed
//! secrets/<tenant>/<hash of path>/path
//! ```
//!
//! What always holds:
//! - A file appears complete or not at all: written aside, synced, renamed, directory synced.
//! - A value opens only in its own place: tenant, path and version are authenticated with it.
//! - With a key that is missing, malformed, readable by others or not the one that sealed, the
//!   store does not open. It never makes a new key where something is sealed already.
//! - `destroyed` names the last version of a deleted secret. It is written before the versions
//!   are removed, so that an interrupted deletion reads as a complete one.

mod files;
mod key;
mod open_error;
mod sealing;
mod shelf;

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

pub use self::open_error::OpenError;
use self::sealing::Sealer;
use self::shelf::Shelf;
use crate::store::check_size;
use crate::{SecretError, SecretPath, SecretRef, SecretStore, SecretValue};

/// Why the paths of a local store cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Secrets whose paths were not written down when they were stored.
    #[error(
        "{count} secrets have no path written down, {} among them: they were stored by an older \
         version; rotate them, or name them from the references in the log",
        first.display()
    )]
    Unnamed {
        /// The directory of one of them.
        first: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] SecretError),
}

const KEY_FILE: &str = "secrets.key";
const ROOT: &str = "secrets";
const LOCK_FILE: &str = "lock";
const CHECK_FILE: &str = "key-check";

/// A [`SecretStore`] of sealed files. Clones are handles to the same store.
#[derive(Debug, Clone)]
pub struct LocalStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    sealer: Sealer,
    /// One writer of this process at a time waits for the lock file.
    writer: Mutex<()>,
}

impl LocalStore {
    /// Opens the store in `data_dir`, and makes the directory and the key on the first start.
    /// Blocks on file IO.
    ///
    /// # Errors
    /// [`OpenError`]; its text says what the operator can do.
    pub fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let root = data_dir.join(ROOT);
        let io = |source| OpenError::io(&root, source);
        DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(io)?;
        files::sync_directory(data_dir).map_err(io)?;
        let _lock = files::lock(&root.join(LOCK_FILE)).map_err(io)?;
        let sealer = unlock(&data_dir.join(KEY_FILE), &root)?;
        Ok(Self { inner: Arc::new(Inner { root, sealer, writer: Mutex::default() }) })
    }

    /// Every path that ever had a version, deleted ones included.
    ///
    /// # Errors
    /// [`ListError::Unnamed`] where a secret was stored before paths were written down:
    /// [`name`](Self::name) it.
    pub async fn paths(&self) -> Result<Vec<SecretPath>, ListError> {
        let inner = Arc::clone(&self.inner);
        let found = off_the_runtime(move || shelf::all(&inner.root)).await?;
        let (mut paths, mut unnamed) = (Vec::new(), Vec::new());
        for found in found {
            match found.path {
                Some(path) => paths.push(path),
                None => unnamed.push(found.directory),
            }
        }
        match unnamed.first() {
            None => Ok(paths),
            Some(first) => Err(ListError::Unnamed { first: first.clone(), count: unnamed.len() }),
        }
    }

    /// Writes the paths down of those among `candidates` that hold something. For directories of
    /// before paths were written down: whoever knows the references names their paths.
    ///
    /// # Errors
    /// [`SecretError::Unavailable`].
    pub async fn name(
        &self,
        candidates: impl IntoIterator<Item = SecretPath>,
    ) -> Result<(), SecretError> {
        for path in candidates {
            let name =
                |shelf: Shelf<'_>| if shelf.is_there() { shelf.write_name() } else { Ok(()) };
            self.write(&path, name).await?;
        }
        Ok(())
    }

    /// The highest version that was ever used at `path`, 0 if none was.
    pub(crate) async fn last_used(&self, path: &SecretPath) -> Result<u32, SecretError> {
        self.read(path, |shelf| shelf.last_used()).await
    }

    async fn read<T: Send + 'static>(
        &self,
        path: &SecretPath,
        work: impl FnOnce(Shelf<'_>) -> Result<T, SecretError> + Send + 'static,
    ) -> Result<T, SecretError> {
        let (inner, path) = (Arc::clone(&self.inner), path.clone());
        off_the_runtime(move || work(Shelf::of(&inner.root, &inner.sealer, &path))).await
    }

    /// Should the caller give up, the work goes on, and the lock file still protects it.
    async fn write<T: Send + 'static>(
        &self,
        path: &SecretPath,
        work: impl FnOnce(Shelf<'_>) -> Result<T, SecretError> + Send + 'static,
    ) -> Result<T, SecretError> {
        let _turn = self.inner.writer.lock().await;
        let lock_file = self.inner.root.join(LOCK_FILE);
        let locked = move |shelf: Shelf<'_>| {
            let _lock: File = files::lock(&lock_file).map_err(|e| unavailable(&lock_file, &e))?;
            work(shelf)
        };
        self.read(path, locked).await
    }
}

/// Finds or makes the key, and makes sure that it is the one that sealed what is there.
fn unlock(key_path: &Path, root: &Path) -> Result<Sealer, OpenError> {
    let check_path = root.join(CHECK_FILE);
    let io = |source| OpenError::io(&check_path, source);
    let known = files::read_if_there(&check_path, 1024).map_err(io)?;
    let sealed = shelf::is_any_sealed(root).map_err(|source| OpenError::io(root, source))?;
    let key = match key::read(key_path)? {
        Some(key) => key,
        None if known.is_some() || sealed => {
            return Err(OpenError::KeyMissing { key: key_path.into(), sealed: root.into() });
        }
        None => key::create(key_path)?,
    };
    let sealer = Sealer::new(&key).map_err(|_| OpenError::KeyMalformed { key: key_path.into() })?;
    match known {
        Some(check) if sealer.recognizes(&check) => Ok(sealer),
        Some(_) => Err(OpenError::WrongKey { key: key_path.into(), sealed: root.into() }),
        None if sealed => Err(OpenError::CheckMissing { check: check_path }),
        None => {
            files::write_durably(&check_path, &sealer.check_value()).map_err(io)?;
            Ok(sealer)
        }
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SecretError> + Send + 'static,
) -> Result<T, SecretError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(SecretError::Unavailable { detail: "the store is shutting down".to_owned() })
    })
}

fn unavailable(path: &Path, error: &std::io::Error) -> SecretError {
    SecretError::Unavailable { detail: format!("{}: {error}", path.display()) }
}

#[async_trait]
impl SecretStore for LocalStore {
    async fn put(&self, path: &SecretPath, value: SecretValue) -> Result<SecretRef, SecretError> {
        check_size(&value)?;
        self.write(path, move |shelf| shelf.put(&value)).await
    }

    async fn create_once(
        &self,
        path: &SecretPath,
        value: SecretValue,
    ) -> Result<(SecretRef, SecretValue), SecretError> {
        check_size(&value)?;
        self.write(path, move |shelf| match shelf.latest() {
            Err(SecretError::NotFound) => Ok((shelf.put(&value)?, value)),
            found => found,
        })
        .await
    }

    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        let version = reference.version();
        self.read(reference.path(), move |shelf| shelf.resolve(version)).await
    }

    async fn latest(&self, path: &SecretPath) -> Result<(SecretRef, SecretValue), SecretError> {
        self.read(path, |shelf| shelf.latest()).await
    }

    async fn versions(&self, path: &SecretPath) -> Result<Vec<u32>, SecretError> {
        self.read(path, |shelf| shelf.versions()).await
    }

    async fn delete(&self, path: &SecretPath) -> Result<(), SecretError> {
        self.write(path, |shelf| shelf.destroy()).await
    }
}
