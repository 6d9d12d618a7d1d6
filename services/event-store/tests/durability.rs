//! What only a database in a file can do wrong: crashes, refusals of the disk, other hands.

use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};
use event_store::{
    Append, AppendError, Appended, CommitHook, EventStore, Expected, NewEvent, OpenError, Position,
    ReadFilter, SqliteConfig, SqliteEventStore, StoreError,
};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use uuid::Uuid;

type Outcome = Result<(), Box<dyn Error>>;

fn append(n: u128) -> Append {
    let event = NewEvent {
        id: EventId::from_uuid(Uuid::from_u128(n)),
        event_type: "server.registered".into(),
        schema_version: 1,
        payload: "{}".into(),
        occurred_at: Timestamp::from_micros(0),
        actor_type: "user".into(),
        actor_id: "ada".to_owned(),
        causation_id: None,
        correlation_id: None,
        body: None,
    };
    let tenant = TenantId::from_uuid(Uuid::from_u128(1));
    Append::new(StreamId::new(tenant, StreamKind::Server, "a"), Expected::Any, vec![event])
}

fn config(path: &Path) -> SqliteConfig {
    SqliteConfig::new(path, Arc::new(|| Timestamp::from_micros(0)))
}

async fn prepared() -> Result<(TempDir, PathBuf), OpenError> {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("events.db");
    SqliteEventStore::prepare(&path).await?;
    Ok((directory, path))
}

/// Another program with the file open.
async fn other_hand(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop)
}

/// The number of events, after a look at each position.
async fn dense(store: &SqliteEventStore) -> Result<u64, StoreError> {
    let page = store.read(Position::START, &ReadFilter::all(), 1_000).await?;
    for (position, event) in (1..).zip(&page.events) {
        assert_eq!(event.position, Position::new(position));
        assert_eq!(event.version, position);
        assert_eq!(event.leaf_hash, event_store::leaf_hash(event));
    }
    Ok(page.events.len() as u64)
}

/// Stops for good where it is told to, and says that it did.
struct StopAt {
    before: bool,
    armed: Arc<AtomicBool>,
    reached: mpsc::Sender<()>,
}

