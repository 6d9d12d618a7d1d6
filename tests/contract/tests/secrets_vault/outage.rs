//! Vault goes away and comes back, without a hand.

use std::time::{Duration, Instant};

use contract::secrets::{path, value};
use fixtures::vault::Vault;
use secrets::{SecretError, SecretStore, VaultConfig, VaultLogin, VaultStanding, VaultStore};
use serde_json::json;

use super::{Seat, credential, until};

fn is_away(store: &VaultStore) -> bool {
    matches!(*store.standing().borrow(), VaultStanding::Away { .. })
}

/// Each request ends soon, and says why it brought nothing.
async fn check_away(store: &VaultStore, because: &str) {
    let start = Instant::now();
    let requests = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.latest(&path("a")).await })
    });
    for request in requests.collect::<Vec<_>>() {
        let Err(SecretError::Unavailable { detail }) = request.await.unwrap() else {
            panic!("nothing can resolve");
        };
        // The first ones may meet a connection of before.
        let said = detail.to_lowercase();
        assert!(said.contains(because) || said.contains("connection closed"), "{detail}");
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(is_away(store));
}

#[tokio::test]
async fn a_stopped_server_is_away_and_comes_back_with_everything() {
    let directory = tempfile::tempdir().unwrap();
    let mut seat = Seat::on(Vault::durable(directory.path()).unwrap());
    let policy = format!(
        "path \"{}/*\" {{ capabilities = [\"read\", \"create\", \"update\"] }}",
        seat.config.mount
    );
    let policy = seat.vault.policy(&policy).unwrap();
    let role = seat.vault.app_role(&policy, &json!({"token_ttl": "1h"})).unwrap();
    let login = VaultLogin::AppRole {
        mount: "approle".to_owned(),
        role_id: role.role_id.clone(),
        secret_id: credential(&role.secret_id),
    };
    let store = seat.store_as(login).await;
    let reference = store.put(&path("a"), value("hunter2")).await.unwrap();
    for _ in 0..2 {
        seat.vault.stop().unwrap();
        check_away(&store, "connection refused").await;
        seat.vault.start_again().unwrap();
        // Nobody asks: the store finds out by itself.
        until("that it serves again", || async { !is_away(&store) }).await;
        assert_eq!(store.resolve(&reference).await, Ok(value("hunter2")));
    }
    // The token outlived the outages, so that no login was needed.
    assert_eq!(seat.vault.logins(&role.name).unwrap().len(), 1);
    let largest = secrets::SecretValue::from(vec![7; secrets::SecretValue::MAX_BYTES]);
    let reference = store.put(&path("largest"), largest.clone()).await.unwrap();
    assert_eq!(store.resolve(&reference).await, Ok(largest));
}

#[tokio::test]
async fn a_server_that_lost_everything_is_logged_in_to_again() {
    let mut seat = Seat::on(Vault::own().unwrap());
    let store = seat.store().await;
    store.put(&path("a"), value("hunter2")).await.unwrap();
    seat.vault.stop().unwrap();
    check_away(&store, "connection refused").await;
    seat.vault.start_again().unwrap();
    until("that it serves again", || async { !is_away(&store) }).await;
    // The mount is gone: that is no missing secret, as a missing one is made anew by callers.
    let Err(SecretError::Unavailable { detail }) = store.latest(&path("a")).await else {
        panic!("there is no mount");
    };
    assert!(detail.contains("no handler"), "{detail}");
    seat.vault.mount_at(&seat.config.mount).unwrap();
    assert_eq!(store.latest(&path("a")).await, Err(SecretError::NotFound));
    store.put(&path("a"), value("hunter3")).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_no_more_than_the_timeout() {
    let mut seat = Seat::on(Vault::own().unwrap());
    seat.config.timeout = Duration::from_millis(500);
    let store = seat.store().await;
    let reference = store.put(&path("a"), value("hunter2")).await.unwrap();
    seat.vault.pause().unwrap();
    check_away(&store, "timed out").await;
    let silent = VaultConfig { ..seat.config.clone() };
    let start = Instant::now();
    VaultStore::connect(silent).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(3));
    seat.vault.resume().unwrap();
    until("that it serves again", || async { !is_away(&store) }).await;
    assert_eq!(store.resolve(&reference).await, Ok(value("hunter2")));
}

#[tokio::test]
async fn a_sealed_server_is_away() {
    let seat = Seat::on(Vault::own().unwrap());
    let store = seat.store().await;
    store.put(&path("a"), value("hunter2")).await.unwrap();
    seat.vault.request("PUT", "sys/seal", &json!({})).unwrap();
    check_away(&store, "sealed").await;
}
