//! Names that are unique within a set.

use std::sync::Arc;

use event_store::{Append, AppendError, Expected, ReadFilter, ReservationChange, ReservationSet};
use futures::future::join_all;

use super::{Adapter, Store, TestClock, all, append, numbers, soon, stream, tenant};

fn names() -> ReservationSet {
    ReservationSet::of_tenant(tenant(1), "server_name")
}

fn take(set: ReservationSet, value: &str, holder: &str) -> ReservationChange {
    ReservationChange::Take { set, value: value.to_owned(), holder: holder.to_owned() }
}

fn release(set: ReservationSet, value: &str, holder: &str) -> ReservationChange {
    ReservationChange::Release { set, value: value.to_owned(), holder: holder.to_owned() }
}

/// The `n`-th event with these changes.
fn with(n: u64, reservations: impl Into<Vec<ReservationChange>>) -> Append {
    Append { reservations: reservations.into(), ..append(&stream("a"), [n]) }
}

fn is_taken(answer: Result<event_store::Appended, AppendError>, of: &str) -> bool {
    matches!(answer, Err(AppendError::NameTaken { value, .. }) if value == of)
}

async fn holder(store: &dyn Store, set: &ReservationSet, value: &str) -> Option<String> {
    store.holder(set, value).await.expect("a readable directory")
}

/// Another one is refused; the holder may take it again.
pub async fn a_value_has_one_holder<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    assert_eq!(holder(&*store, &names(), "time").await, None);
    store.append(with(1, [take(names(), "time", "s1")])).await.unwrap();
    assert!(is_taken(store.append(with(2, [take(names(), "time", "s2")])).await, "time"));
    store.append(with(3, [take(names(), "time", "s1")])).await.unwrap();
    store.append(with(4, [take(names(), "Time", "s2")])).await.unwrap();
    assert_eq!(holder(&*store, &names(), "time").await.as_deref(), Some("s1"));
    assert_eq!(holder(&*store, &names(), "Time").await.as_deref(), Some("s2"));
}

/// Neither the events nor the other reservations of the append.
pub async fn a_refused_reservation_writes_nothing<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    store.append(with(1, [take(names(), "time", "s1")])).await.unwrap();
    let both = [take(names(), "fetch", "s2"), take(names(), "time", "s2")];
    assert!(is_taken(store.append(with(2, both)).await, "time"));
    assert_eq!(holder(&*store, &names(), "fetch").await, None);
    let conflict = with(3, [take(names(), "fetch", "s3")]);
    store.append(Append { expected: Expected::NoStream, ..conflict }).await.unwrap_err();
    assert_eq!(holder(&*store, &names(), "fetch").await, None);
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1]);
}

/// For another one, in a later append of the same call too.
pub async fn a_released_value_is_free<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    store.append(with(1, [take(names(), "time", "s1")])).await.unwrap();
    store.append(with(2, [release(names(), "time", "s1")])).await.unwrap();
    assert_eq!(holder(&*store, &names(), "time").await, None);
    store.append(with(3, [take(names(), "time", "s2")])).await.unwrap();
    let answers = store
        .append_all(vec![
            with(4, [release(names(), "time", "s2")]),
            with(5, [take(names(), "time", "s3")]),
            with(6, [take(names(), "time", "s4")]),
        ])
        .await;
    assert!(answers[0].is_ok() && answers[1].is_ok());
    assert!(matches!(answers[2], Err(AppendError::NameTaken { .. })));
    assert_eq!(holder(&*store, &names(), "time").await.as_deref(), Some("s3"));
}

/// Nobody frees what is another's; what nobody has may be released.
pub async fn only_the_holder_releases<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    store.append(with(1, [take(names(), "time", "s1")])).await.unwrap();
    assert!(is_taken(store.append(with(2, [release(names(), "time", "s2")])).await, "time"));
    assert_eq!(holder(&*store, &names(), "time").await.as_deref(), Some("s1"));
    store.append(with(3, [release(names(), "fetch", "s2")])).await.unwrap();
}