impl StopAt {
    async fn stop(&self, here: bool) {
        if here && self.armed.load(Ordering::SeqCst) {
            self.reached.send(()).await.expect("a waiting test");
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl CommitHook for StopAt {
    async fn before_commit(&self, _events: usize) {
        self.stop(self.before).await;
    }

    async fn after_commit(&self, _events: usize) {
        self.stop(!self.before).await;
    }
}

/// Appends one event that is answered, then stops in the commit of a second one, and drops
/// everything that runs. Returns how many events are there afterwards, and the second one's
/// retry.
fn crash(before: bool) -> Result<(u64, Appended), Box<dyn Error>> {
    let first_life = Runtime::new()?;
    let (_directory, path) = first_life.block_on(prepared())?;
    let armed = Arc::new(AtomicBool::new(false));
    let (reached, mut stopped) = mpsc::channel(1);
    let hook = StopAt { before, armed: Arc::clone(&armed), reached };
    let hooked = SqliteConfig { hook: Some(Arc::new(hook)), ..config(&path) };
    first_life.block_on(async {
        let store = SqliteEventStore::open(hooked).await?;
        store.append(append(1)).await?;
        armed.store(true, Ordering::SeqCst);
        let unanswered = tokio::spawn(async move { store.append(append(2)).await });
        stopped.recv().await.expect("the commit of the second event");
        assert!(!unanswered.is_finished(), "answered before the end of the commit");
        Ok::<_, Box<dyn Error>>(())
    })?;
    first_life.shutdown_timeout(Duration::from_secs(5));

    Runtime::new()?.block_on(async {
        let store = SqliteEventStore::open(config(&path)).await?;
        let there = dense(&store).await?;
        let retried = store.append(append(2)).await?;
        assert_eq!(dense(&store).await?, 2);
        Ok((there, retried))
    })
}

#[test]
fn a_crash_before_the_commit_loses_what_was_not_answered_only() -> Outcome {
    let (there, retried) = crash(true)?;
    assert_eq!((there, retried.replayed), (1, false));
    Ok(())
}

#[test]
fn a_crash_after_the_commit_loses_nothing_and_a_retry_is_one_append() -> Outcome {
    let (there, retried) = crash(false)?;
    assert_eq!((there, retried.replayed), (2, true));
    Ok(())
}

#[tokio::test]
async fn an_event_is_never_changed_deleted_or_replaced() -> Outcome {
    let (_directory, path) = prepared().await?;
    let store = SqliteEventStore::open(config(&path)).await?;
    store.append(append(1)).await?;
    store.append(append(2)).await?;
    let before = store.read(Position::START, &ReadFilter::all(), 9).await?;
    let mut other = other_hand(&path).await?;
    for (sql, reason) in [
        ("UPDATE event SET payload = x'00' WHERE position = 1", "never changes"),
        ("UPDATE event SET position = 9 WHERE position = 2", "never changes"),
        ("DELETE FROM event WHERE position = 2", "never deleted"),
        ("DELETE FROM event", "never deleted"),
        ("INSERT OR REPLACE INTO event SELECT * FROM event WHERE position = 2", "only added"),
        (
            "CREATE TEMP TABLE later AS SELECT * FROM event WHERE position = 2;
             UPDATE later SET position = 4;
             INSERT INTO event SELECT * FROM later",
            "only added",
        ),
    ] {
        let refused = run(&mut other, sql).await.expect_err(sql).to_string();
        assert!(refused.contains(reason), "{sql}: {refused}");
    }
    assert_eq!(store.read(Position::START, &ReadFilter::all(), 9).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_write_that_the_database_refuses_is_unavailable_and_leaves_no_gap() -> Outcome {
    let (_directory, path) = prepared().await?;
    let store = SqliteEventStore::open(config(&path)).await?;
    store.append(append(1)).await?;
    let mut other = other_hand(&path).await?;
    run(
        &mut other,
        "CREATE TRIGGER refuse BEFORE INSERT ON event WHEN NEW.event_id = \
         x'00000000000000000000000000000003' BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .await?;
    let answers = store.append_all(vec![append(2), append(3)]).await;
    assert!(answers.iter().all(|one| matches!(one, Err(AppendError::Unavailable { .. }))));
    assert_eq!(dense(&store).await?, 1);
    store.append(append(2)).await?;
    run(&mut other, "DROP TRIGGER refuse").await?;
    store.append(append(3)).await?;
    assert_eq!(dense(&store).await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_commit_that_fails_is_an_unknown_outcome_that_a_retry_clears() -> Outcome {
    let (_directory, path) = prepared().await?;
    let store = SqliteEventStore::open(config(&path)).await?;
    let mut follower = store.subscribe(Position::START, ReadFilter::all());
    store.append(append(1)).await?;
    let mut other = other_hand(&path).await?;
    // A reference that is only checked at the commit, and leads nowhere.
    run(
        &mut other,
        "CREATE TABLE nowhere (x INTEGER PRIMARY KEY);
         CREATE TABLE leads (x REFERENCES nowhere (x) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER refuse AFTER INSERT ON event BEGIN INSERT INTO leads VALUES (7); END",
    )
    .await?;
    let answer = store.append(append(2)).await;
    assert!(matches!(answer, Err(AppendError::OutcomeUnknown { .. })), "{answer:?}");
    run(&mut other, "DROP TRIGGER refuse").await?;
    let retried = store.append(append(2)).await?;
    assert_eq!((retried.replayed, retried.last_position), (false, Some(Position::new(2))));
    for position in 1..=2 {
        let event = tokio::time::timeout(Duration::from_secs(30), follower.next()).await??;
        assert_eq!(event.position, Position::new(position));
    }
    Ok(())
}

#[tokio::test]
async fn one_process_writes_and_others_may_read() -> Outcome {
    let (_directory, path) = prepared().await?;
    let store = SqliteEventStore::open(config(&path)).await?;
    store.append(append(1)).await?;
    assert!(matches!(SqliteEventStore::open(config(&path)).await, Err(OpenError::InUse { .. })));
    assert!(matches!(SqliteEventStore::prepare(&path).await, Err(OpenError::InUse { .. })));

    let reading = SqliteEventStore::open_read_only(config(&path)).await?;
    assert_eq!(dense(&reading).await?, 1);
    let refused = reading.append(append(2)).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })));
    let refused = reading.forget_keys(Timestamp::from_micros(0), 1).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })));
    reading.close().await;

    store.close().await;
    SqliteEventStore::open(config(&path)).await?.close().await;
    Ok(())
}

#[tokio::test]
async fn a_closed_store_refuses_and_ends_its_followers() -> Outcome {
    let (_directory, path) = prepared().await?;
    let store = SqliteEventStore::open(config(&path)).await?;
    store.append(append(1)).await?;
    let mut live = store.subscribe(Position::START, ReadFilter::all());
    live.next().await?;
    let waiting = tokio::spawn(async move { live.next().await });
    store.close().await;
    let ended = tokio::time::timeout(Duration::from_secs(30), waiting).await??;
    assert!(matches!(ended, Err(StoreError::Closed)), "{ended:?}");
    let refused = store.append(append(2)).await;
    assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
    assert!(matches!(store.head().await, Err(StoreError::Closed)));
    assert!(!path.with_extension("db-wal").exists(), "the log was not moved into the file");
    Ok(())
}

#[tokio::test]
async fn the_files_are_for_their_owner_only() -> Outcome {
    let (directory, path) = prepared().await?;
    let store = SqliteEventStore::open(config(&path)).await?;
    store.append(append(1)).await?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.path())? {
        let entry = entry?;
        let mode = entry.metadata()?.permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().expect("a name of ours"));
    }
    names.sort();
    assert_eq!(names, ["events.db", "events.db-shm", "events.db-wal", "events.db.lock"]);
    Ok(())
}

