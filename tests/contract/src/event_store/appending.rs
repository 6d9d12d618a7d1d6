//! Versions, positions, expected versions, and appends that come twice.

use event_store::{
    Append, AppendError, Expected, NewEvent, Position, ReadFilter, Recorded, leaf_hash,
};

use super::{
    Adapter, TestClock, all, append, appended, event, event_id, numbers, stream, tenant, time,
};

/// Versions count per stream, positions over all of them.
pub async fn versions_and_positions_follow_each_other<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let (a, b) = (stream("a"), stream("b"));
    assert_eq!(store.head().await.unwrap(), Position::START);

    let first = appended(&*store, &a, [1, 2]).await;
    assert_eq!((first.first_version, first.last_version), (1, 2));
    assert_eq!(first.last_position, Some(Position::new(2)));
    assert_eq!(first.stream, a);
    assert!(!first.replayed);
    let second = appended(&*store, &b, [3]).await;
    assert_eq!((second.first_version, second.last_version), (1, 1));
    assert_eq!(second.last_position, Some(Position::new(3)));
    let third = appended(&*store, &a, [4]).await;
    assert_eq!((third.first_version, third.last_version), (3, 3));

    let log = all(&*store, &ReadFilter::all()).await;
    assert_eq!(numbers(&log), [1, 2, 3, 4]);
    let positions: Vec<_> = log.iter().map(|event| event.position.as_u64()).collect();
    assert_eq!(positions, [1, 2, 3, 4]);
    assert_eq!(store.head().await.unwrap(), Position::new(4));
}

/// Each field comes back, and the digest is that of the event.
pub async fn an_event_is_read_as_it_was_appended<A: Adapter>() {
    let adapter = A::start(TestClock::at(500).clock()).await;
    let store = adapter.store();
    let given = NewEvent {
        schema_version: 7,
        payload: vec![0, 255, b'"', 13, 10].into(),
        actor_type: "api_key".into(),
        actor_id: String::new(),
        causation_id: Some(event_id(99)),
        correlation_id: Some("request é".to_owned()),
        ..event(1)
    };
    let to = stream("ü/ ' ;--");
    store.append(Append::new(to.clone(), Expected::NoStream, vec![given.clone()])).await.unwrap();

    let log = all(&*store, &ReadFilter::all()).await;
    let read = &log[0];
    let mut expected = Recorded {
        position: Position::new(1),
        tenant_position: 1,
        stream: to.clone(),
        version: 1,
        event_id: given.id,
        event_type: given.event_type,
        schema_version: 7,
        payload: given.payload,
        occurred_at: given.occurred_at,
        recorded_at: time(500),
        actor_type: given.actor_type,
        actor_id: given.actor_id,
        causation_id: given.causation_id,
        correlation_id: given.correlation_id,
        key_id: None,
        leaf_hash: [0; 32],
    };
    expected.leaf_hash = leaf_hash(&expected);
    assert_eq!(**read, expected);
    assert_ne!(expected.leaf_hash, leaf_hash(&Recorded { version: 2, ..expected.clone() }));
    assert_eq!(store.read_stream(&to, 0, 10).await.unwrap(), log);
}

/// The caller learns the version that the stream has.
pub async fn a_wrong_expected_version_is_a_conflict<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let to = stream("a");
    let at = |expected, n| Append { expected, ..append(&to, [n]) };
    store.append(at(Expected::Exactly(0), 1)).await.unwrap();
    store.append(at(Expected::Exactly(1), 2)).await.unwrap();
    store.append(at(Expected::Any, 3)).await.unwrap();
    for wrong in [Expected::NoStream, Expected::Exactly(2), Expected::Exactly(4)] {
        match store.append(at(wrong, 4)).await {
            Err(AppendError::Conflict { stream, expected, actual: 3 }) => {
                assert_eq!((stream, expected), (to.clone(), wrong));
            }
            other => panic!("{wrong}: {other:?}"),
        }
    }
    store.append(at(Expected::Exactly(3), 4)).await.unwrap();
    assert_eq!(store.read_stream(&to, 0, 10).await.unwrap().len(), 4);
}

/// Whatever is refused takes no position and no version with it.
pub async fn a_refused_append_leaves_no_gap<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let to = stream("a");
    appended(&*store, &to, [1]).await;
    for n in 2..6 {
        let refused = Append { expected: Expected::NoStream, ..append(&to, [n]) };
        store.append(refused).await.unwrap_err();
        assert_eq!(store.head().await.unwrap(), Position::new(n - 1));
        let next = appended(&*store, &to, [n]).await;
        assert_eq!(next.last_position, Some(Position::new(n)));
    }
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 2, 3, 4, 5]);
}

/// Each tenant's events count for themselves.
pub async fn tenant_positions_are_dense<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    for n in 1..=12_u64 {
        let of = tenant((n % 3) as u8);
        let to = domain::StreamId { tenant: of, ..stream("a") };
        appended(&*store, &to, [n]).await;
    }
    for n in 0..3 {
        let log = all(&*store, &ReadFilter::of_tenant(tenant(n))).await;
        let dense: Vec<_> = log.iter().map(|event| event.tenant_position).collect();
        assert_eq!(dense, [1, 2, 3, 4]);
    }
}

