//! Reading the log and its streams.

use domain::{StreamId, StreamKind};
use event_store::{
    Append, Expected, MAX_PAGE_BYTES, MAX_PAYLOAD_BYTES, NewEvent, Position, ReadFilter,
};

use super::{
    Adapter, Store, TestClock, all, appended, event, event_id, numbers, stream, tenant, time,
};

/// Twelve events: kinds `server` and `call` in turn, of tenants 1 and 2 in halves.
async fn mixed(store: &dyn Store) {
    for n in 1..=12 {
        let kind = if n % 2 == 0 { StreamKind::Call } else { StreamKind::Server };
        let to = StreamId { tenant: tenant(if n <= 6 { 1 } else { 2 }), kind, id: "a".to_owned() };
        appended(store, &to, [n]).await;
    }
}

/// By version, of this stream only.
pub async fn a_stream_is_read_in_pages<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    for n in 1..=10 {
        appended(&*store, &stream("a"), [n]).await;
        appended(&*store, &stream("b"), [n + 100]).await;
    }
    let to = stream("a");
    assert_eq!(numbers(&store.read_stream(&to, 0, 4).await.unwrap()), [1, 2, 3, 4]);
    assert_eq!(numbers(&store.read_stream(&to, 4, 4).await.unwrap()), [5, 6, 7, 8]);
    assert_eq!(numbers(&store.read_stream(&to, 8, 4).await.unwrap()), [9, 10]);
    assert_eq!(numbers(&store.read_stream(&to, 10, 4).await.unwrap()), [0; 0]);
    assert_eq!(numbers(&store.read_stream(&stream("c"), 0, 4).await.unwrap()), [0; 0]);
    let same_id = StreamId { kind: StreamKind::Connection, ..stream("a") };
    assert_eq!(numbers(&store.read_stream(&same_id, 0, 4).await.unwrap()), [0; 0]);
    let other_tenant = StreamId { tenant: tenant(2), ..stream("a") };
    assert_eq!(numbers(&store.read_stream(&other_tenant, 0, 4).await.unwrap()), [0; 0]);
}

/// By position, each page where the one before ended.
pub async fn the_log_is_read_in_pages<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    appended(&*store, &stream("a"), 1..=10).await;
    let first = store.read(Position::START, &ReadFilter::all(), 4).await.unwrap();
    assert_eq!((numbers(&first.events), first.next), (vec![1, 2, 3, 4], Position::new(4)));
    let last = store.read(Position::new(8), &ReadFilter::all(), 4).await.unwrap();
    assert_eq!((numbers(&last.events), last.next), (vec![9, 10], Position::new(10)));
    let whole = store.read(Position::START, &ReadFilter::all(), usize::MAX).await.unwrap();
    assert_eq!(whole.events.len(), 10);
    let least = store.read(Position::START, &ReadFilter::all(), 0).await.unwrap();
    assert_eq!(numbers(&least.events), [1]);
}

/// By tenant, by kind, by both; no kind is nothing.
pub async fn a_filter_lets_through_what_it_names<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    mixed(&*store).await;
    let of = ReadFilter::of_tenant;
    let calls = ReadFilter::all().kinds([StreamKind::Call]);
    for (filter, expected) in [
        (ReadFilter::all(), (1..=12).collect::<Vec<_>>()),
        (of(tenant(1)), vec![1, 2, 3, 4, 5, 6]),
        (of(tenant(2)), vec![7, 8, 9, 10, 11, 12]),
        (of(tenant(3)), vec![]),
        (calls, vec![2, 4, 6, 8, 10, 12]),
        (ReadFilter::configuration(), vec![1, 3, 5, 7, 9, 11]),
        (ReadFilter::all().kinds([StreamKind::Call, StreamKind::Server]), (1..=12).collect()),
        (of(tenant(2)).kinds([StreamKind::Call]), vec![8, 10, 12]),
        (of(tenant(1)).kinds([StreamKind::Server, StreamKind::Server]), vec![1, 3, 5]),
        (of(tenant(1)).kinds([StreamKind::User]), vec![]),
        (ReadFilter::all().kinds([]), vec![]),
    ] {
        assert_eq!(numbers(&all(&*store, &filter).await), expected, "{filter:?}");
    }
}