#[tokio::test]
async fn a_file_that_does_not_fit_is_refused_with_what_to_do() -> Outcome {
    let directory = TempDir::new()?;
    let missing = directory.path().join("missing.db");
    let refused = SqliteEventStore::open(config(&missing)).await.err().expect("no file");
    assert!(matches!(refused, OpenError::NotPrepared { .. }));
    assert!(refused.to_string().contains("migrations"), "{refused}");
    assert!(!missing.exists());

    let foreign = directory.path().join("foreign.db");
    run(&mut other_hand(&foreign).await?, "CREATE TABLE other (x)").await?;
    let text = directory.path().join("text.db");
    std::fs::write(&text, "not a database, but long enough to be one: ".repeat(40))?;
    for path in [foreign, text] {
        let refused = SqliteEventStore::open(config(&path)).await.err();
        assert!(matches!(refused, Some(OpenError::Foreign { .. })), "{path:?}: {refused:?}");
        let refused = SqliteEventStore::prepare(&path).await.err();
        assert!(matches!(refused, Some(OpenError::Foreign { .. })), "{path:?}: {refused:?}");
    }

    let (_directory, path) = prepared().await?;
    let mut other = other_hand(&path).await?;
    run(&mut other, "PRAGMA user_version = 99").await?;
    let refused = SqliteEventStore::open(config(&path)).await.err();
    assert!(matches!(refused, Some(OpenError::Newer { found: 99, .. })), "{refused:?}");
    let refused = SqliteEventStore::prepare(&path).await.err();
    assert!(matches!(refused, Some(OpenError::Newer { found: 99, .. })), "{refused:?}");
    run(&mut other, "PRAGMA user_version = 0").await?;
    let refused = SqliteEventStore::open(config(&path)).await.err();
    assert!(matches!(refused, Some(OpenError::Older { found: 0, .. })), "{refused:?}");
    other.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_prepared_file_may_be_prepared_again() -> Outcome {
    let (_directory, path) = prepared().await?;
    let store = SqliteEventStore::open(config(&path)).await?;
    store.append(append(1)).await?;
    store.close().await;
    SqliteEventStore::prepare(&path).await?;
    let store = SqliteEventStore::open(config(&path)).await?;
    assert_eq!(dense(&store).await?, 1);
    Ok(())
}
