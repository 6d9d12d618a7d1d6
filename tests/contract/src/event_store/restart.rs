//! What is there after the store was closed and opened.

use event_store::{
    Append, AppendError, Body, Expected, Idempotency, NewEvent, Position, ReadFilter,
    ReservationChange, ReservationSet, Retention,
};

use super::{
    Adapter, TestClock, all, append, appended, event, event_id, numbers, soon, stream, tenant, time,
};

/// Events, positions, times, keys, reservations and bodies.
pub async fn everything_is_there_after_a_restart<A: Adapter>() {
    let clock = TestClock::at(50);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    let set = ReservationSet::global("project_id");
    let body = |retention| Some(Body { bytes: "body".into(), retention });
    let batch = Append {
        stream: stream("a"),
        expected: Expected::NoStream,
        events: vec![
            NewEvent { body: body(Retention::Forever), ..event(1) },
            NewEvent { body: body(Retention::Until(time(99))), ..event(2) },
        ],
        idempotency: Some(Idempotency {
            key: "k".to_owned(),
            request_hash: [1; 32],
            expires_at: time(99),
        }),
        reservations: vec![ReservationChange::Take {
            set: set.clone(),
            value: "abc".to_owned(),
            holder: "p1".to_owned(),
        }],
        fence: None,
    };
    store.append(batch).await.unwrap();
    let other = domain::StreamId { tenant: tenant(2), ..stream("a") };
    appended(&*store, &other, [3]).await;
    let before = all(&*store, &ReadFilter::all()).await;
    drop(store);

    let adapter = adapter.restart().await;
    let store = adapter.store();
    assert_eq!(all(&*store, &ReadFilter::all()).await, before);
    assert_eq!(store.head().await.unwrap(), Position::new(3));
    assert!(store.former(tenant(1), "k", &[1; 32]).await.unwrap().is_some());
    assert_eq!(store.holder(&set, "abc").await.unwrap().as_deref(), Some("p1"));
    for n in 1..=2 {
        assert!(store.body(tenant(1), event_id(n)).await.unwrap().is_some());
    }

    clock.set(1);
    let mut follower = store.subscribe(Position::new(3), ReadFilter::all());
    let next = Append { expected: Expected::Exactly(2), ..append(&stream("a"), [4]) };
    store.append(next).await.unwrap();
    let fourth = soon(follower.next()).await.unwrap();
    assert_eq!((fourth.position, fourth.tenant_position), (Position::new(4), 3));
    assert_eq!(fourth.recorded_at, time(50));
}

/// By event ids, and by the version that the stream kept.
pub async fn a_retry_after_a_restart_is_one_append<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let batch = Append { expected: Expected::NoStream, ..append(&stream("a"), [1, 2]) };
    let first = adapter.store().append(batch.clone()).await.unwrap();
    let adapter = adapter.restart().await;
    let store = adapter.store();
    let again = store.append(batch).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.last_position, first.last_position);
    let late = Append { expected: Expected::NoStream, ..append(&stream("a"), [3]) };
    let answer = store.append(late).await;
    assert!(matches!(answer, Err(AppendError::Conflict { actual: 2, .. })));
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 2]);
}
