//! Servers over gRPC, and where the values that may be secret are.

use domain::ServerId;
use prost_types::FieldMask;
use proto::control::v1 as pb;
use secrets::{SecretError, SecretPath};
use tonic::Code;

use crate::support::{Owner, World, create_server, refused, stdio};

const CANARY: &str = "canary-5e6f7a8b9c0d";

fn secretive(name: &str) -> pb::ServerSpec {
    pb::ServerSpec {
        args: vec!["serve".into(), format!("--token={CANARY}-arg")],
        env: [("TOKEN".to_owned(), format!("{CANARY}-env"))].into(),
        ..stdio(name)
    }
}

fn with_header(name: &str) -> pb::ServerSpec {
    pb::ServerSpec {
        name: name.into(),
        transport: pb::Transport::Sse.into(),
        url: format!("http://user:{CANARY}-pw@host:8000/mcp?key={CANARY}-query"),
        headers: [("Authorization".to_owned(), format!("Bearer {CANARY}-header"))].into(),
        ..Default::default()
    }
}

async fn launch_values(world: &World, owner: &Owner, server: &str) -> String {
    let path = SecretPath::new(owner.tenant, &format!("servers/{server}/launch")).unwrap();
    let (_, value) = world.secrets.latest(&path).await.unwrap();
    value.expose_str().unwrap().to_owned()
}

fn update(server: &pb::Server, spec: pb::ServerSpec, paths: &[&str]) -> pb::UpdateServerRequest {
    pb::UpdateServerRequest {
        project_id: server.project_id.clone(),
        server_id: server.id.clone(),
        spec: Some(spec),
        update_mask: Some(FieldMask { paths: paths.iter().map(|p| (*p).to_owned()).collect() }),
        idempotency_key: String::new(),
    }
}

