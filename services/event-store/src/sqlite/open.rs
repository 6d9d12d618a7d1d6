//! Preparing and opening the file: its schema, its lock, its durability.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::error::OpenError;
use crate::hook::CommitHook;
use crate::port::Clock;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite/event_store");

/// What the first migration writes into the file's header: `moev`.
const APPLICATION_ID: i64 = 0x6d6f_6576;
/// The `user_version` of the last migration.
const SCHEMA_VERSION: i64 = 3;
/// How long a connection waits for another one's lock on the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How a SQLite event store is opened.
#[derive(Clone)]
pub struct SqliteConfig {
    /// The prepared file.
    pub path: PathBuf,
    /// The time of recording, and of the expiry of keys and bodies.
    pub clock: Clock,
    /// Connections that read, opened when needed. 4 by default.
    pub readers: u32,
    /// Requests that wait for the writer; who finds the queue full waits too. 1,024 by default.
    pub queue: usize,
    /// Called around each commit; for tests of crashes.
    pub hook: Option<Arc<dyn CommitHook>>,
}

impl SqliteConfig {
    /// The usual configuration of the file at `path`.
    pub fn new(path: impl Into<PathBuf>, clock: Clock) -> Self {
        Self { path: path.into(), clock, readers: 4, queue: 1_024, hook: None }
    }
}

/// See [`SqliteEventStore::prepare`](super::SqliteEventStore::prepare).
pub(super) async fn prepare(path: &Path) -> Result<(), OpenError> {
    let _lock = lock(path)?;
    // The files that SQLite puts beside the database get its permissions.
    private(path).map_err(|error| failed(path, "creating the file", error))?;
    let (application, version) = header(path).await?;
    match (application, version) {
        (0, 0) | (APPLICATION_ID, ..=SCHEMA_VERSION) => {}
        (APPLICATION_ID, found) => return Err(newer(path, found)),
        _ => {
            return Err(OpenError::Foreign { path: path.to_owned() });
        }
    }
    let mut connection = writer_connection(path).await?;
    let migrated = MIGRATIONS.run_direct(None, &mut connection, false).await;
    migrated.map_err(|error| failed(path, "running the migrations", error))?;
    connection.close().await.map_err(|error| failed(path, "closing the file", error))
}

/// Takes the lock that a writing process holds, for as long as the file is open.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let mut beside = OsString::from(path);
    beside.push(".lock");
    let file = private(Path::new(&beside))
        .map_err(|error| failed(path, "creating the lock file", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(path, "locking the file", error)),
    }
}

/// Refuses a file that is not an event store of this build's schema.
pub(super) async fn check_schema(path: &Path) -> Result<(), OpenError> {
    if !path.exists() {
        return Err(OpenError::NotPrepared { path: path.to_owned() });
    }
    match header(path).await? {
        (APPLICATION_ID, SCHEMA_VERSION) => Ok(()),
        (APPLICATION_ID, found) if found > SCHEMA_VERSION => Err(newer(path, found)),
        (APPLICATION_ID, found) => {
            Err(OpenError::Older { path: path.to_owned(), found, needed: SCHEMA_VERSION })
        }
        (0, 0) => Err(OpenError::NotPrepared { path: path.to_owned() }),
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

/// The connection that writes. Refused when the file system does not give it a write-ahead
/// log that is synced at each commit.
pub(super) async fn writer_connection(path: &Path) -> Result<SqliteConnection, OpenError> {
    let options = options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("recursive_triggers", "ON")
        // What is deleted is overwritten: bodies must not survive in free pages.
        .pragma("secure_delete", "ON")
        // What a statement may have to undo is kept in memory, not in a file beside.
        .pragma("temp_store", "memory")
        .pragma("journal_size_limit", "67108864")
        // Pages that are written often go into the file once per 16 MB of the log, not per 4.
        .pragma("wal_autocheckpoint", "2000");
    let opening = |error| failed(path, "opening the file", error);
    let mut connection = options.connect().await.map_err(opening)?;
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await
        .map_err(opening)?;
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&mut connection)
        .await
        .map_err(opening)?;
    if journal != "wal" || synchronous != 2 {
        let error = std::io::Error::other(format!("journal {journal}, synchronous {synchronous}"));
        return Err(failed(path, "setting the file to durable commits", error));
    }
    Ok(connection)
}

/// A connection that only reads. Not read-only for SQLite, which could then not open a
/// write-ahead log that is left over.
pub(super) fn reader_options(path: &Path) -> SqliteConnectOptions {
    options(path).pragma("query_only", "ON")
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        // Of a file that is made now: half the writes of the usual 4 KB where many events come.
        .page_size(8_192)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

/// The application id and the schema version of the file.
async fn header(path: &Path) -> Result<(i64, i64), OpenError> {
    let read = async {
        let mut connection = reader_options(path).connect().await?;
        let application: i64 =
            sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut connection).await?;
        let version: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await?;
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok((application, version, tables))
    };
    match read.await {
        // Tables of somebody who leaves the header empty.
        Ok((0, 0, 1..)) => Err(OpenError::Foreign { path: path.to_owned() }),
        Ok((application, version, _)) => Ok((application, version)),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("26") => {
            Err(OpenError::Foreign { path: path.to_owned() })
        }
        Err(error) => Err(failed(path, "reading the file's header", error)),
    }
}

/// Opens a file that only its owner may read, creating it when there is none.
fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn newer(path: &Path, found: i64) -> OpenError {
    OpenError::Newer { path: path.to_owned(), found, needed: SCHEMA_VERSION }
}

fn failed(path: &Path, what: &'static str, cause: impl Error + Send + Sync + 'static) -> OpenError {
    OpenError::Failed { path: path.to_owned(), what, cause: Arc::new(cause) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_writer_syncs_each_commit_to_a_write_ahead_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.db");
        prepare(&path).await.unwrap();
        let mut connection = writer_connection(&path).await.unwrap();
        for (pragma, expected) in [
            ("PRAGMA synchronous", 2),
            ("PRAGMA secure_delete", 1),
            ("PRAGMA foreign_keys", 1),
            ("PRAGMA recursive_triggers", 1),
            ("PRAGMA application_id", APPLICATION_ID),
            ("PRAGMA user_version", SCHEMA_VERSION),
        ] {
            let value: i64 = sqlx::query_scalar(pragma).fetch_one(&mut connection).await.unwrap();
            assert_eq!(value, expected, "{pragma}");
        }
        let journal: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
        assert_eq!(journal, "wal");
    }

    #[tokio::test]
    async fn a_reader_cannot_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.db");
        prepare(&path).await.unwrap();
        let mut connection = reader_options(&path).connect().await.unwrap();
        let refused = sqlx::query("DELETE FROM reservation").execute(&mut connection).await;
        assert!(refused.unwrap_err().to_string().contains("readonly"));
    }

    #[tokio::test]
    async fn a_file_system_without_a_write_ahead_log_is_refused() {
        // SQLite keeps a database in memory in a journal of its own.
        let refused = writer_connection(Path::new(":memory:")).await.unwrap_err();
        assert!(refused.to_string().contains("durable"), "{refused}");
    }
}
