//! Names that are not above all others: the writer looks up only those, and must find them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};
use event_store::{
    Append, AppendError, EventStore, Expected, NewEvent, SqliteConfig, SqliteEventStore,
};
use tempfile::TempDir;
use uuid::Uuid;

fn config(path: &Path) -> SqliteConfig {
    SqliteConfig::new(path, Arc::new(|| Timestamp::from_micros(0)))
}

fn call(tenant: u128, stream: u128, event: u128, expected: Expected) -> Append {
    let event = NewEvent {
        id: EventId::from_uuid(Uuid::from_u128(event)),
        event_type: "call.finished".into(),
        schema_version: 1,
        payload: "{}".into(),
        occurred_at: Timestamp::from_micros(0),
        actor_type: "system".into(),
        actor_id: String::new(),
        causation_id: None,
        correlation_id: None,
        body: None,
    };
    let tenant = TenantId::from_uuid(Uuid::from_u128(tenant));
    let stream = StreamId::new(tenant, StreamKind::Call, Uuid::from_u128(stream));
    Append::new(stream, expected, vec![event])
}

/// What is said to appends of a log that has call 20 of tenant 1, by event 200.
async fn check(store: &SqliteEventStore) {
    let again = store.append(call(1, 20, 200, Expected::Any)).await.unwrap();
    assert!(again.replayed, "the same event again");
    let taken = store.append(call(1, 30, 200, Expected::Any)).await;
    assert!(matches!(taken, Err(AppendError::DuplicateEventId(_))), "{taken:?}");
    let there = store.append(call(1, 20, 300, Expected::NoStream)).await;
    assert!(matches!(there, Err(AppendError::Conflict { actual: 1, .. })), "{there:?}");
}

#[tokio::test]
async fn names_are_found_whatever_their_order() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.db");
    SqliteEventStore::prepare(&path).await.unwrap();
    let store = SqliteEventStore::open(config(&path)).await.unwrap();
    store.append(call(1, 20, 200, Expected::NoStream)).await.unwrap();
    check(&store).await;
    // Below the greatest names, and above those of another tenant only.
    store.append(call(1, 10, 100, Expected::NoStream)).await.unwrap();
    store.append(call(2, 20, 200, Expected::NoStream)).await.unwrap();
    store.append(call(2, 25, 250, Expected::NoStream)).await.unwrap();
    check(&store).await;
    // In one group: what the first ones bring, the later ones see.
    let group = vec![
        call(1, 40, 400, Expected::NoStream),
        call(1, 40, 400, Expected::NoStream),
        call(1, 40, 401, Expected::NoStream),
        call(1, 40, 402, Expected::Exactly(1)),
    ];
    let answers = store.append_all(group).await;
    assert!(answers[0].as_ref().is_ok_and(|appended| !appended.replayed));
    assert!(answers[1].as_ref().is_ok_and(|appended| appended.replayed));
    assert!(matches!(answers[2], Err(AppendError::Conflict { .. })));
    assert!(answers[3].is_ok());
    check(&store).await;
    store.close().await;

    let store = SqliteEventStore::open(config(&path)).await.unwrap();
    check(&store).await;
    let below = store.append(call(1, 39, 399, Expected::NoStream)).await.unwrap();
    assert!(!below.replayed);
    store.close().await;
}
