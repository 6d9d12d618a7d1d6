//! Why the local store did not open, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why the local store did not open. Each text says what the operator can do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Others than the owner may read the key.
    #[error(
        "{} can be read by others (mode {mode:03o}): run `chmod 600 {}`, and consider the \
         secrets that it sealed as known if others had access",
        key.display(), key.display()
    )]
    KeyExposed {
        /// The key file.
        key: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is no key, but something was sealed with one.
    #[error(
        "{} is missing, but {} was sealed with it: restore the key from your backup. Without it \
         the secrets cannot be opened; to start without them, move {} away",
        key.display(), sealed.display(), sealed.display()
    )]
    KeyMissing {
        /// The key file.
        key: PathBuf,
        /// What needs it.
        sealed: PathBuf,
    },
    /// The key file has not the form it was written in.
    #[error(
        "{} is not a key file (a header line and a line of 64 hexadecimal digits are expected): \
         restore it from your backup",
        key.display()
    )]
    KeyMalformed {
        /// The key file.
        key: PathBuf,
    },
    /// The key is a valid one, but not the one that sealed.
    #[error(
        "{} is not the key that sealed {}: restore the two from the same backup",
        key.display(), sealed.display()
    )]
    WrongKey {
        /// The key file.
        key: PathBuf,
        /// What was sealed with another key.
        sealed: PathBuf,
    },
    /// Sealed values are there, but not the file by which a wrong key is recognized.
    #[error(
        "{} is missing, but values are sealed beside it: restore the directory from your backup",
        check.display()
    )]
    CheckMissing {
        /// The missing file.
        check: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// Whether `chmod 600` on the key file is all that is needed.
    pub const fn is_key_permissions(&self) -> bool {
        matches!(self, Self::KeyExposed { .. })
    }
}
