//! What is kept beside events, and may go.

use std::sync::Arc;

use domain::StreamId;
use event_store::{Append, Body, Expected, NewEvent, ReadFilter, Retention};

use super::{Adapter, Store, TestClock, all, event, event_id, numbers, stream, tenant, time};

/// The `n`-th event with a body, in a stream of tenant `of`.
fn with_body(of: u8, n: u64, retention: Retention) -> Append {
    let body = Some(Body { bytes: format!("body {n}").into(), retention });
    let to = StreamId { tenant: tenant(of), ..stream("a") };
    Append::new(to, Expected::Any, vec![NewEvent { body, ..event(n) }])
}

async fn body(store: &dyn Store, of: u8, n: u64) -> Option<String> {
    let bytes = store.body(tenant(of), event_id(n)).await.expect("readable bodies");
    bytes.map(|bytes| String::from_utf8(bytes.to_vec()).expect("a body of this suite"))
}

async fn start<A: Adapter>(now: i64) -> (TestClock, A, Arc<dyn Store>) {
    let clock = TestClock::at(now);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    (clock, adapter, store)
}

/// No body, no event and another tenant's are the same.
pub async fn a_body_is_read_by_its_tenant_only<A: Adapter>() {
    let (_clock, _adapter, store) = start::<A>(0).await;
    store.append(with_body(1, 1, Retention::Forever)).await.unwrap();
    store.append(with_body(1, 2, Retention::Until(time(10)))).await.unwrap();
    store.append(Append::new(stream("a"), Expected::Any, vec![event(3)])).await.unwrap();
    assert_eq!(body(&*store, 1, 1).await.as_deref(), Some("body 1"));
    assert_eq!(body(&*store, 1, 2).await.as_deref(), Some("body 2"));
    for (of, n) in [(1, 3), (1, 4), (2, 1), (2, 2)] {
        assert_eq!(body(&*store, of, n).await, None, "{n} of {of}");
    }
}

/// From the end of its retention on, deleted or not.
pub async fn an_expired_body_is_not_readable<A: Adapter>() {
    let (clock, _adapter, store) = start::<A>(9).await;
    store.append(with_body(1, 1, Retention::Until(time(10)))).await.unwrap();
    store.append(with_body(1, 2, Retention::Forever)).await.unwrap();
    assert!(body(&*store, 1, 1).await.is_some());
    clock.set(10);
    assert_eq!(body(&*store, 1, 1).await, None);
    assert!(body(&*store, 1, 2).await.is_some());
}

/// Of one tenant or of all; what has no end stays.
pub async fn expired_bodies_are_deleted_up_to_a_limit<A: Adapter>() {
    let (_clock, _adapter, store) = start::<A>(0).await;
    for n in 1..=4 {
        store.append(with_body(1, n, Retention::Until(time(10)))).await.unwrap();
        store.append(with_body(2, n, Retention::Until(time(10)))).await.unwrap();
    }
    store.append(with_body(1, 5, Retention::Until(time(11)))).await.unwrap();
    store.append(with_body(1, 6, Retention::Forever)).await.unwrap();
    assert_eq!(store.delete_bodies(None, time(9), 100).await.unwrap(), 0);
    assert_eq!(store.delete_bodies(Some(tenant(1)), time(10), 3).await.unwrap(), 3);
    assert_eq!(store.delete_bodies(Some(tenant(1)), time(10), 3).await.unwrap(), 1);
    for n in 1..=4 {
        assert_eq!(body(&*store, 1, n).await, None);
        assert!(body(&*store, 2, n).await.is_some());
    }
    assert_eq!(store.delete_bodies(None, time(10), 3).await.unwrap(), 3);
    assert_eq!(store.delete_bodies(None, time(10), 3).await.unwrap(), 1);
    assert!(body(&*store, 1, 5).await.is_some());
    assert!(body(&*store, 1, 6).await.is_some());
}

/// Whatever their retention, of this tenant only.
pub async fn bodies_are_destroyed_by_name<A: Adapter>() {
    let (_clock, _adapter, store) = start::<A>(0).await;
    store.append(with_body(1, 1, Retention::Forever)).await.unwrap();
    store.append(with_body(1, 2, Retention::Until(time(10)))).await.unwrap();
    store.append(with_body(1, 3, Retention::Forever)).await.unwrap();
    store.append(with_body(2, 1, Retention::Forever)).await.unwrap();
    let ids = [1, 2, 9].map(event_id);
    assert_eq!(store.destroy_bodies(tenant(1), &ids).await.unwrap(), 2);
    assert_eq!(store.destroy_bodies(tenant(1), &ids).await.unwrap(), 0);
    assert_eq!(body(&*store, 1, 1).await, None);
    assert_eq!(body(&*store, 1, 2).await, None);
    assert!(body(&*store, 1, 3).await.is_some());
    assert!(body(&*store, 2, 1).await.is_some());
}

/// And a retry does not bring the body back.
pub async fn an_event_outlives_its_body<A: Adapter>() {
    let (_clock, _adapter, store) = start::<A>(0).await;
    let batch = with_body(1, 1, Retention::Forever);
    store.append(batch.clone()).await.unwrap();
    let before = all(&*store, &ReadFilter::all()).await;
    store.destroy_bodies(tenant(1), &[event_id(1)]).await.unwrap();
    assert!(store.append(batch).await.unwrap().replayed);
    assert_eq!(body(&*store, 1, 1).await, None);
    assert_eq!(all(&*store, &ReadFilter::all()).await, before);
    assert_eq!(numbers(&before), [1]);
}
