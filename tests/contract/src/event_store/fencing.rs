//! Appends of who held a lease: refused once another took it, and not before.

use event_store::{Append, AppendError, Expected, Fence, ReadFilter};

use super::leases::{claim, expire, granted, short};
use super::{Adapter, TestClock, all, append, numbers, stream};

fn fenced(n: u64, epoch: u64) -> Append {
    let fence = Some(Fence { lease: "server/a".to_owned(), epoch });
    Append { fence, ..append(&stream("a"), [n]) }
}

/// As long as nobody else took it, in time or not.
pub async fn the_holder_of_a_lease_appends<A: Adapter>() {
    let clock = TestClock::at(0);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    assert_eq!(granted(&*store, short("server/a", "w1")).await, Some(1));
    store.append(fenced(1, 1)).await.unwrap();
    expire(&*store, &clock, "server/a").await;
    store.append(fenced(2, 1)).await.unwrap();
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 2]);
}

/// Nothing of it is written, and the new holder goes on.
pub async fn a_stale_epoch_is_refused<A: Adapter>() {
    let clock = TestClock::at(0);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    granted(&*store, short("server/a", "w1")).await;
    store.append(fenced(1, 1)).await.unwrap();
    expire(&*store, &clock, "server/a").await;
    assert_eq!(granted(&*store, claim("server/a", "w2")).await, Some(2));
    match store.append(fenced(2, 1)).await {
        Err(AppendError::Fenced { lease, epoch: 1 }) => assert_eq!(lease, "server/a"),
        other => panic!("{other:?}"),
    }
    let elsewhere = Append { stream: stream("new"), ..fenced(3, 1) };
    assert!(matches!(store.append(elsewhere).await, Err(AppendError::Fenced { .. })));
    store.append(fenced(4, 2)).await.unwrap();
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 4]);
}

/// Giving a lease up is no take-over; the next holding is one, also by the same holder.
pub async fn a_lease_that_was_given_up_fences_from_its_next_holding_on<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    granted(&*store, claim("server/a", "w1")).await;
    store.release("w1", &[("server/a".to_owned(), 1)]).await.unwrap();
    store.append(fenced(1, 1)).await.unwrap();
    assert_eq!(granted(&*store, claim("server/a", "w1")).await, Some(2));
    assert!(matches!(store.append(fenced(2, 1)).await, Err(AppendError::Fenced { .. })));
}

/// What was written before the take-over is told, and is not written again.
pub async fn a_stale_retry_of_what_was_written_is_answered<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    granted(&*store, claim("server/a", "w1")).await;
    store.append(fenced(1, 1)).await.unwrap();
    store.release("w1", &[("server/a".to_owned(), 1)]).await.unwrap();
    granted(&*store, claim("server/a", "w2")).await;
    assert!(store.append(fenced(1, 1)).await.unwrap().replayed);
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1]);
}

/// One append's fence is not another's.
pub async fn a_fenced_append_leaves_its_neighbours<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    for (holder, epoch) in [("w1", 1), ("w2", 2)] {
        assert_eq!(granted(&*store, claim("server/a", holder)).await, Some(epoch));
        store.release(holder, &[("server/a".to_owned(), epoch)]).await.unwrap();
    }
    let other = Append {
        fence: Some(Fence { lease: "server/b".to_owned(), epoch: 1 }),
        ..append(&stream("b"), [3])
    };
    let next = Append { expected: Expected::Exactly(1), ..fenced(4, 2) };
    let answers = store.append_all(vec![fenced(1, 2), fenced(2, 1), other, next]).await;
    assert!(answers[0].is_ok() && answers[2].is_ok() && answers[3].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(AppendError::Fenced { epoch: 1, .. })));
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 3, 4]);
}

/// Nobody ever held it, so nobody took it over.
pub async fn a_lease_that_nobody_held_fences_nothing<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    store.append(fenced(1, 0)).await.unwrap();
    store.append(fenced(2, 7)).await.unwrap();
    assert_eq!(granted(&*store, claim("server/a", "w1")).await, Some(1));
    assert!(matches!(store.append(fenced(3, 0)).await, Err(AppendError::Fenced { .. })));
}
