//! Proves that the views are a fold of the log: builds them anew and compares row by row. The
//! log itself is checked on the way: positions and versions without gaps, and each event's hash.

mod compare;
mod log;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use event_store::{EventStore, StoreError};
use sqlx::Connection as _;

use crate::views::{self, OpenViewsError, Projector, ProjectorError};

pub use compare::{Difference, DifferenceKind, TableReport};
pub use log::LogFault;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// How many events the log has.
    pub events: u64,
    /// What is wrong with the log; at most 100.
    pub log_faults: Vec<LogFault>,
    /// Up to which position the views were built, and compared.
    pub position: u64,
    /// Each table and what differs in it.
    pub tables: Vec<TableReport>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.log_faults.is_empty() && self.tables.iter().all(|table| table.differences.is_empty())
    }
}

/// Why nothing could be said.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The views cannot be opened.
    #[error(transparent)]
    Views(#[from] OpenViewsError),
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The views cannot be built anew.
    #[error(transparent)]
    Rebuild(#[from] ProjectorError),
    /// A database refused.
    #[error("the comparison failed")]
    Compare(#[from] sqlx::Error),
    /// The scratch folder beside the views cannot be used.
    #[error("{} cannot be used", path.display())]
    Scratch {
        /// Which folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Compares the views at `views_path` with the log. Needs as much room on the disk again, in a
/// folder beside the file, which is removed afterwards. The process may be running meanwhile.
///
/// # Errors
/// When it cannot be said whether they are the same.
pub async fn verify(
    store: Arc<dyn EventStore>,
    views_path: &Path,
) -> Result<VerifyReport, VerifyError> {
    let folder = views_path.parent().unwrap_or(Path::new(".")).join("verify.tmp");
    let scratch = |source| VerifyError::Scratch { path: folder.clone(), source };
    remove(&folder).await.map_err(scratch)?;
    tokio::fs::create_dir_all(&folder).await.map_err(scratch)?;
    let report = verify_in(&folder, store, views_path).await;
    remove(&folder).await.map_err(scratch)?;
    report
}

async fn remove(folder: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn verify_in(
    folder: &Path,
    store: Arc<dyn EventStore>,
    views_path: &Path,
) -> Result<VerifyReport, VerifyError> {
    let (current, fresh) = (folder.join("current.db"), folder.join("fresh.db"));
    if !views_path.exists() {
        return Err(OpenViewsError::NotPrepared { path: views_path.to_owned() }.into());
    }
    // A copy, so that the comparison is of one moment.
    let mut live = views::connect(views_path).await?;
    sqlx::query("VACUUM INTO $1")
        .bind(current.to_string_lossy().into_owned())
        .execute(&mut live)
        .await?;
    live.close().await?;
    let mut current = views::connect(&current).await?;
    let checkpoint = views::read_checkpoint(&mut current).await?;
    let (events, log_faults) = log::check(&*store).await?;
    views::prepare(&fresh).await?;
    let (mut projector, readers) = Projector::open(&fresh, store).await?;
    projector.catch_up(checkpoint.position).await?;
    readers.close().await;
    drop(projector);
    let tables = compare::tables(&mut current, &fresh).await?;
    current.close().await?;
    Ok(VerifyReport { events, log_faults, position: checkpoint.position.as_u64(), tables })
}
