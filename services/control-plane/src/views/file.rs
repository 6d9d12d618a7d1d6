//! The file of the views: made, checked and opened. Only its owner can read it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, SqlitePool};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/sqlite/views");

/// Every table and the columns of its key, for `verify` and for emptying.
pub const TABLES: [(&str, &[&str]); 13] = [
    ("checkpoint", &["name"]),
    ("organization", &["tenant"]),
    ("organization_member", &["tenant", "user_id"]),
    ("user_account", &["user_id"]),
    ("project", &["project_id"]),
    ("member", &["project_id", "user_id"]),
    ("server", &["server_id"]),
    ("disabled_tool", &["server_id", "tool"]),
    ("tool_definition", &["server_id", "tool"]),
    ("connection", &["server_id"]),
    ("api_key", &["key_id"]),
    ("call", &["project_id", "position"]),
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
    // The files that SQLite puts beside the database get its permissions.
    create_private(path).map_err(|error| failed(path, error))?;
    let mut connection = connect(path).await?;
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

/// Makes a file that only its owner may read, where there is none.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .page_size(8_192)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(5))
        .pragma("cache_size", "-2000")
        .pragma("temp_store", "memory")
        .pragma("wal_autocheckpoint", "2000")
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn only_the_owner_can_read_the_views_and_what_stands_beside_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("views.db");
        prepare(&path).await.unwrap();
        let (_readers, mut writer) = open(&path).await.unwrap();
        sqlx::query("DELETE FROM call").execute(&mut writer).await.unwrap();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            let name = entry.file_name().into_string().unwrap();
            assert_eq!(mode, 0o600, "{name}: {mode:o}");
            names.push(name);
        }
        names.sort();
        assert_eq!(names, ["views.db", "views.db-shm", "views.db-wal"]);
    }
}
