//! A command that is sent twice is one command, and concurrent commands do not undo each other.

use futures::future::join_all;
use proto::control::v1 as pb;
use tonic::Code;

use crate::support::{World, create_server, refused, stdio};

fn keyed(project: &domain::ProjectId, name: &str, key: &str) -> pb::CreateServerRequest {
    let mut request = create_server(project, stdio(name));
    request.idempotency_key = key.to_owned();
    request
}

#[tokio::test]
async fn a_repeated_key_is_one_command_and_with_another_request_a_mismatch() {
    let (world, owner) = World::bootstrapped().await;
    let mut servers = owner.caller.servers();
    let mut request = keyed(&owner.project, "a", "k");
    let spec = request.spec.as_mut().unwrap();
    for index in 0..20 {
        spec.env.insert(format!("NAME_{index}"), format!("value {index}"));
    }
    let first = servers.create_server(request.clone()).await.unwrap().into_inner();
    let again = servers.create_server(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.server.unwrap().id, again.server.unwrap().id);
    let result = servers.create_server(keyed(&owner.project, "b", "k")).await;
    assert_eq!(refused(result), (Code::FailedPrecondition, "IDEMPOTENCY_MISMATCH".into()));

    // The key belongs to the caller: another one's is another key.
    let second = world.member(&owner, "second", pb::Role::Owner).await;
    let result = second.servers().create_server(keyed(&owner.project, "b", "k")).await;
    assert!(result.is_ok());
    let listed =
        pb::ListServersRequest { project_id: owner.project.to_string(), ..Default::default() };
    let listed = servers.list_servers(listed).await.unwrap().into_inner().servers;
    assert_eq!(listed.len(), 2);
}

#[tokio::test]
async fn an_end_that_is_repeated_with_its_key_is_no_error() {
    let (_world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "a").await;
    let request = |key: &str| pb::DeleteServerRequest {
        project_id: owner.project.to_string(),
        server_id: server.id.clone(),
        idempotency_key: key.to_owned(),
    };
    let mut servers = owner.caller.servers();
    servers.delete_server(request("k")).await.unwrap();
    servers.delete_server(request("k")).await.unwrap();
    assert_eq!(refused(servers.delete_server(request("")).await).0, Code::NotFound);
}

#[tokio::test]
async fn a_name_is_given_once_however_many_ask_at_once() {
    let (_world, owner) = World::bootstrapped().await;
    let attempts = (0..10).map(|_| async {
        let request = create_server(&owner.project, stdio("same"));
        owner.caller.servers().create_server(request).await
    });
    let results = join_all(attempts).await;
    let (made, others): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for result in others {
        assert_eq!(refused(result).0, Code::AlreadyExists);
    }
}

#[tokio::test]
async fn concurrent_changes_of_one_server_are_all_kept_or_said_to_conflict() {
    let (_world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "a").await;
    let changes = (0..12).map(|index| {
        let mut request = pb::SetToolEnabledRequest {
            project_id: owner.project.to_string(),
            server_id: server.id.clone(),
            tool: format!("tool{index:02}"),
            enabled: false,
            idempotency_key: String::new(),
        };
        request.idempotency_key = format!("k{index}");
        let mut servers = owner.caller.servers();
        async move {
            loop {
                match servers.set_tool_enabled(request.clone()).await {
                    Ok(_) => return,
                    Err(status) => assert_eq!(status.code(), Code::Aborted),
                }
            }
        }
    });
    join_all(changes).await;
    let get = pb::GetServerRequest {
        project_id: owner.project.to_string(),
        server_id: server.id.clone(),
    };
    let shown = owner.caller.servers().get_server(get).await.unwrap().into_inner();
    assert_eq!(shown.server.unwrap().disabled_tools.len(), 12);
}
