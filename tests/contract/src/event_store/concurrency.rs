//! Many writers and followers at once.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{StreamId, StreamKind};
use event_store::{Append, AppendError, Expected, Position, ReadFilter, Recorded};
use futures::future::join_all;

use super::{Adapter, Store, TestClock, all, append, number, numbers, soon, stream, tenant};

const WRITERS: u64 = 24;
const APPENDS: u64 = 40;
const STREAMS: u64 = 10;
/// The number of the event after which a follower stops.
const LAST: u64 = u32::MAX as u64;

/// Each writer appends one or two events a time, to streams that all of them use.
async fn write_much(store: &Arc<dyn Store>) {
    let writers = (0..WRITERS).map(|writer| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            for turn in 0..APPENDS {
                let n = (writer * APPENDS + turn) * 2 + 1;
                let kind = if n.is_multiple_of(3) { StreamKind::Call } else { StreamKind::Server };
                let to = StreamId {
                    tenant: tenant((n % 4) as u8),
                    kind,
                    id: format!("{}", (n / 4) % STREAMS),
                };
                store.append(append(&to, n..=n + turn % 2)).await.expect("an append in order");
            }
        })
    });
    for writer in soon(join_all(writers)).await {
        writer.expect("a writer that ends");
    }
}

/// Positions from 1 on, versions and tenant positions dense, all in one order.
fn check_order(log: &[Arc<Recorded>]) {
    let mut versions: HashMap<&StreamId, u64> = HashMap::new();
    let mut tenants = HashMap::new();
    for (position, event) in (1..).zip(log) {
        assert_eq!(event.position, Position::new(position));
        let version = versions.entry(&event.stream).or_insert(0);
        *version += 1;
        assert_eq!(event.version, *version, "{} at {position}", event.stream);
        let tenant_position = tenants.entry(event.stream.tenant).or_insert(0);
        *tenant_position += 1;
        assert_eq!(event.tenant_position, *tenant_position);
    }
}

/// Whatever the order in which they came.
pub async fn writers_on_hot_streams_leave_no_gap_and_no_inversion<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    write_much(&store).await;
    let log = all(&*store, &ReadFilter::all()).await;
    assert_eq!(log.len() as u64, WRITERS * APPENDS * 3 / 2);
    check_order(&log);
    let mut unique = numbers(&log);
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), log.len());
}

/// With and without a filter, taking few and many at a time.
pub async fn followers_under_load_miss_nothing<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let filters = [
        ReadFilter::all(),
        ReadFilter::of_tenant(tenant(2)),
        ReadFilter::configuration(),
        ReadFilter::of_tenant(tenant(3)).kinds([StreamKind::Call]),
    ];
    let followers: Vec<_> = (0..8)
        .map(|n| {
            let filter = filters[n % filters.len()].clone();
            let mut follower = store.subscribe(Position::START, filter.clone());
            let follow = tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let batch = follower.next_batch(1 + n * 3).await.expect("an open store");
                    let ended = batch.iter().any(|event| number(event) == LAST);
                    seen.extend(batch);
                    if ended {
                        return seen;
                    }
                    tokio::task::yield_now().await;
                }
            });
            (filter, follow)
        })
        .collect();
    write_much(&store).await;
    // One last event for each filter tells its followers to stop.
    for (of, kind) in [(2, StreamKind::Server), (3, StreamKind::Call)] {
        let to = StreamId { tenant: tenant(of), kind, id: "end".to_owned() };
        store.append(append(&to, [LAST])).await.unwrap();
    }
    let log = all(&*store, &ReadFilter::all()).await;
    check_order(&log);
    for (filter, follow) in followers {
        let seen = soon(follow).await.unwrap();
        let until = seen.last().map(|event| event.position);
        let admitted = log.iter().filter(|event| filter.admits(event));
        let expected: Vec<_> =
            admitted.filter(|event| Some(event.position) <= until).cloned().collect();
        assert!(seen == expected, "{filter:?}: {:?}", numbers(&seen));
    }
}

/// Each task reads the version, expects it, and tries again after a conflict.
pub async fn no_update_is_lost<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let tasks = (0..6_u64).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let to = stream("counter");
            let mut version = 0;
            for turn in 0..10 {
                loop {
                    let expected = Expected::Exactly(version);
                    let batch = Append { expected, ..append(&to, [task * 10 + turn]) };
                    match store.append(batch).await {
                        Ok(done) => break version = done.last_version,
                        Err(AppendError::Conflict { actual, .. }) => version = actual,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        })
    });
    for task in soon(join_all(tasks)).await {
        task.expect("a task that ends");
    }
    let log = store.read_stream(&stream("counter"), 0, 100).await.unwrap();
    check_order(&log);
    let mut all_numbers = numbers(&log);
    all_numbers.sort_unstable();
    assert_eq!(all_numbers, (0..60).collect::<Vec<_>>());
}
