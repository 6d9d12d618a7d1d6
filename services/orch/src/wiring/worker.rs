//! What a worker is given.

use anyhow::{Context, Result};
use connection_worker::{ReaperCommand, WorkerConfig};
use uuid::Uuid;

/// The defaults around this very program, which is its own reaper.
///
/// # Errors
/// When the program cannot be found.
pub(crate) fn worker_config() -> Result<WorkerConfig> {
    let program = std::env::current_exe().context("cannot find my own program")?;
    Ok(WorkerConfig::new(ReaperCommand { program, args: vec!["reaper".into()] }))
}

/// A number from 0 to 1, from the random part of a new id.
pub(crate) fn jitter() -> f64 {
    let low = Uuid::now_v7().as_u128() as u32;
    f64::from(low) / f64::from(u32::MAX)
}
