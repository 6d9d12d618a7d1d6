//! How many events per second the adapters append:
//! `cargo run --release -p event-store --example append_throughput [sqlite|postgres]`.
//!
//! SQLite in groups of several sizes. PostgreSQL at 64 writers, one event an append, against the
//! bare insert into two tables and the same under one lock for all, on one server that waits for
//! the disk (see `fixtures::postgres` for where its programs are looked for).
#![expect(clippy::print_stdout, reason = "a measurement prints what it measured")]

mod raw;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};
use event_store::{
    Append, Body, EventStore, Expected, NewEvent, PostgresConfig, PostgresEventStore, Retention,
    Sequencer, SqliteConfig, SqliteEventStore, postgres,
};
use fixtures::Postgres;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long each row of the table is measured.
const DURATION: Duration = Duration::from_secs(4);
/// Those of the comparison on PostgreSQL.
const WRITERS: usize = 64;
/// How often the comparison is made.
const ROUNDS: usize = 3;

/// A call's last event as the journal appends it: a stream of its own and a body.
fn call(n: u128) -> Append {
    let id = Uuid::now_v7();
    let stream = StreamId::new(TenantId::from_uuid(Uuid::from_u128(n)), StreamKind::Call, id);
    let body = Body {
        bytes: vec![b'b'; 200].into(),
        retention: Retention::Until(Timestamp::from_micros(i64::MAX)),
    };
    let event = NewEvent {
        id: EventId::from_uuid(id),
        event_type: "call.finished".into(),
        schema_version: 1,
        payload: vec![b'p'; 400].into(),
        occurred_at: Timestamp::from_micros(0),
        actor_type: "api_key".into(),
        actor_id: id.to_string(),
        causation_id: None,
        correlation_id: None,
        body: Some(body),
    };
    Append::new(stream, Expected::NoStream, vec![event])
}

/// `callers` tasks that append `group` calls at a time. Returns the events and the time.
async fn measure(store: &SqliteEventStore, callers: usize, group: usize) -> (usize, Duration) {
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut events = 0;
                while started.elapsed() < DURATION {
                    let batch = (0..group).map(|n| call(n as u128 % 8)).collect();
                    let answers = store.append_all(batch).await;
                    events += answers.iter().filter(|answer| answer.is_ok()).count();
                }
                events
            })
        })
        .collect();
    let mut events = 0;
    for task in tasks {
        events += task.await.unwrap_or(0);
    }
    (events, started.elapsed())
}

async fn sqlite() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("events.db");
    SqliteEventStore::prepare(&path).await?;
    let config = SqliteConfig::new(path, Arc::new(|| Timestamp::from_micros(0)));
    let store = SqliteEventStore::open(config).await?;
    println!("{:>8} {:>8} {:>12} {:>14}", "callers", "group", "events/s", "ms per append");
    for (callers, group) in [(1, 1), (8, 1), (32, 1), (256, 1), (1, 50), (1, 500), (4, 500)] {
        let (events, elapsed) = measure(&store, callers, group).await;
        let per_second = events as f64 / elapsed.as_secs_f64();
        let appends = (events / group).max(1);
        let per_append = elapsed.as_secs_f64() * 1e3 * callers as f64 / appends as f64;
        println!("{callers:>8} {group:>8} {per_second:>12.0} {per_append:>14.2}");
    }
    store.close().await;
    Ok(())
}

/// Appends/s of the store, over so many tenants, and what its sequencer was behind at the end.
async fn appended(store: &PostgresEventStore, tenants: u128) -> Result<(f64, u64), Box<dyn Error>> {
    let before = store.head().await?.as_u64();
    let started = Instant::now();
    let writers: Vec<_> = (0..WRITERS as u128)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while started.elapsed() < DURATION {
                    let append = Append { ..call(writer % tenants) };
                    count += u64::from(store.append(without_body(append)).await.is_ok());
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for writer in writers {
        count += writer.await?;
    }
    let elapsed = started.elapsed();
    let placed = store.head().await?.as_u64() - before;
    Ok((count as f64 / elapsed.as_secs_f64(), count.saturating_sub(placed)))
}

/// The bare insert has no body either.
fn without_body(mut append: Append) -> Append {
    append.events.iter_mut().for_each(|event| event.body = None);
    append
}

async fn on_postgres() -> Result<(), Box<dyn Error>> {
    let server = Postgres::start_durable()?;
    let database = server.database().await?;
    let admin = SecretString::from(server.admin_url(database.name()));
    postgres::migrate(&admin).await?;
    let url = |role| SecretString::from(server.url(role, database.name()));
    let clock = Arc::new(|| Timestamp::from_micros(0));
    let config = PostgresConfig::new(url("mcp_orch_app"), url("mcp_orch_log"), clock);
    let store = PostgresEventStore::open(config).await?;
    let shutdown = CancellationToken::new();
    let sequencing = tokio::spawn(Sequencer::new(store.clone(), "bench").run(shutdown.clone()));
    let raw = raw::Raw::prepare(&server.admin_url(database.name()), WRITERS).await?;
    println!("{:>30} {:>12} {:>10}", format!("{WRITERS} writers"), "appends/s", "behind");
    for _ in 0..ROUNDS {
        let bare = raw.measure(DURATION, raw::Lock::None).await?;
        println!("{:>30} {bare:>12.0}", "two tables, no order");
        let locked = raw.measure(DURATION, raw::Lock::Global).await?;
        println!("{:>30} {locked:>12.0}", "the same under a global lock");
        for tenants in [1, 8, 64] {
            let (ours, behind) = appended(&store, tenants).await?;
            let name = format!("event store, {tenants} tenants");
            let (of_bare, of_locked) = (100.0 * ours / bare, ours / locked);
            println!("{name:>30} {ours:>12.0} {behind:>10} = {of_bare:.0} %, {of_locked:.1} x");
        }
    }
    shutdown.cancel();
    sequencing.await?;
    store.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("sqlite") => sqlite().await,
        Some("postgres") => on_postgres().await,
        _ => {
            sqlite().await?;
            on_postgres().await
        }
    }
}