#[tokio::test]
async fn values_that_may_be_secret_are_sealed_and_nowhere_else() {
    let (world, owner) = World::bootstrapped().await;
    let mut servers = owner.caller.servers();
    let mut shown = Vec::new();
    for spec in [secretive("one"), with_header("two")] {
        let made = servers.create_server(create_server(&owner.project, spec)).await.unwrap();
        shown.push(made.into_inner().server.unwrap());
    }
    assert_eq!(shown[0].env_names, ["TOKEN"]);
    assert_eq!(shown[1].header_names, ["Authorization"]);
    assert!(shown[1].url.starts_with("http://host:8000/mcp"), "{}", shown[1].url);
    for server in &shown {
        let values = launch_values(&world, &owner, &server.id).await;
        assert!(values.contains(CANARY), "the worker finds them");
    }
    let audit = owner.caller.audit_of(&owner.project).await;
    let said = format!("{shown:?} {audit:?}");
    assert!(!said.contains(CANARY));

    let (folder, _) = world.stop().await;
    let mut files = 0;
    let mut folders = vec![folder.path().to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    assert!(files >= 4, "{files} files looked at");
}

#[tokio::test]
async fn a_partial_change_keeps_the_sealed_values_and_a_change_of_them_seals_a_new_version() {
    let (world, owner) = World::bootstrapped().await;
    let mut servers = owner.caller.servers();
    let made = servers.create_server(create_server(&owner.project, secretive("one"))).await;
    let made = made.unwrap().into_inner().server.unwrap();
    let path = SecretPath::new(owner.tenant, &format!("servers/{}/launch", made.id)).unwrap();

    let slower = pb::ServerSpec { timeout_s: 99, ..Default::default() };
    let changed = servers.update_server(update(&made, slower, &["timeout_s"])).await.unwrap();
    assert_eq!(changed.into_inner().server.unwrap().timeout_s, 99);
    assert_eq!(world.secrets.versions(&path).await.unwrap(), [1]);

    let other = pb::ServerSpec {
        env: [("TOKEN".to_owned(), "…".to_owned()), ("MORE".to_owned(), "plain".to_owned())].into(),
        ..Default::default()
    };
    let changed = servers.update_server(update(&made, other, &["env"])).await.unwrap();
    assert_eq!(changed.into_inner().server.unwrap().env_names.len(), 2);
    assert_eq!(world.secrets.versions(&path).await.unwrap(), [1, 2]);
    let values = launch_values(&world, &owner, &made.id).await;
    for kept in ["-arg", "-env", "plain"] {
        assert!(values.contains(kept), "{kept}");
    }
}

#[tokio::test]
async fn the_transport_may_change_and_name_and_history_stay() {
    let (world, owner) = World::bootstrapped().await;
    let mut servers = owner.caller.servers();
    let made = servers.create_server(create_server(&owner.project, secretive("one"))).await;
    let made = made.unwrap().into_inner().server.unwrap();
    let paths = ["transport", "url", "headers"];
    let changed = servers.update_server(update(&made, with_header(""), &paths)).await.unwrap();
    let changed = changed.into_inner().server.unwrap();
    assert_eq!((changed.id.as_str(), changed.name.as_str()), (made.id.as_str(), "one"));
    assert_eq!(changed.transport(), pb::Transport::Sse);
    assert!(changed.command.is_empty() && changed.env_names.is_empty());
    assert!(!launch_values(&world, &owner, &made.id).await.contains("-arg"));
}

#[tokio::test]
async fn names_are_unique_until_they_are_freed() {
    let (_world, owner) = World::bootstrapped().await;
    let mut servers = owner.caller.servers();
    let one = owner.caller.register(&owner.project, "one").await;
    let two = owner.caller.register(&owner.project, "two").await;
    let rename = |server: &pb::Server, name: &str| update(server, stdio(name), &["name"]);
    let taken = refused(servers.update_server(rename(&two, "one")).await);
    assert_eq!(taken, (Code::AlreadyExists, "ALREADY_EXISTS".into()));
    servers.update_server(rename(&one, "three")).await.unwrap();
    servers.update_server(rename(&two, "one")).await.unwrap();
    let delete = pb::DeleteServerRequest {
        project_id: one.project_id.clone(),
        server_id: one.id.clone(),
        ..Default::default()
    };
    servers.delete_server(delete).await.unwrap();
    owner.caller.register(&owner.project, "three").await;
}

#[tokio::test]
async fn a_deleted_servers_values_are_destroyed_and_a_refused_one_leaves_none() {
    let (world, owner) = World::bootstrapped().await;
    let mut servers = owner.caller.servers();
    let made = servers.create_server(create_server(&owner.project, secretive("one"))).await;
    let made = made.unwrap().into_inner().server.unwrap();
    let delete = pb::DeleteServerRequest {
        project_id: made.project_id.clone(),
        server_id: made.id.clone(),
        ..Default::default()
    };
    servers.delete_server(delete).await.unwrap();
    let path = SecretPath::new(owner.tenant, &format!("servers/{}/launch", made.id)).unwrap();
    assert_eq!(world.secrets.latest(&path).await.err(), Some(SecretError::NotFound));
    let get =
        pb::GetServerRequest { project_id: made.project_id.clone(), server_id: made.id.clone() };
    assert_eq!(refused(servers.get_server(get).await).0, Code::NotFound);

    for bad in [
        pb::ServerSpec { timeout_s: 4_000, ..secretive("a") },
        pb::ServerSpec { command: String::new(), ..secretive("a") },
        pb::ServerSpec { name: "a/b".into(), ..secretive("a") },
    ] {
        let result = servers.create_server(create_server(&owner.project, bad)).await;
        assert_eq!(refused(result).0, Code::InvalidArgument);
    }
}

#[tokio::test]
async fn use_and_tools_are_switched_and_asking_again_changes_nothing() {
    let (world, owner) = World::bootstrapped().await;
    let made = owner.caller.register(&owner.project, "one").await;
    assert_eq!(made.state(), pb::ServerState::Starting);
    let mut servers = owner.caller.servers();
    let enabled = |enabled| pb::SetServerEnabledRequest {
        project_id: made.project_id.clone(),
        server_id: made.id.clone(),
        enabled,
        ..Default::default()
    };
    let off = servers.set_server_enabled(enabled(false)).await.unwrap().into_inner();
    assert_eq!(off.server.unwrap().state(), pb::ServerState::Disabled);
    let before = world.app.views().progress();
    servers.set_server_enabled(enabled(false)).await.unwrap();
    assert_eq!(world.app.views().progress(), before);
    let on = servers.set_server_enabled(enabled(true)).await.unwrap().into_inner();
    assert_eq!(on.server.unwrap().state(), pb::ServerState::Starting);
    let id: ServerId = made.id.parse().unwrap();
    let tool = pb::SetToolEnabledRequest {
        project_id: made.project_id.clone(),
        server_id: id.to_string(),
        tool: "danger".into(),
        enabled: false,
        ..Default::default()
    };
    let shown = servers.set_tool_enabled(tool).await.unwrap().into_inner().server.unwrap();
    assert_eq!(shown.disabled_tools, ["danger"]);
}

#[tokio::test]
async fn values_of_a_deleted_server_that_were_left_are_destroyed_by_the_next_start() {
    let (world, owner) = World::bootstrapped().await;
    let made = owner.caller.register(&owner.project, "one").await;
    let kept = owner.caller.register(&owner.project, "two").await;
    let delete = pb::DeleteServerRequest {
        project_id: made.project_id.clone(),
        server_id: made.id.clone(),
        ..Default::default()
    };
    owner.caller.servers().delete_server(delete).await.unwrap();
    let path = |server: &pb::Server| {
        SecretPath::new(owner.tenant, &format!("servers/{}/launch", server.id)).unwrap()
    };
    // As if the process had been killed between the commit and the destruction.
    for server in [&made, &kept] {
        world.secrets.put(&path(server), CANARY.to_owned().into()).await.unwrap();
    }
    let world = world.restart().await;
    let gone = async {
        while world.secrets.latest(&path(&made)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone).await.unwrap();
    assert!(world.secrets.latest(&path(&kept)).await.is_ok());
}

#[tokio::test]
async fn an_isolation_is_set_shown_changed_and_checked() {
    let (_world, owner) = World::bootstrapped().await;
    let mut servers = owner.caller.servers();
    let shared = owner.caller.register(&owner.project, "shared").await;
    assert_eq!(shared.isolation(), pb::Isolation::Shared, "when nobody says");
    let session = pb::Isolation::Session;
    let spec = pb::ServerSpec { isolation: session.into(), ..stdio("alone") };
    let made = servers.create_server(create_server(&owner.project, spec)).await.unwrap();
    let made = made.into_inner().server.unwrap();
    assert_eq!(made.isolation(), session);

    let timeout = update(&made, pb::ServerSpec { timeout_s: 9, ..stdio("alone") }, &["timeout_s"]);
    let kept = servers.update_server(timeout).await.unwrap().into_inner().server.unwrap();
    assert_eq!(kept.isolation(), session, "what the mask does not name stays");
    let back = update(&made, stdio("alone"), &["isolation"]);
    let back = servers.update_server(back).await.unwrap().into_inner().server.unwrap();
    assert_eq!(back.isolation(), pb::Isolation::Shared);

    let wrong = pb::ServerSpec { isolation: 7, ..stdio("wrong") };
    let refusal = servers.create_server(create_server(&owner.project, wrong)).await;
    assert_eq!(refused(refusal).0, Code::InvalidArgument);
}

#[tokio::test]
async fn placement_labels_are_set_shown_and_changed() {
    let (_world, owner) = World::bootstrapped().await;
    let mut servers = owner.caller.servers();
    let labels = vec!["gpu".to_owned(), "docker".to_owned(), "gpu".to_owned()];
    let spec = pb::ServerSpec { placement_labels: labels, ..stdio("placed") };
    let made = servers.create_server(create_server(&owner.project, spec)).await.unwrap();
    let made = made.into_inner().server.unwrap();
    assert_eq!(made.placement_labels, ["docker", "gpu"], "sorted, each once");
    let timeout = update(&made, pb::ServerSpec { timeout_s: 9, ..stdio("placed") }, &["timeout_s"]);
    let kept = servers.update_server(timeout).await.unwrap().into_inner().server.unwrap();
    assert_eq!(kept.placement_labels, ["docker", "gpu"], "what the mask does not name stays");
    let anywhere = update(&made, stdio("placed"), &["placement_labels"]);
    let anywhere = servers.update_server(anywhere).await.unwrap().into_inner().server.unwrap();
    assert!(anywhere.placement_labels.is_empty());
}
