//! Appends of several stores at once, as of several control-planes, while others read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use contract::event_store::{
    Adapter, TestClock, append, event_id, number, numbers, soon, stream, tenant,
};
use domain::{StreamId, StreamKind};
use event_store::{
    Append, AppendError, EventStore, Expected, Idempotency, Position, PostgresEventStore,
    ReadFilter, Recorded, ReservationChange, ReservationSet, leaf_hash,
};
use futures::future::join_all;

use crate::harness::{Database, config};

const WRITERS: u64 = 24;
const STREAMS: u64 = 40;
const APPENDS: u64 = 60;

/// A second store on the same database, as another control-plane has it.
async fn another(of: &Database, clock: &TestClock) -> PostgresEventStore {
    let config = config(&of.server, of.database.name(), clock.clock());
    PostgresEventStore::open(config).await.expect("a database that can be opened")
}

/// Reads by position only, as fast as it can, until it has as many.
async fn read_on(store: PostgresEventStore, count: usize) -> Vec<Arc<Recorded>> {
    let mut seen: Vec<Arc<Recorded>> = Vec::new();
    while seen.len() < count {
        let after = seen.last().map_or(Position::START, |last| last.position);
        seen.extend(store.read(after, &ReadFilter::all(), 1_000).await.unwrap().events);
    }
    seen
}

