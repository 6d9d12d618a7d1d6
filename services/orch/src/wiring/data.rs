//! The data directory of a service that keeps something.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};

/// The log of `up`, in its data directory.
pub(crate) const LOG_FILE: &str = "events.db";
/// The read models, in the data directory.
pub(crate) const VIEWS_FILE: &str = "views.db";

/// Makes the directory, for its owner alone: it holds a sealing key, or what was read with it.
///
/// # Errors
/// When it cannot be made, or others can read it and that cannot be changed.
pub(crate) fn make_private(data: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("cannot make the data directory {}", data.display()))?;
    let mode = std::fs::metadata(data)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700))
            .with_context(|| format!("{} can be read by others: chmod 700 it", data.display()))?;
    }
    Ok(())
}
