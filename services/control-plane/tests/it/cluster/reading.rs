//! What one replica answered, every other one shows.

use futures::future::join_all;
use proto::control::v1 as pb;
use sqlx::{Connection as _, SqliteConnection};

use super::{Cluster, eventually};
use crate::support::{create_server, stdio};

#[tokio::test]
async fn a_read_on_another_replica_sees_what_was_written_before() {
    let cluster = Cluster::new();
    let (_one, other, owner) = cluster.two().await;
    let reader = other.caller(&owner);
    for number in 0..50 {
        let made = owner.caller.register(&owner.project, &format!("s{number}")).await;
        let get = pb::GetServerRequest {
            project_id: owner.project.to_string(),
            server_id: made.id.clone(),
        };
        let seen = reader.servers().get_server(get).await.unwrap().into_inner().server.unwrap();
        assert_eq!(seen.name, made.name);
    }
}

#[tokio::test]
async fn a_read_waits_for_views_that_are_behind() {
    let cluster = Cluster::new();
    let (_one, other, owner) = cluster.two().await;
    let reader = other.caller(&owner);
    let list =
        pb::ListServersRequest { project_id: owner.project.to_string(), ..Default::default() };
    reader.servers().list_servers(list.clone()).await.unwrap();
    // Whoever writes the views of the other replica has to wait.
    let url = format!("sqlite://{}", other.views.display());
    let mut lock = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    let made = owner.caller.register(&owner.project, "a").await;
    let before = other.store.heads();
    let reading = tokio::spawn(async move { reader.servers().list_servers(list).await });
    eventually(async || (other.store.heads() > before).then_some(())).await;
    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    let seen = reading.await.unwrap().unwrap().into_inner().servers;
    assert_eq!(seen.iter().map(|server| &server.id).collect::<Vec<_>>(), [&made.id]);
}

#[tokio::test]
async fn reads_at_the_same_time_share_a_look_at_the_head() {
    let cluster = Cluster::new();
    let (_one, other, owner) = cluster.two().await;
    let reader = other.caller(&owner);
    let list =
        pb::ListServersRequest { project_id: owner.project.to_string(), ..Default::default() };
    let before = other.store.heads();
    let reads = (0..100).map(|_| {
        let (mut servers, list) = (reader.servers(), list.clone());
        async move { servers.list_servers(list).await.unwrap() }
    });
    join_all(reads).await;
    let looks = other.store.heads() - before;
    assert!((1..100).contains(&looks), "{looks} looks for 100 reads");
}

#[tokio::test]
async fn a_session_of_one_replica_and_its_idempotency_keys_hold_on_another() {
    let cluster = Cluster::new();
    let (_one, other, owner) = cluster.two().await;
    let request = pb::CreateServerRequest {
        idempotency_key: "once".to_owned(),
        ..create_server(&owner.project, stdio("a"))
    };
    let made = owner.caller.servers().create_server(request.clone()).await.unwrap().into_inner();
    let again = other.caller(&owner).servers().create_server(request).await.unwrap().into_inner();
    assert_eq!(made.server.unwrap().id, again.server.unwrap().id);
}
