//! What one append may hold.

use event_store::{
    Append, AppendError, Body, Expected, Idempotency, MAX_BODY_BYTES, MAX_EVENTS_PER_APPEND,
    MAX_ID_BYTES, MAX_PAYLOAD_BYTES, MAX_RESERVATIONS_PER_APPEND, NewEvent, Position,
    ReservationChange, ReservationSet, Retention,
};

use super::{Adapter, TestClock, append, event, event_id, stream, tenant, time};

fn one(event: NewEvent) -> Append {
    Append::new(stream("a"), Expected::Any, vec![event])
}

fn with_body(n: u64, bytes: usize) -> NewEvent {
    let body = Body { bytes: vec![7; bytes].into(), retention: Retention::Forever };
    NewEvent { body: Some(body), ..event(n) }
}

fn with_key(key: &str) -> Append {
    let key = key.to_owned();
    let idempotency = Idempotency { key, request_hash: [0; 32], expires_at: time(9) };
    Append { idempotency: Some(idempotency), ..append(&stream("a"), [1]) }
}

fn takes(values: impl IntoIterator<Item = String>) -> Append {
    let set = ReservationSet::global("names");
    let take = |value| ReservationChange::Take { set: set.clone(), value, holder: "h".to_owned() };
    let reservations = values.into_iter().map(take).collect();
    Append { reservations, ..append(&stream("a"), [1]) }
}

/// One more than each limit.
pub async fn what_is_too_large_is_refused<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let long = "x".repeat(MAX_ID_BYTES + 1);
    let many = |count: usize| 1..=count as u64;
    for batch in [
        append(&stream("a"), many(MAX_EVENTS_PER_APPEND + 1)),
        append(&stream(&long), [1]),
        one(NewEvent { payload: vec![0; MAX_PAYLOAD_BYTES + 1].into(), ..event(1) }),
        one(with_body(1, MAX_BODY_BYTES + 1)),
        one(NewEvent { event_type: long.clone().into(), ..event(1) }),
        one(NewEvent { actor_id: long.clone(), ..event(1) }),
        one(NewEvent { correlation_id: Some(long.clone()), ..event(1) }),
        with_key(&long),
        takes([long.clone()]),
        takes(many(MAX_RESERVATIONS_PER_APPEND + 1).map(|n| n.to_string())),
        Append::new(
            stream("a"),
            Expected::Any,
            many(3).map(|n| with_body(n, MAX_BODY_BYTES)).collect(),
        ),
    ] {
        match store.append(batch).await {
            Err(AppendError::TooLarge { actual, limit, .. }) => assert!(actual > limit),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.head().await.unwrap(), Position::START);
}

/// Each limit itself.
pub async fn what_is_at_the_limit_is_stored<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let long = "x".repeat(MAX_ID_BYTES);
    let largest = NewEvent {
        payload: vec![1; MAX_PAYLOAD_BYTES].into(),
        event_type: long.clone().into(),
        actor_type: long.clone().into(),
        actor_id: long.clone(),
        correlation_id: Some(long.clone()),
        ..with_body(1, MAX_BODY_BYTES)
    };
    let events = std::iter::once(largest).chain((2..=MAX_EVENTS_PER_APPEND as u64).map(event));
    let batch = Append {
        stream: stream(&long),
        events: events.collect(),
        idempotency: with_key(&long).idempotency,
        reservations: takes(
            (0..MAX_RESERVATIONS_PER_APPEND).map(|n| format!("{n:0>MAX_ID_BYTES$}")),
        )
        .reservations,
        ..append(&stream("a"), [])
    };
    let done = store.append(batch).await.unwrap();
    assert_eq!(done.last_version, MAX_EVENTS_PER_APPEND as u64);
    let read = store.event(tenant(1), event_id(1)).await.unwrap().unwrap();
    assert_eq!(read.payload.len(), MAX_PAYLOAD_BYTES);
    let body = store.body(tenant(1), event_id(1)).await.unwrap().unwrap();
    assert_eq!(body.len(), MAX_BODY_BYTES);
}

/// What no store could make sense of.
pub async fn what_is_malformed_is_refused<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let foreign = ReservationChange::Take {
        set: ReservationSet::of_tenant(tenant(2), "names"),
        value: "x".to_owned(),
        holder: "h".to_owned(),
    };
    for batch in [
        append(&stream("a"), []),
        append(&stream("a"), [1, 1]),
        append(&stream(""), [1]),
        one(NewEvent { event_type: "".into(), ..event(1) }),
        with_key(""),
        takes([String::new()]),
        Append { reservations: vec![foreign], ..append(&stream("a"), [1]) },
    ] {
        let answer = store.append(batch).await;
        assert!(matches!(answer, Err(AppendError::Invalid { .. })), "{answer:?}");
    }
    assert_eq!(store.head().await.unwrap(), Position::START);
}
