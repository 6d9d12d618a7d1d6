//! Commands that come twice.

use event_store::{Append, AppendError, Appended, Expected, Idempotency, ReadFilter};

use super::{Adapter, TestClock, all, append, numbers, stream, tenant, time};

/// A command with this key, this request, and an expiry at second 100.
fn command(key: &str, request: u8, batch: Append) -> Append {
    let request_hash = [request; 32];
    let idempotency = Idempotency { key: key.to_owned(), request_hash, expires_at: time(100) };
    Append { idempotency: Some(idempotency), ..batch }
}

/// Even when it made new ids and another stream: the client's key decides.
pub async fn a_repeated_command_gives_the_former_result<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    assert_eq!(store.former(tenant(1), "k", &[1; 32]).await.unwrap(), None);
    let first = store.append(command("k", 1, append(&stream("a"), [1, 2]))).await.unwrap();
    let expected = Appended { replayed: true, ..first };

    let again = store.append(command("k", 1, append(&stream("b"), [3]))).await.unwrap();
    assert_eq!(again, expected);
    let stale = Append { expected: Expected::Exactly(7), ..append(&stream("a"), [1, 2]) };
    assert_eq!(store.append(command("k", 1, stale)).await.unwrap(), expected);
    assert_eq!(store.former(tenant(1), "k", &[1; 32]).await.unwrap(), Some(expected));
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 2]);
}

/// A key is for one request.
pub async fn a_key_with_another_request_is_refused<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    store.append(command("k", 1, append(&stream("a"), [1]))).await.unwrap();
    let refused = store.append(command("k", 2, append(&stream("a"), [2]))).await;
    assert!(matches!(refused, Err(AppendError::IdempotencyMismatch { key }) if key == "k"));
    let refused = store.former(tenant(1), "k", &[2; 32]).await;
    assert!(matches!(refused, Err(AppendError::IdempotencyMismatch { key }) if key == "k"));
    store.append(command("K", 2, append(&stream("a"), [2]))).await.unwrap();
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1, 2]);
}

/// Two tenants may use the same key.
pub async fn keys_belong_to_their_tenant<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    store.append(command("k", 1, append(&stream("a"), [1]))).await.unwrap();
    assert_eq!(store.former(tenant(2), "k", &[1; 32]).await.unwrap(), None);
    let other = domain::StreamId { tenant: tenant(2), ..stream("a") };
    let second = store.append(command("k", 2, append(&other, [1]))).await.unwrap();
    assert!(!second.replayed);
}

/// From its expiry on a key is for whoever comes, forgotten or not.
pub async fn an_expired_key_is_free_again<A: Adapter>() {
    let clock = TestClock::at(99);
    let adapter = A::start(clock.clock()).await;
    let store = adapter.store();
    store.append(command("k", 1, append(&stream("a"), [1]))).await.unwrap();
    assert!(store.former(tenant(1), "k", &[1; 32]).await.unwrap().is_some());
    clock.set(100);
    assert_eq!(store.former(tenant(1), "k", &[1; 32]).await.unwrap(), None);
    let mut renewed = command("k", 2, append(&stream("a"), [2]));
    renewed.idempotency.as_mut().unwrap().expires_at = time(200);
    assert!(!store.append(renewed.clone()).await.unwrap().replayed);
    assert!(store.append(renewed).await.unwrap().replayed);
    let refused = store.append(command("k", 1, append(&stream("a"), [3]))).await;
    assert!(matches!(refused, Err(AppendError::IdempotencyMismatch { .. })));
}

/// What was refused can be sent again under its key.
pub async fn a_refused_command_leaves_its_key_free<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let wrong = Append { expected: Expected::Exactly(1), ..append(&stream("a"), [1]) };
    store.append(command("k", 1, wrong)).await.unwrap_err();
    assert_eq!(store.former(tenant(1), "k", &[1; 32]).await.unwrap(), None);
    let right = store.append(command("k", 1, append(&stream("a"), [1]))).await.unwrap();
    assert!(!right.replayed);
}

/// Both copies may come in one commit.
pub async fn a_command_repeated_in_one_call_is_one<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    let copies = [1, 2, 3].map(|n| command("k", 1, append(&stream("a"), [n])));
    let answers = store.append_all(copies.into()).await;
    let replayed: Vec<_> = answers.iter().map(|one| one.as_ref().unwrap().replayed).collect();
    assert_eq!(replayed, [false, true, true]);
    assert_eq!(numbers(&all(&*store, &ReadFilter::all()).await), [1]);
}

/// Only expired ones, and not more than asked for.
pub async fn expired_keys_are_forgotten<A: Adapter>() {
    let adapter = A::start(TestClock::at(0).clock()).await;
    let store = adapter.store();
    for n in 1..=5_u64 {
        let mut batch = command(&format!("k{n}"), 1, append(&stream("a"), [n]));
        batch.idempotency.as_mut().unwrap().expires_at = time(n as i64 * 10);
        store.append(batch).await.unwrap();
    }
    assert_eq!(store.forget_keys(time(9), 10).await.unwrap(), 0);
    assert_eq!(store.forget_keys(time(30), 2).await.unwrap(), 2);
    assert_eq!(store.forget_keys(time(30), 2).await.unwrap(), 1);
    assert_eq!(store.forget_keys(time(30), 2).await.unwrap(), 0);
    assert_eq!(store.former(tenant(1), "k3", &[1; 32]).await.unwrap(), None);
    assert!(store.former(tenant(1), "k4", &[1; 32]).await.unwrap().is_some());
}
