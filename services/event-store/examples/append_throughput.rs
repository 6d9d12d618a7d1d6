//! How many events per second the SQLite adapter appends, in groups of several sizes:
//! `cargo run --release -p event-store --example append_throughput`.
#![expect(clippy::print_stdout, reason = "a measurement prints what it measured")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};
use event_store::{
    Append, Body, EventStore, Expected, NewEvent, Retention, SqliteConfig, SqliteEventStore,
};
use uuid::Uuid;

/// How long each row of the table is measured.
const DURATION: Duration = Duration::from_secs(3);

/// A call's last event as the journal appends it: a stream of its own and a body.
fn call(n: u128) -> Append {
    let id = Uuid::now_v7();
    let stream = StreamId::new(TenantId::from_uuid(Uuid::from_u128(n % 8)), StreamKind::Call, id);
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
                    let batch = (0..group).map(|n| call(n as u128)).collect();
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
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