/// A clock that goes back does not take the log with it.
pub async fn the_time_of_recording_never_falls<A: Adapter>() {
    let clock = TestClock::at(1_000);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    for (n, now) in [(1, 1_000), (2, 1_005), (3, 2), (4, 1_004), (5, 1_006)] {
        clock.set(now);
        appended(&*store, &stream("a"), [n]).await;
    }
    let log = all(&*store, &ReadFilter::all()).await;
    let times: Vec<_> = log.iter().map(|event| event.recorded_at).collect();
    assert_eq!(times, [1_000, 1_005, 1_005, 1_005, 1_006].map(time));
}

/// A retry after an unknown outcome is safe, whatever version it expects.
pub async fn the_same_events_are_one_append<A: Adapter>() {
    let clock = TestClock::at(0);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    let to = stream("a");
    let batch = Append { expected: Expected::NoStream, ..append(&to, [1, 2]) };
    let first = store.append(batch.clone()).await.unwrap();
    appended(&*store, &to, [3]).await;
    clock.set(9);
    let again = store.append(batch).await.unwrap();
    assert!(again.replayed);
    assert_eq!(event_store::Appended { replayed: false, ..again }, first);
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 2, 3]);
}

/// Other content, another stream, another order, or only some of the events known.
pub async fn an_event_id_of_something_else_is_refused<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let to = stream("a");
    appended(&*store, &to, [1, 2]).await;
    let one = |event: NewEvent| Append::new(to.clone(), Expected::Any, vec![event]);
    let refused = [
        one(NewEvent { payload: "{}".into(), ..event(1) }),
        one(NewEvent { schema_version: 2, ..event(1) }),
        one(NewEvent { actor_id: "eve".to_owned(), ..event(1) }),
        one(NewEvent { correlation_id: Some("x".to_owned()), ..event(1) }),
        append(&stream("b"), [1]),
        append(&to, [2, 1]),
        append(&to, [2, 3]),
        append(&to, [3, 2]),
    ];
    for batch in refused {
        let ids: Vec<_> = batch.events.iter().map(|event| event.id).collect();
        match store.append(batch).await {
            Err(AppendError::DuplicateEventId(id)) => assert!(ids.contains(&id)),
            other => panic!("{ids:?}: {other:?}"),
        }
    }
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 2]);
}

/// An id of one tenant says nothing of another tenant's.
pub async fn event_ids_belong_to_their_tenant<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    for n in 1..=2 {
        let to = domain::StreamId { tenant: tenant(n), ..stream("a") };
        let batch = Append { expected: Expected::NoStream, ..append(&to, [1]) };
        assert!(!store.append(batch).await.unwrap().replayed);
    }
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 1]);
}

/// Each append of a call is for itself, and the answers are in order.
pub async fn a_refused_append_leaves_its_neighbours<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let to = stream("a");
    let answers = store
        .append_all(vec![
            append(&to, [1]),
            Append { expected: Expected::Exactly(9), ..append(&to, [2]) },
            append(&to, []),
            append(&stream("b"), [1]),
            append(&to, [3]),
        ])
        .await;
    let last = |n: usize| answers[n].as_ref().unwrap().last_position;
    assert_eq!(answers.len(), 5);
    assert_eq!(last(0), Some(Position::new(1)));
    assert!(matches!(answers[1], Err(AppendError::Conflict { actual: 1, .. })));
    assert!(matches!(answers[2], Err(AppendError::Invalid { .. })));
    assert!(matches!(answers[3], Err(AppendError::DuplicateEventId(id)) if id == event_id(1)));
    assert_eq!(last(4), Some(Position::new(2)));
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 3]);
}

/// In one call, the versions and ids of the appends before count.
pub async fn later_appends_see_earlier_ones_of_the_same_call<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let to = stream("a");
    let answers = store
        .append_all(vec![
            Append { expected: Expected::NoStream, ..append(&to, [1, 2]) },
            Append { expected: Expected::Exactly(2), ..append(&to, [3]) },
            Append { expected: Expected::Exactly(2), ..append(&to, [4]) },
            append(&to, [1, 2]),
        ])
        .await;
    assert_eq!(answers[1].as_ref().unwrap().first_version, 3);
    assert!(matches!(answers[2], Err(AppendError::Conflict { actual: 3, .. })));
    assert!(answers[3].as_ref().unwrap().replayed);
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 2, 3]);
}

/// More than any one commit holds.
pub async fn many_appends_in_one_call<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let batches = (1..=3_000).map(|n| append(&stream(&format!("{}", n % 700)), [n])).collect();
    let answers = store.append_all(batches).await;
    let positions: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().unwrap().last_position).collect();
    assert_eq!(positions, (1..=3_000).map(|n| Some(Position::new(n))).collect::<Vec<_>>());
    let page = store.read(Position::new(2_500), &ReadFilter::all(), 1_000).await.unwrap();
    assert_eq!(numbers(&page.events), (2_501..=3_000).collect::<Vec<_>>());
    let of_one = store.read_stream(&stream("1"), 0, 10).await.unwrap();
    assert_eq!(numbers(&of_one), [1, 701, 1_401, 2_101, 2_801]);
    assert!(of_one.iter().zip(1..).all(|(event, version)| event.version == version));
}