fn check_order(log: &[Arc<Recorded>]) {
    let (mut versions, mut tenants) = (HashMap::new(), HashMap::new());
    let mut recorded_at = None;
    for (position, event) in (1..).zip(log) {
        assert_eq!(event.position, Position::new(position), "a gap");
        let version = versions.entry(event.stream.clone()).or_insert(0_u64);
        *version += 1;
        assert_eq!(event.version, *version, "an inversion in {}", event.stream);
        let tenant_position = tenants.entry(event.stream.tenant).or_insert(0_u64);
        *tenant_position += 1;
        assert_eq!(event.tenant_position, *tenant_position);
        assert!(Some(event.recorded_at) >= recorded_at, "the time fell");
        recorded_at = Some(event.recorded_at);
        assert_eq!(event.leaf_hash, leaf_hash(event));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_two_stores_on_hot_streams_leave_nothing_out() {
    let clock = TestClock::at(0);
    let one = Database::start(clock.clock()).await;
    let stores = [one.store.clone(), another(&one, &clock).await];
    let total = (WRITERS * APPENDS * 3 / 2) as usize;
    let reader = tokio::spawn(read_on(stores[1].clone(), total));
    let mut follower = stores[1].subscribe(Position::START, ReadFilter::all());
    let follower = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < total {
            seen.extend(follower.next_batch(100).await.unwrap());
        }
        seen
    });
    let writers = (0..WRITERS).map(|writer| {
        let store = stores[(writer % 2) as usize].clone();
        tokio::spawn(async move {
            for turn in 0..APPENDS {
                let n = (writer * APPENDS + turn) * 2 + 1;
                let hot = (n / 2) % STREAMS;
                let to = StreamId::new(tenant((hot % 3) as u8), StreamKind::Call, hot);
                // Every second append has two events.
                store.append(append(&to, n..=n + turn % 2)).await.unwrap();
            }
        })
    });
    for writer in soon(join_all(writers)).await {
        writer.unwrap();
    }
    let log = soon(reader).await.unwrap();
    check_order(&log);
    let unique: HashSet<u64> = log.iter().map(|event| number(event)).collect();
    assert_eq!(unique.len(), total);
    assert_eq!(soon(follower).await.unwrap(), log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_on_another_store_is_one_append() {
    let clock = TestClock::at(0);
    let one = Database::start(clock.clock()).await;
    let stores = [one.store.clone(), another(&one, &clock).await];
    let key = |n: u64| Idempotency {
        key: format!("k{n}"),
        request_hash: [1; 32],
        expires_at: contract::event_store::time(60),
    };
    for n in 1..=30 {
        // The same command at the same time on both, with ids and a stream of its own each.
        let commands = [0, 1].map(|at| {
            let store = stores[at as usize].clone();
            let to = stream(&format!("{n}-{at}"));
            let batch = Append { idempotency: Some(key(n)), ..append(&to, [n * 10 + at]) };
            tokio::spawn(async move { store.append(batch).await.unwrap() })
        });
        let done: Vec<_> = soon(join_all(commands)).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(done[0].stream, done[1].stream);
        assert_eq!(done.iter().filter(|one| one.replayed).count(), 1);
        // The same events at the same time on both, to a stream that is new to them.
        let to = stream(&format!("again-{n}"));
        let batch = Append { expected: Expected::NoStream, ..append(&to, [n * 10 + 5]) };
        let events = [0, 1].map(|at: usize| {
            let (store, batch) = (stores[at].clone(), batch.clone());
            tokio::spawn(async move { store.append(batch).await.unwrap() })
        });
        let done: Vec<_> = soon(join_all(events)).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(done.iter().filter(|one| one.replayed).count(), 1);
    }
    let last = append(&stream("last"), [1_000]);
    let last = one.store.append(last).await.unwrap();
    assert_eq!(one.store.wait_position(&last).await.unwrap(), Position::new(61));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_id_of_another_stream_is_found_in_a_new_one() {
    let clock = TestClock::at(0);
    let one = Database::start(clock.clock()).await;
    one.store.append(append(&stream("a"), [1])).await.unwrap();
    let batches = [2, 1, 3].map(|n| append(&stream(&format!("new-{n}")), [n]));
    let answers = one.store.append_all(batches.to_vec()).await;
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(AppendError::DuplicateEventId(id)) if id == event_id(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_over_all_tenants_have_one_holder_over_all_stores() {
    let clock = TestClock::at(0);
    let one = Database::start(clock.clock()).await;
    let stores = [one.store.clone(), another(&one, &clock).await];
    let take = |value: String, holder: String| ReservationChange::Take {
        set: ReservationSet::global("project_id"),
        value,
        holder,
    };
    for n in 0..20_u64 {
        // Two names in the opposite order: some of these deadlock, and one of them wins.
        let racers = (0..6_u64).map(|racer| {
            let store = stores[(racer % 2) as usize].clone();
            let mut names = [format!("{n}-a"), format!("{n}-b")];
            if racer % 2 == 1 {
                names.reverse();
            }
            let to = StreamId { tenant: tenant(racer as u8), ..stream(&format!("{n}")) };
            let reservations = names.map(|name| take(name, format!("h{racer}"))).to_vec();
            let batch = Append { reservations, ..append(&to, [n * 10 + racer]) };
            tokio::spawn(async move { store.append(batch).await })
        });
        let answers = soon(join_all(racers)).await;
        let won = answers.iter().filter(|answer| answer.as_ref().unwrap().is_ok()).count();
        let taken = |answer: &Result<_, AppendError>| {
            matches!(answer, Ok(_) | Err(AppendError::NameTaken { .. }))
        };
        assert!(answers.iter().all(|answer| taken(answer.as_ref().unwrap())), "{answers:?}");
        assert_eq!(won, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_many_tenants_in_one_call_are_answered_in_their_order() {
    let clock = TestClock::at(0);
    let one = Database::start(clock.clock()).await;
    let batches: Vec<_> = (1..=400_u64)
        .map(|n| {
            let to = StreamId { tenant: tenant((n % 7) as u8), ..stream(&format!("{n}")) };
            let expected = if n % 50 == 0 { Expected::Exactly(3) } else { Expected::NoStream };
            Append { expected, ..append(&to, [n]) }
        })
        .collect();
    let answers = one.store.append_all(batches).await;
    for (n, answer) in (1..).zip(answers) {
        match answer {
            Ok(done) => assert_eq!(done.stream.id, format!("{n}")),
            Err(AppendError::Conflict { stream, .. }) => {
                assert_eq!((stream.id, n % 50), (format!("{n}"), 0));
            }
            Err(other) => panic!("{other}"),
        }
    }
    let log = soon(read_on(one.store.clone(), 392)).await;
    check_order(&log);
    assert!(!numbers(&log).contains(&50));
}