/// The sets of two tenants, two sets of one, and a set over all tenants.
pub async fn sets_are_apart<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let global = ReservationSet::global("server_name");
    let system = ReservationSet::of_tenant(domain::TenantId::SYSTEM, "server_name");
    let others = ReservationSet::of_tenant(tenant(2), "server_name");
    let keys = ReservationSet::of_tenant(tenant(1), "key_name");
    let here =
        [take(names(), "x", "1"), take(keys.clone(), "x", "2"), take(global.clone(), "x", "3")];
    store.append(with(1, here)).await.unwrap();
    assert_eq!(holder(&*store, &others, "x").await, None);
    assert_eq!(holder(&*store, &system, "x").await, None);

    let elsewhere = domain::StreamId { tenant: tenant(2), ..stream("a") };
    let there =
        Append { reservations: vec![take(others.clone(), "x", "4")], ..append(&elsewhere, [2]) };
    store.append(there).await.unwrap();
    let stolen =
        Append { reservations: vec![take(global.clone(), "x", "5")], ..append(&elsewhere, [3]) };
    assert!(is_taken(store.append(stolen).await, "x"));
    for (set, expected) in [(names(), "1"), (keys, "2"), (global, "3"), (others, "4")] {
        assert_eq!(holder(&*store, &set, "x").await.as_deref(), Some(expected), "{set}");
    }
}

/// The new name is taken and the old one freed, or neither.
pub async fn a_rename_is_one_append<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    store.append(with(1, [take(names(), "old", "s1")])).await.unwrap();
    store.append(with(2, [take(names(), "taken", "s2")])).await.unwrap();
    let refused = [release(names(), "old", "s1"), take(names(), "taken", "s1")];
    assert!(is_taken(store.append(with(3, refused)).await, "taken"));
    assert_eq!(holder(&*store, &names(), "old").await.as_deref(), Some("s1"));
    let renamed = [release(names(), "old", "s1"), take(names(), "new", "s1")];
    store.append(with(4, renamed)).await.unwrap();
    assert_eq!(holder(&*store, &names(), "old").await, None);
    assert_eq!(holder(&*store, &names(), "new").await.as_deref(), Some("s1"));
}

/// A value may change hands within one append, and a repetition changes nothing.
pub async fn changes_are_made_in_order<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    store.append(with(1, [take(names(), "x", "s1")])).await.unwrap();
    let swapped = with(2, [release(names(), "x", "s1"), take(names(), "x", "s2")]);
    store.append(swapped.clone()).await.unwrap();
    assert_eq!(holder(&*store, &names(), "x").await.as_deref(), Some("s2"));
    assert!(store.append(swapped).await.unwrap().replayed);
    assert_eq!(holder(&*store, &names(), "x").await.as_deref(), Some("s2"));
    let wrong = [take(names(), "x", "s3"), release(names(), "x", "s2")];
    assert!(is_taken(store.append(with(3, wrong)).await, "x"));
    let gone = [take(names(), "y", "s3"), release(names(), "y", "s3")];
    store.append(with(4, gone)).await.unwrap();
    assert_eq!(holder(&*store, &names(), "y").await, None);
}

/// Of many at once, one gets the name and the others are told.
pub async fn a_race_for_a_name_has_one_winner<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let racers = (1..=40_u64).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let to = stream(&format!("s{n}"));
            let reservations = vec![take(names(), "time", &format!("s{n}"))];
            store.append(Append { reservations, ..append(&to, [n]) }).await
        })
    });
    let answers = soon(join_all(racers)).await;
    let winners: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| answer.unwrap().ok())
        .map(|won| won.stream.id)
        .collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(holder(&*store, &names(), "time").await.as_ref(), winners.first());
    assert_eq!(all(&*store, &ReadFilter::all()).await.len(), 1);
}
