//! Subscriptions: in order, without gaps, each event once.

use std::sync::Arc;

use domain::{StreamId, StreamKind};
use event_store::{Position, ReadFilter, Subscription};
use futures::FutureExt;

use super::{Adapter, TestClock, append, appended, number, numbers, soon, stream, tenant};

/// The numbers of the next `count` events.
async fn next(follower: &mut Subscription, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(number(&soon(follower.next()).await.expect("a store that is open")));
    }
    seen
}

/// Ends after as many turns of the scheduler.
async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// What was there, then what comes.
pub async fn a_follower_catches_up_and_goes_on_live<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    appended(&*store, &stream("a"), 1..=5).await;
    let mut follower = store.subscribe(Position::START, ReadFilter::all());
    appended(&*store, &stream("a"), [6]).await;
    assert_eq!(next(&mut follower, 6).await, [1, 2, 3, 4, 5, 6]);
    assert!(follower.next().now_or_never().is_none());
    for n in 7..=9 {
        appended(&*store, &stream("b"), [n]).await;
        assert_eq!(next(&mut follower, 1).await, [n]);
        assert_eq!(follower.seen(), Position::new(n));
    }
    // A refused append and a replayed one are no news.
    appended(&*store, &stream("b"), [9]).await;
    assert!(follower.next().now_or_never().is_none());
}

/// Not at it.
pub async fn a_follower_starts_behind_its_position<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    appended(&*store, &stream("a"), 1..=5).await;
    let mut from_the_middle = store.subscribe(Position::new(3), ReadFilter::all());
    let mut from_the_head = store.subscribe(Position::new(5), ReadFilter::all());
    appended(&*store, &stream("a"), [6]).await;
    assert_eq!(next(&mut from_the_middle, 3).await, [4, 5, 6]);
    assert_eq!(next(&mut from_the_head, 1).await, [6]);
}

/// While catching up and when live.
pub async fn a_follower_sees_what_its_filter_lets_through<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let calls = StreamId { kind: StreamKind::Call, ..stream("a") };
    let others = StreamId { tenant: tenant(2), ..stream("a") };
    let filter = ReadFilter::of_tenant(tenant(1)).kinds([StreamKind::Server]);
    let mut follower = store.subscribe(Position::START, filter);
    for round in 0..4 {
        appended(&*store, &calls, [round * 3 + 1]).await;
        appended(&*store, &stream("a"), [round * 3 + 2]).await;
        appended(&*store, &others, [round * 3 + 3]).await;
        assert_eq!(next(&mut follower, 1).await, [round * 3 + 2]);
        assert!(follower.next().now_or_never().is_none());
    }
}

/// It falls back to reading when more came than is kept for it.
pub async fn a_slow_follower_loses_nothing<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let mut follower = store.subscribe(Position::START, ReadFilter::all());
    appended(&*store, &stream("a"), [1]).await;
    assert_eq!(next(&mut follower, 1).await, [1]);
    // From here on it is live.
    assert_eq!(follower.try_next_batch(9).await.unwrap(), []);
    for n in 2..=500 {
        appended(&*store, &stream("a"), [n]).await;
    }
    assert_eq!(next(&mut follower, 499).await, (2..=500).collect::<Vec<_>>());
    appended(&*store, &stream("a"), [501]).await;
    assert_eq!(next(&mut follower, 1).await, [501]);
}

/// However often a wait is dropped, at whichever point.
pub async fn a_wait_that_is_given_up_loses_nothing<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let mut follower = store.subscribe(Position::START, ReadFilter::all());
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 1..=300 {
                appended(&*store, &stream("a"), [n]).await;
            }
        })
    };
    let mut seen = Vec::new();
    let follow = async {
        let mut patience = 0;
        while seen.len() < 300 {
            tokio::select! {
                biased;
                event = follower.next() => {
                    seen.push(number(&event.expect("a store that is open")));
                    patience = 0;
                }
                // Longer from time to time, so that a read comes to its end.
                () = turns(patience) => patience += 1,
            }
        }
    };
    soon(follow).await;
    soon(writer).await.unwrap();
    assert_eq!(seen, (1..=300).collect::<Vec<_>>());
}

/// At least one, at most what was asked for.
pub async fn a_batch_has_what_is_there<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let mut follower = store.subscribe(Position::START, ReadFilter::all());
    appended(&*store, &stream("a"), 1..=5).await;
    assert_eq!(numbers(&soon(follower.next_batch(3)).await.unwrap()), [1, 2, 3]);
    assert_eq!(numbers(&soon(follower.next_batch(3)).await.unwrap()), [4, 5]);
    assert!(follower.next_batch(3).now_or_never().is_none());
    appended(&*store, &stream("a"), [6]).await;
    assert_eq!(numbers(&soon(follower.next_batch(0)).await.unwrap()), [6]);
}

/// Nothing more for now is an answer, while catching up and when live.
pub async fn a_follower_learns_that_it_caught_up<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    appended(&*store, &stream("a"), 1..=3).await;
    let mut follower = store.subscribe(Position::START, ReadFilter::all());
    assert_eq!(numbers(&follower.try_next_batch(2).await.unwrap()), [1, 2]);
    assert_eq!(numbers(&follower.try_next_batch(2).await.unwrap()), [3]);
    assert_eq!(numbers(&follower.try_next_batch(2).await.unwrap()), [0; 0]);
    for n in 4..=6 {
        appended(&*store, &stream("a"), [n]).await;
        assert_eq!(numbers(&soon(follower.next_batch(2)).await.unwrap()), [n]);
        assert_eq!(numbers(&follower.try_next_batch(2).await.unwrap()), [0; 0]);
    }
}

/// For an append that is new and for one that is not.
pub async fn the_position_of_an_append_can_be_waited_for<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    appended(&*store, &stream("a"), [1, 2]).await;
    let second = appended(&*store, &stream("b"), [3, 4]).await;
    assert_eq!(soon(store.wait_position(&second)).await.unwrap(), Position::new(4));
    let again = store.append(append(&stream("a"), [1, 2])).await.unwrap();
    assert_eq!(soon(store.wait_position(&again)).await.unwrap(), Position::new(2));
}
