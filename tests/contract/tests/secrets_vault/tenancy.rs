//! Namespaces and mounts, for all tenants or for each one.

use contract::secrets::{path, tenant, value};
use secrets::{SecretError, SecretPath, SecretStore, VaultConfig, VaultStore};
use serde_json::{Value, json};

use super::Seat;

#[tokio::test]
async fn a_namespace_holds_everything() {
    let seat = Seat::new();
    let namespace = seat.vault.unique("ns");
    seat.vault.request("POST", &format!("sys/namespaces/{namespace}"), &json!({})).unwrap();
    seat.vault.mount_at(&format!("{namespace}/secret")).unwrap();
    let config = VaultConfig {
        namespace: Some(namespace.clone()),
        mount: "secret".to_owned(),
        ..seat.config.clone()
    };
    let store = VaultStore::connect(config).await.unwrap();
    let reference = store.put(&path("a"), value("hunter2")).await.unwrap();
    assert_eq!(store.resolve(&reference).await, Ok(value("hunter2")));
    let raw = format!("{namespace}/secret/data/mcp-orch/{}", path("a"));
    assert!(seat.vault.request("GET", &raw, &Value::Null).is_ok(), "it is where it should be");
    assert_eq!(seat.store().await.latest(&path("a")).await, Err(SecretError::NotFound));
}

#[tokio::test]
async fn each_tenant_may_have_a_mount_in_a_namespace_of_its_own() {
    let seat = Seat::new();
    let parent = seat.vault.unique("org");
    seat.vault.request("POST", &format!("sys/namespaces/{parent}"), &json!({})).unwrap();
    let tenants = [tenant(1), tenant(2)];
    for tenant in tenants {
        let body = json!({});
        seat.vault.request("POST", &format!("{parent}/sys/namespaces/{tenant}"), &body).unwrap();
        seat.vault.mount_at(&format!("{parent}/{tenant}/secret")).unwrap();
    }
    let config =
        VaultConfig { mount: format!("{parent}/{{tenant}}/secret"), ..seat.config.clone() };
    let store = VaultStore::connect(config).await.unwrap();
    for tenant in tenants {
        let at = SecretPath::new(tenant, "a").unwrap();
        let reference = store.put(&at, value(&tenant.to_string())).await.unwrap();
        assert_eq!(reference.version(), 1);
        assert_eq!(store.resolve(&reference).await, Ok(value(&tenant.to_string())));
        let raw = format!("{parent}/{tenant}/secret/data/mcp-orch/{tenant}/a");
        assert!(seat.vault.request("GET", &raw, &Value::Null).is_ok());
    }
    let stranger = SecretPath::new(tenant(3), "a").unwrap();
    let refusal = store.put(&stranger, value("x")).await;
    assert!(matches!(refusal, Err(SecretError::Unavailable { .. })), "{refusal:?}");
}

#[tokio::test]
async fn two_logins_share_the_numbering() {
    let seat = Seat::new();
    let stores = [seat.store().await, seat.store().await];
    let puts = (0..20).map(|number| {
        let store = stores[number % 2].clone();
        tokio::spawn(async move { store.put(&path("a"), value("x")).await.unwrap().version() })
    });
    let mut versions = Vec::new();
    for put in puts.collect::<Vec<_>>() {
        versions.push(put.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_an_operator_deleted_or_restored_is_as_the_operator_left_it() {
    let seat = Seat::new();
    let store = seat.store().await;
    for text in ["one", "two"] {
        store.put(&path("a"), value(text)).await.unwrap();
    }
    let at = |kind: &str| format!("{}/{kind}/mcp-orch/{}", seat.config.mount, path("a"));
    let second = json!({"versions": [2]});
    seat.vault.request("POST", &at("delete"), &second).unwrap();
    assert_eq!(store.versions(&path("a")).await, Ok(vec![1]));
    assert_eq!(store.latest(&path("a")).await.unwrap().1, value("one"));
    seat.vault.request("POST", &at("undelete"), &second).unwrap();
    assert_eq!(store.latest(&path("a")).await.unwrap().1, value("two"));
    seat.vault.request("POST", &at("delete"), &second).unwrap();
    store.delete(&path("a")).await.unwrap();
    seat.vault.request("POST", &at("undelete"), &second).unwrap();
    assert_eq!(store.versions(&path("a")).await, Ok(Vec::new()), "a deletion cannot be undone");
}

#[tokio::test]
async fn what_somebody_else_wrote_there_is_no_value() {
    let seat = Seat::new();
    let store = seat.store().await;
    let at = format!("{}/data/mcp-orch/{}", seat.config.mount, path("a"));
    for data in [json!({"password": "x"}), json!({"base64": "no base64!"}), json!({"base64": 7})] {
        seat.vault.request("POST", &at, &json!({ "data": data })).unwrap();
        let tampered = Err(SecretError::Tampered { path: path("a") });
        assert_eq!(store.latest(&path("a")).await, tampered, "{data}");
    }
}
