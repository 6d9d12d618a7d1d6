//! The file of the views: made, checked and opened.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, SqlitePool};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/sqlite/views");

/// Every table and the columns of its key, for `verify` and for emptying.
pub const TABLES: [(&str, &[&str]); 12] = [
    ("checkpoint", &["name"]),
    ("organization", &["tenant"]),
    ("organization_member", &["tenant", "user_id"]),
    ("user_account", &["user_id"]),
    ("project", &["project_id"]),
    ("member", &["project_id", "user_id"]),
    ("server", &["server_id"]),
    ("disabled_tool", &["server_id", "tool"]),
    ("connection", &["server_id"]),
    ("api_key", &["key_id"]),
    ("call", &["call_id"]),
    ("audit_entry", &["position"]),
];

const READERS: u32 = 4;

/// Why the file of the views was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenViewsError {
    /// There is no file, or its schema is not this build's: prepare it.
    #[error("{} is not prepared: run the migrations of the data directory", path.display())]
    NotPrepared {
        /// The file.
        path: PathBuf,
    },
    /// The file system or the database refused.
    #[error("{} cannot be opened", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Makes the file, or makes it anew when its schema is another one: the log has everything that
/// was in it.
///
/// # Errors
/// [`OpenViewsError::Failed`].
pub async fn prepare(path: &Path) -> Result<(), OpenViewsError> {
    if path.exists() && !has_our_schema(path).await {
        tracing::info!(path = %path.display(), "the views have another schema, rebuilding them");
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            match tokio::fs::remove_file(PathBuf::from(name)).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(path, error));
                }
                _ => {}
            }
        }
    }
    let mut connection = options(path)
        .create_if_missing(true)
        .connect()
        .await
        .map_err(|error| failed(path, error))?;
    MIGRATOR.run(&mut connection).await.map_err(|error| failed(path, error))?;
    connection.close().await.map_err(|error| failed(path, error))
}

/// Opens readers, and the one connection that writes.
pub(super) async fn open(path: &Path) -> Result<(SqlitePool, SqliteConnection), OpenViewsError> {
    if !path.exists() || !has_our_schema(path).await {
        return Err(OpenViewsError::NotPrepared { path: path.to_owned() });
    }
    let writer = options(path).connect().await.map_err(|error| failed(path, error))?;
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS)
        .min_connections(0)
        .idle_timeout(Duration::from_secs(60))
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options(path).read_only(true))
        .await
        .map_err(|error| failed(path, error))?;
    Ok((pool, writer))
}

/// Opens one connection to a file that need not be prepared by us.
pub(crate) async fn connect(path: &Path) -> Result<SqliteConnection, OpenViewsError> {
    options(path).connect().await.map_err(|error| failed(path, error))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(5))
        .pragma("cache_size", "-2000")
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

async fn has_our_schema(path: &Path) -> bool {
    let Ok(mut connection) = options(path).connect().await else { return false };
    let applied: Result<Vec<(i64, Vec<u8>)>, _> =
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations ORDER BY version")
            .fetch_all(&mut connection)
            .await;
    let ours = MIGRATOR.iter().map(|one| (one.version, one.checksum.to_vec()));
    applied.is_ok_and(|applied| applied == ours.collect::<Vec<_>>())
}

fn failed(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> OpenViewsError {
    OpenViewsError::Failed { path: path.to_owned(), source: Box::new(source) }
}
