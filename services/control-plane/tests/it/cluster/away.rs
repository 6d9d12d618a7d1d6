//! The store is away: what goes on, what is refused and how, and that all of it comes back.

use proto::control::v1 as pb;
use runtime::health::Health;
use tonic::Code;

use super::worker::Worker;
use super::{Cluster, eventually};
use crate::support::{create_server, refused, stdio};

fn list(project: &domain::ProjectId) -> pb::ListServersRequest {
    pb::ListServersRequest { project_id: project.to_string(), ..Default::default() }
}

#[tokio::test]
async fn reads_go_on_and_say_that_they_may_be_old_while_commands_say_what_to_do() {
    let cluster = Cluster::new();
    let (one, _other, owner) = cluster.two().await;
    owner.caller.register(&owner.project, "a").await;
    let fresh = owner.caller.servers().list_servers(list(&owner.project)).await.unwrap();
    assert!(!fresh.metadata().contains_key(control_plane::STALE_HEADER));

    one.store.cut();
    let stale = owner.caller.servers().list_servers(list(&owner.project)).await.unwrap();
    assert_eq!(stale.metadata().get(control_plane::STALE_HEADER).unwrap(), "true");
    assert_eq!(stale.into_inner().servers.len(), 1);
    let create = create_server(&owner.project, stdio("b"));
    let refusal = owner.caller.servers().create_server(create.clone()).await;
    assert_eq!(refusal.as_ref().unwrap_err().code(), Code::Unavailable);
    assert!(refusal.as_ref().unwrap_err().message().contains("try again"), "{refusal:?}");
    assert_eq!(refused(refusal).1, "UNAVAILABLE");

    one.store.mend();
    owner.caller.servers().create_server(create).await.unwrap();
    eventually(async || {
        let list = owner.caller.servers().list_servers(list(&owner.project)).await.unwrap();
        (!list.metadata().contains_key(control_plane::STALE_HEADER)).then_some(())
    })
    .await;
    let health = one.health.parts()["control-plane views"].clone();
    assert_eq!(health, Health::Ok);
}

#[tokio::test]
async fn rest_says_so_too() {
    let cluster = Cluster::new();
    let (one, _other, owner) = cluster.two().await;
    let url = format!("http://{}/projects/{}/servers", one.address, owner.project);
    let get = async || {
        rustls::crypto::ring::default_provider().install_default().ok();
        let request = reqwest::Client::new().get(&url).bearer_auth(owner.caller.token());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.headers().get(control_plane::STALE_HEADER).map(|value| value.as_bytes().to_vec())
    };
    assert_eq!(get().await, None);
    one.store.cut();
    assert_eq!(get().await.unwrap(), b"true");
}

#[tokio::test]
async fn workers_keep_what_they_have_while_no_replica_reaches_the_store() {
    let cluster = Cluster::new();
    let (one, other, owner) = cluster.two().await;
    for name in ["x", "y"] {
        owner.caller.register(&owner.project, name).await;
    }
    let mut a = Worker::new(&cluster.bus, "a");
    eventually(async || {
        a.ask().await;
        (a.held.len() == 2).then_some(())
    })
    .await;
    let held = a.held.clone();

    // One replica is cut off: it keeps silent, because the other has a better answer.
    one.store.cut();
    let (mut answered, mut silent) = (0, 0);
    while answered < 3 || silent < 3 {
        match a.try_ask().await {
            Ok(_) => answered += 1,
            Err(_) => silent += 1,
        }
        assert!(answered + silent < 100, "{answered} answered, {silent} not");
        assert_eq!(a.held, held);
    }

    // Both are.
    other.store.cut();
    cluster.clock.advance_seconds(30);
    let reply = eventually(async || a.try_ask().await.ok()).await;
    assert_eq!((reply.owned.len(), reply.valid_ms), (2, 3_000));
    let mut b = Worker::new(&cluster.bus, "b");
    let nothing = eventually(async || b.try_ask().await.ok()).await;
    assert!(nothing.owned.is_empty() && nothing.prepare.is_empty(), "{nothing:?}");

    // Back again: claimed anew by the one who kept it.
    one.store.mend();
    other.store.mend();
    a.ask().await;
    assert_eq!(a.held.len(), 2);
    assert!(a.held.iter().all(|(server, epoch)| *epoch > held[server]), "their time was over");
}
