//! Logs to the console and to `logs/mcp-orch.log`.
//!
//! The file keeps its name while it is written and is moved aside when it is full, so that
//! `tail -F` follows it. Writing never blocks a request: when the writer cannot keep up, lines
//! are dropped and counted by the writer.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use file_rotate::compression::Compression;
use file_rotate::suffix::AppendCount;
use file_rotate::{ContentLimit, FileRotate};
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Bytes after which the log file is moved aside.
const LOG_FILE_BYTES: usize = 16 * 1024 * 1024;
/// How many files that were moved aside are kept.
const LOG_FILES_KEPT: usize = 5;

/// What is logged, and where.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// A level (`DEBUG`) or a filter (`info,mcp=debug`), from `MCP_LOG_LEVEL`.
    pub filter: String,
    /// The directory of `mcp-orch.log`; none writes no file.
    pub directory: Option<PathBuf>,
    /// Whether the console (stderr) shows the log.
    pub console: bool,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("MCP_LOG_LEVEL {0:?} is no level and no filter: try INFO or DEBUG")]
    Filter(String),
    /// The directory cannot be made.
    #[error("cannot make the log directory {path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something else logs already.
    #[error(transparent)]
    Installed(#[from] TryInitError),
}

/// Keep it until the process ends: dropping it writes what is still in memory.
#[derive(Debug)]
pub struct TelemetryGuard {
    _file: Option<WorkerGuard>,
}

/// Begins logging for the whole process.
///
/// # Errors
/// When the filter is none, the directory cannot be made, or logging has begun already.
pub fn init(config: &TelemetryConfig) -> Result<TelemetryGuard, TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|_| TelemetryError::Filter(config.filter.clone()))?;
    let (file, guard) = match &config.directory {
        Some(directory) => {
            let (writer, guard) = file_writer(directory)?;
            (Some(writer), Some(guard))
        }
        None => (None, None),
    };
    let colours = io::stderr().is_terminal();
    let console = config.console.then(|| fmt::layer().with_ansi(colours).with_writer(io::stderr));
    let file = file.map(|writer| fmt::layer().with_ansi(false).with_writer(writer));
    tracing_subscriber::registry().with(filter).with(console).with(file).try_init()?;
    Ok(TelemetryGuard { _file: guard })
}

fn file_writer(directory: &PathBuf) -> Result<(NonBlocking, WorkerGuard), TelemetryError> {
    std::fs::create_dir_all(directory)
        .map_err(|source| TelemetryError::Directory { path: directory.clone(), source })?;
    let file = FileRotate::new(
        directory.join("mcp-orch.log"),
        AppendCount::new(LOG_FILES_KEPT),
        ContentLimit::BytesSurpassed(LOG_FILE_BYTES),
        Compression::None,
        None,
    );
    Ok(tracing_appender::non_blocking(file))
}