/// So that a follower of few events does not read the others again and again.
pub async fn a_filtered_page_goes_on_behind_what_it_kept_out<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    mixed(&*store).await;
    let filter = ReadFilter::of_tenant(tenant(1)).kinds([StreamKind::Call]);
    let full = store.read(Position::START, &filter, 2).await.unwrap();
    assert_eq!((numbers(&full.events), full.next), (vec![2, 4], Position::new(4)));
    let rest = store.read(full.next, &filter, 2).await.unwrap();
    assert_eq!((numbers(&rest.events), rest.next), (vec![6], Position::new(12)));
    let none = store.read(Position::new(6), &filter, 2).await.unwrap();
    assert_eq!((numbers(&none.events), none.next), (vec![], Position::new(12)));
}

/// A position from elsewhere is not led back.
pub async fn there_is_nothing_after_the_head<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    for after in [0, 5] {
        let page = store.read(Position::new(after), &ReadFilter::all(), 9).await.unwrap();
        assert_eq!((numbers(&page.events), page.next), (vec![], Position::new(after)));
    }
    appended(&*store, &stream("a"), [1, 2]).await;
    for after in [2, 3, u64::MAX] {
        let page = store.read(Position::new(after), &ReadFilter::all(), 9).await.unwrap();
        assert_eq!((numbers(&page.events), page.next), (vec![], Position::new(after)));
    }
}

/// An unknown id and another tenant's are the same.
pub async fn an_event_is_found_by_its_id_in_its_tenant<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    appended(&*store, &stream("a"), [1, 2]).await;
    let found = store.event(tenant(1), event_id(2)).await.unwrap().unwrap();
    assert_eq!(found, all(&*store, &ReadFilter::all()).await[1]);
    assert_eq!(store.event(tenant(2), event_id(2)).await.unwrap(), None);
    assert_eq!(store.event(tenant(1), event_id(3)).await.unwrap(), None);
}

/// The last event of that moment is part of it.
pub async fn the_log_as_of_a_time<A: Adapter>() {
    let clock = TestClock::at(0);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    assert_eq!(store.position_at(time(99)).await.unwrap(), Position::START);
    for (n, now) in [(1, 10), (2, 10), (3, 20), (4, 15), (5, 40)] {
        clock.set(now);
        appended(&*store, &stream("a"), [n]).await;
    }
    // The fourth was recorded at 20, since time does not go back.
    for (now, expected) in [(0, 0), (9, 0), (10, 2), (19, 2), (20, 4), (39, 4), (40, 5), (99, 5)] {
        let position = store.position_at(time(now)).await.unwrap();
        assert_eq!(position, Position::new(expected), "as of {now}");
    }
}

/// And the next one goes on behind it.
pub async fn a_page_ends_when_it_is_large<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let fit = MAX_PAGE_BYTES / MAX_PAYLOAD_BYTES;
    for n in 1..=fit as u64 + 6 {
        let large = NewEvent { payload: vec![b'x'; MAX_PAYLOAD_BYTES].into(), ..event(n) };
        store.append(Append::new(stream("a"), Expected::Any, vec![large])).await.unwrap();
    }
    let first = store.read(Position::START, &ReadFilter::all(), 1_000).await.unwrap();
    assert_eq!(first.events.len(), fit + 1);
    let rest = store.read(first.next, &ReadFilter::all(), 1_000).await.unwrap();
    assert_eq!(rest.events.len(), 5);
    let of_stream = store.read_stream(&stream("a"), 0, 1_000).await.unwrap();
    assert_eq!(of_stream.len(), fit + 1);
}
