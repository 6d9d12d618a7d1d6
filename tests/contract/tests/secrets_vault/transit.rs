//! What sealing by the transit engine adds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::secrets::{path, tenant, value};
use secrets::{SecretError, SecretPath, SecretRef, SecretStore, VaultConfig, VaultStore};
use serde_json::{Value, json};

use super::Seat;

fn raw(seat: &Seat, at: &SecretPath) -> String {
    format!("{}/data/mcp-orch/{at}", seat.config.mount)
}

#[tokio::test]
async fn the_kv_engine_holds_no_value_that_could_be_read() {
    let seat = Seat::with_transit();
    seat.store().await.put(&path("a"), value("hunter2")).await.unwrap();
    let found = seat.vault.request("GET", &raw(&seat, &path("a")), &Value::Null).unwrap();
    let sealed = found["data"]["data"]["sealed"].as_str().unwrap();
    assert!(sealed.starts_with("vault:v1:"), "{sealed}");
    let text = found.to_string();
    assert!(!text.contains("hunter2") && !text.contains(&STANDARD.encode("hunter2")), "{text}");
}

#[tokio::test]
async fn what_was_moved_or_changed_does_not_open() {
    let seat = Seat::with_transit();
    let store = seat.store().await;
    store.put(&path("a"), value("hunter2")).await.unwrap();
    let found = seat.vault.request("GET", &raw(&seat, &path("a")), &Value::Null).unwrap();
    let sealed = found["data"]["data"]["sealed"].as_str().unwrap();
    let elsewhere = SecretPath::new(tenant(2), "a").unwrap();
    store.put(&elsewhere, value("other")).await.unwrap();
    // Another path, another version, another tenant, another text.
    for (at, text) in [
        (path("b"), sealed.to_owned()),
        (path("a"), sealed.to_owned()),
        (elsewhere, sealed.to_owned()),
        (path("c"), "vault:v1:AAAA".to_owned()),
        (path("c"), "hunter2".to_owned()),
    ] {
        let body = json!({"data": {"sealed": text}});
        seat.vault.request("POST", &raw(&seat, &at), &body).unwrap();
        let tampered = Err(SecretError::Tampered { path: at.clone() });
        assert_eq!(store.latest(&at).await, tampered, "{at}");
    }
    assert_eq!(store.resolve(&SecretRef::of(path("a"), 1).unwrap()).await, Ok(value("hunter2")));
}

#[tokio::test]
async fn without_its_key_a_tenant_has_nothing_left() {
    let seat = Seat::with_transit();
    let store = seat.store().await;
    let other = store.put(&SecretPath::new(tenant(2), "a").unwrap(), value("other")).await.unwrap();
    let erased = store.put(&path("a"), value("hunter2")).await.unwrap();
    let key =
        format!("{}/keys/mcp-orch-{}", seat.config.transit.as_ref().unwrap().mount, tenant(1));
    let allow = json!({"deletion_allowed": true});
    seat.vault.request("POST", &format!("{key}/config"), &allow).unwrap();
    seat.vault.request("DELETE", &key, &Value::Null).unwrap();
    assert_eq!(store.resolve(&erased).await, Err(SecretError::NotFound));
    assert_eq!(store.latest(&path("a")).await, Err(SecretError::NotFound));
    assert_eq!(store.resolve(&other).await, Ok(value("other")));
    // What is put from then on has a new key, which opens nothing old.
    let next = store.create_once(&path("a"), value("new")).await.unwrap();
    assert_eq!((next.0.version(), next.1), (2, value("new")));
    let tampered = Err(SecretError::Tampered { path: path("a") });
    assert_eq!(store.resolve(&erased).await, tampered);
}

#[tokio::test]
async fn an_erased_tenant_is_gone_in_every_version_of_every_path() {
    for seat in [Seat::with_transit(), Seat::new()] {
        let store = seat.store().await;
        let at = ["a", "a/b", "servers/1/launch", "b.c"].map(path);
        for at in &at {
            store.put(at, value("one")).await.unwrap();
            store.put(at, value("two")).await.unwrap();
        }
        let other = SecretPath::new(tenant(2), "a").unwrap();
        let other = store.put(&other, value("other")).await.unwrap();
        for _ in 0..2 {
            store.erase_tenant(tenant(1)).await.unwrap();
        }
        for at in &at {
            assert_eq!(store.versions(at).await, Ok(Vec::new()), "{at}");
            assert_eq!(store.put(at, value("three")).await.unwrap().version(), 3, "{at}");
        }
        assert_eq!(store.resolve(&other).await, Ok(value("other")));
        store.erase_tenant(tenant(9)).await.unwrap();
    }
}

#[tokio::test]
async fn transit_can_be_turned_on_later() {
    let seat = Seat::with_transit();
    let plain = VaultConfig { transit: None, ..seat.config.clone() };
    let plain = VaultStore::connect(plain).await.unwrap();
    let first = plain.put(&path("a"), value("one")).await.unwrap();
    let store = seat.store().await;
    let second = store.put(&path("a"), value("two")).await.unwrap();
    assert_eq!(store.resolve(&first).await, Ok(value("one")));
    assert_eq!(store.resolve(&second).await, Ok(value("two")));
    let Err(SecretError::Unavailable { detail }) = plain.resolve(&second).await else {
        panic!("it is sealed");
    };
    assert!(detail.contains("transit"), "{detail}");
}
