//! Why a measurement could not be made. A wrong answer is no error here: it is counted.

use std::io;

/// What ended the bench.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file, a process or a socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A text that should have been JSON was not.
    #[error("not the expected JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A connection failed or spoke no HTTP.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// A URL or a header could not be built.
    #[error("not a valid request: {0}")]
    Request(#[from] http::Error),
    /// An operating-system call failed.
    #[error("system call: {0}")]
    System(#[from] nix::Error),
    /// A peer answered with something else than the contract says.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    pub(crate) fn unexpected(text: impl Into<String>) -> Self {
        Self::Unexpected(text.into())
    }
}
