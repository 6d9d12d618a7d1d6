//! The policies that are deployed: each service can do its work, and no more.

use contract::secrets::{path, tenant, value};
use domain::TenantId;
use fixtures::vault::AppRole;
use secrets::{SecretError, SecretPath, SecretStore, VaultLogin, VaultStore};
use serde_json::json;

use super::{Seat, credential};

async fn service(seat: &Seat, name: &str) -> VaultStore {
    let transit = seat.config.transit.as_ref().unwrap();
    let policy = seat.vault.service_policy(name, &seat.config.mount, &transit.mount).unwrap();
    // Without the default policy, so that what a service needs is all in its own.
    let options = json!({"token_ttl": "60s", "token_no_default_policy": true});
    let AppRole { role_id, secret_id, .. } = seat.vault.app_role(&policy, &options).unwrap();
    let mount = "approle".to_owned();
    seat.store_as(VaultLogin::AppRole { mount, role_id, secret_id: credential(&secret_id) }).await
}

fn state_key() -> SecretPath {
    SecretPath::new(TenantId::SYSTEM, "edge/state-key").unwrap()
}

fn launch() -> SecretPath {
    path("servers/0198c0de-0000-7000-8000-0000000000aa/launch")
}

fn is_denied<T>(outcome: &Result<T, SecretError>) -> bool {
    matches!(outcome, Err(SecretError::Denied { .. }))
}

#[tokio::test]
async fn the_control_plane_does_all_that_the_port_has() {
    let seat = Seat::with_transit();
    let store = service(&seat, "control-plane").await;
    let first = store.put(&launch(), value("one")).await.unwrap();
    let second = store.put(&launch(), value("two")).await.unwrap();
    assert_eq!(store.resolve(&first).await, Ok(value("one")));
    assert_eq!(store.latest(&launch()).await, Ok((second.clone(), value("two"))));
    assert_eq!(store.versions(&launch()).await, Ok(vec![1, 2]));
    assert_eq!(store.create_once(&launch(), value("x")).await, Ok((second, value("two"))));
    store.create_once(&state_key(), value("key")).await.unwrap();
    store.delete(&launch()).await.unwrap();
    assert_eq!(store.put(&launch(), value("three")).await.unwrap().version(), 3);
    store.erase_tenant(tenant(1)).await.unwrap();
    assert_eq!(store.latest(&launch()).await, Err(SecretError::NotFound));
    assert_eq!(store.put(&launch(), value("four")).await.unwrap().version(), 4);
}

#[tokio::test]
async fn nobody_can_make_a_number_be_used_twice() {
    let seat = Seat::with_transit();
    let transit = seat.config.transit.as_ref().unwrap();
    let policy = seat.vault.service_policy("control-plane", &seat.config.mount, &transit.mount);
    let token = seat.vault.child_token(&[&policy.unwrap()], &json!({"ttl": "60s"})).unwrap();
    service(&seat, "control-plane").await.put(&launch(), value("one")).await.unwrap();
    let metadata = format!("{}/metadata/mcp-orch/{}", seat.config.mount, launch());
    let refusal = seat.vault.request_as(&token, "DELETE", &metadata, &json!(null)).unwrap_err();
    assert!(refusal.to_string().contains("403"), "{refusal}");
}

#[tokio::test]
async fn a_worker_resolves_launch_secrets_and_nothing_else() {
    let seat = Seat::with_transit();
    let root = seat.store().await;
    let reference = root.put(&launch(), value("hunter2")).await.unwrap();
    let digest_key = root.put(&path("journal/digest-key"), value("key")).await.unwrap();
    let state_key = root.put(&state_key(), value("key")).await.unwrap();
    let worker = service(&seat, "worker").await;
    assert_eq!(worker.resolve(&reference).await, Ok(value("hunter2")));
    let next = secrets::SecretRef::of(launch(), 2).unwrap();
    assert_eq!(worker.resolve(&next).await, Err(SecretError::NotFound));
    assert!(is_denied(&worker.resolve(&digest_key).await));
    assert!(is_denied(&worker.resolve(&state_key).await));
    assert!(is_denied(&worker.put(&launch(), value("x")).await));
    assert!(is_denied(&worker.create_once(&path("servers/new/launch"), value("x")).await));
    assert!(is_denied(&worker.delete(&launch()).await));
    assert!(is_denied(&worker.versions(&launch()).await));
    assert!(is_denied(&worker.erase_tenant(tenant(1)).await));
    assert_eq!(root.resolve(&reference).await, Ok(value("hunter2")));
}

#[tokio::test]
async fn an_edge_reads_the_key_of_all_edges_and_no_secret_of_a_tenant() {
    let seat = Seat::with_transit();
    let (control_plane, edge) =
        (service(&seat, "control-plane").await, service(&seat, "edge").await);
    let too_early = edge.create_once(&state_key(), value("mine")).await;
    assert!(is_denied(&too_early), "{too_early:?}");
    let made = control_plane.create_once(&state_key(), value("key")).await.unwrap();
    assert_eq!(edge.create_once(&state_key(), value("mine")).await, Ok(made.clone()));
    assert_eq!(edge.latest(&state_key()).await, Ok(made));
    let secret = control_plane.put(&launch(), value("hunter2")).await.unwrap();
    let system = SecretPath::new(TenantId::SYSTEM, "identity/token-key").unwrap();
    let token_key = control_plane.put(&system, value("key")).await.unwrap();
    let same_name = control_plane.put(&path("edge/state-key"), value("key")).await.unwrap();
    for reference in [secret, token_key, same_name] {
        let refusal = edge.resolve(&reference).await;
        assert!(is_denied(&refusal), "{reference}: {refusal:?}");
        let shown = refusal.unwrap_err().to_string();
        assert!(shown.contains("permission denied"), "{shown}");
    }
    assert!(is_denied(&edge.put(&state_key(), value("x")).await));
    assert!(is_denied(&edge.delete(&state_key()).await));
}
