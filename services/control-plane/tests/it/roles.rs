//! Who may do what: every method, every role, and strangers.

use prost_types::FieldMask;
use proto::control::v1 as pb;
use tonic::{Code, Status};

use crate::support::{Caller, World, create_server, refused, stdio};

/// What a method answers: its code, `Ok` included.
fn code<T>(result: Result<T, Status>) -> Code {
    result.err().map_or(Code::Ok, |status| status.code())
}

/// The ids that the methods are called with.
struct Target {
    project: String,
    server: String,
    user: String,
    key: String,
}

/// Calls every method that works in a project.
async fn every_method(caller: &Caller, at: &Target) -> Vec<(&'static str, Code)> {
    let mut codes = reads(caller, at).await;
    codes.extend(project_writes(caller, at).await);
    codes.extend(server_writes(caller, at).await);
    codes
}

async fn reads(caller: &Caller, at: &Target) -> Vec<(&'static str, Code)> {
    let project_id = || at.project.clone();
    let get = pb::GetProjectRequest { project_id: project_id() };
    let members = pb::ListMembersRequest { project_id: project_id(), ..Default::default() };
    let servers = pb::ListServersRequest { project_id: project_id(), ..Default::default() };
    let server = pb::GetServerRequest { project_id: project_id(), server_id: at.server.clone() };
    let tools = pb::ListToolsRequest { project_id: project_id(), ..Default::default() };
    let test = pb::TestServerRequest { project_id: project_id(), server_id: at.server.clone() };
    let log = pb::GetServerLogRequest {
        project_id: project_id(),
        server_id: at.server.clone(),
        max_lines: 0,
    };
    let keys = pb::ListApiKeysRequest { project_id: project_id(), ..Default::default() };
    let calls = pb::ListCallsRequest { project_id: project_id(), ..Default::default() };
    let audit = pb::ListAuditEntriesRequest { project_id: project_id(), ..Default::default() };
    vec![
        ("get_project", code(caller.projects().get_project(get).await)),
        ("list_members", code(caller.projects().list_members(members).await)),
        ("list_servers", code(caller.servers().list_servers(servers).await)),
        ("get_server", code(caller.servers().get_server(server).await)),
        ("list_tools", code(caller.servers().list_tools(tools).await)),
        ("test_server", code(caller.servers().test_server(test).await)),
        ("get_server_log", code(caller.servers().get_server_log(log).await)),
        ("list_api_keys", code(caller.keys().list_api_keys(keys).await)),
        ("list_calls", code(caller.calls().list_calls(calls).await)),
        ("list_audit_entries", code(caller.audit().list_audit_entries(audit).await)),
    ]
}

async fn project_writes(caller: &Caller, at: &Target) -> Vec<(&'static str, Code)> {
    let project_id = || at.project.clone();
    let key = pb::CreateApiKeyRequest {
        project_id: project_id(),
        name: "k".into(),
        role: pb::Role::Reporter.into(),
        ..Default::default()
    };
    let revoke = pb::RevokeApiKeyRequest {
        project_id: project_id(),
        api_key_id: at.key.clone(),
        ..Default::default()
    };
    let member = pb::SetMemberRequest {
        project_id: project_id(),
        user: Some(pb::set_member_request::User::UserId(at.user.clone())),
        role: pb::Role::Owner.into(),
        ..Default::default()
    };
    let remove = pb::RemoveMemberRequest {
        project_id: project_id(),
        user_id: uuid::Uuid::from_u128(9).to_string(),
        ..Default::default()
    };
    let update = pb::UpdateProjectRequest {
        project: Some(pb::Project { id: project_id(), name: "n".into(), ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["name".into()] }),
        ..Default::default()
    };
    vec![
        ("create_api_key", code(caller.keys().create_api_key(key).await)),
        ("revoke_api_key", code(caller.keys().revoke_api_key(revoke).await)),
        ("set_member", code(caller.projects().set_member(member).await)),
        ("remove_member", code(caller.projects().remove_member(remove).await)),
        ("update_project", code(caller.projects().update_project(update).await)),
    ]
}

async fn server_writes(caller: &Caller, at: &Target) -> Vec<(&'static str, Code)> {
    let (project_id, server_id) = (|| at.project.clone(), || at.server.clone());
    let update = pb::UpdateServerRequest {
        project_id: project_id(),
        server_id: server_id(),
        spec: Some(pb::ServerSpec { timeout_s: 9, ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["timeout_s".into()] }),
        ..Default::default()
    };
    let enable = pb::SetServerEnabledRequest {
        project_id: project_id(),
        server_id: server_id(),
        enabled: true,
        ..Default::default()
    };
    let tool = pb::SetToolEnabledRequest {
        project_id: project_id(),
        server_id: server_id(),
        tool: "t".into(),
        enabled: false,
        ..Default::default()
    };
    let approve = pb::ApproveToolRequest {
        project_id: project_id(),
        server_id: server_id(),
        tool: "t".into(),
        ..Default::default()
    };
    let id = at.project.parse().unwrap();
    let create = create_server(&id, stdio(&format!("of {}", caller.user)));
    vec![
        ("create_server", code(caller.servers().create_server(create).await)),
        ("update_server", code(caller.servers().update_server(update).await)),
        ("set_server_enabled", code(caller.servers().set_server_enabled(enable).await)),
        ("set_tool_enabled", code(caller.servers().set_tool_enabled(tool).await)),
        ("approve_tool", code(caller.servers().approve_tool(approve).await)),
    ]
}

async fn target(world: &World, owner: &crate::support::Owner) -> Target {
    let server = owner.caller.register(&owner.project, "a").await;
    let bystander = world.person(owner, "bystander").await;
    let keys =
        pb::ListApiKeysRequest { project_id: owner.project.to_string(), ..Default::default() };
    let keys = owner.caller.keys().list_api_keys(keys).await.unwrap().into_inner().api_keys;
    Target {
        project: owner.project.to_string(),
        server: server.id,
        user: bystander.user.to_string(),
        key: keys[0].id.clone(),
    }
}

#[tokio::test]
async fn every_role_may_do_what_it_may_and_nothing_else() {
    let (world, owner) = World::bootstrapped().await;
    let at = target(&world, &owner).await;
    let reporter = world.member(&owner, "rita", pb::Role::Reporter).await;
    let developer = world.member(&owner, "dave", pb::Role::Developer).await;
    let second = world.member(&owner, "olga", pb::Role::Owner).await;
    let (denied, ok) = (Code::PermissionDenied, Code::Ok);
    // No worker runs: what a worker would do is allowed and not available.
    let away = Code::Unavailable;
    let expected = [
        ("get_project", ok, ok, ok),
        ("list_members", ok, ok, ok),
        ("list_servers", ok, ok, ok),
        ("get_server", ok, ok, ok),
        ("list_tools", ok, ok, ok),
        ("test_server", denied, away, away),
        ("get_server_log", denied, away, away),
        ("list_api_keys", denied, ok, ok),
        ("list_calls", ok, ok, ok),
        ("list_audit_entries", denied, ok, ok),
        ("create_api_key", denied, ok, ok),
        // The key is the first owner's: a developer ends their own only.
        ("revoke_api_key", denied, denied, ok),
        ("set_member", denied, denied, ok),
        ("remove_member", denied, denied, Code::NotFound),
        ("update_project", denied, denied, ok),
        ("create_server", denied, denied, ok),
        ("update_server", denied, denied, ok),
        ("set_server_enabled", denied, denied, ok),
        ("set_tool_enabled", denied, denied, ok),
        // Nobody saw such a tool.
        ("approve_tool", denied, denied, Code::NotFound),
    ];
    let seen = [
        every_method(&reporter, &at).await,
        every_method(&developer, &at).await,
        every_method(&second, &at).await,
    ];
    for (index, (method, report, develop, own)) in expected.into_iter().enumerate() {
        assert_eq!(seen[0][index], (method, report), "reporter");
        assert_eq!(seen[1][index], (method, develop), "developer");
        assert_eq!(seen[2][index], (method, own), "owner");
    }
    let denials = owner.caller.audit_of(&owner.project).await;
    let of_reporter = denials.iter().filter(|entry| {
        entry.action == "access.denied" && entry.actor_id == reporter.user.to_string()
    });
    let refused = seen[0].iter().filter(|(_, code)| *code == denied).count();
    assert_eq!(of_reporter.count(), refused, "every denial is in the audit log");
}

#[tokio::test]
async fn a_strangers_project_and_an_unknown_one_look_the_same_and_are_recorded_at_home() {
    let (world, owner) = World::bootstrapped().await;
    let at = target(&world, &owner).await;
    let (stranger, home) = world.other_organization("others").await;
    let unknown = Target {
        project: "unknown".into(),
        server: uuid::Uuid::from_u128(1).to_string(),
        user: at.user.clone(),
        key: uuid::Uuid::from_u128(2).to_string(),
    };
    let theirs = every_method(&stranger, &at).await;
    assert_eq!(theirs, every_method(&stranger, &unknown).await);
    assert!(theirs.iter().all(|(_, code)| *code == Code::NotFound), "{theirs:?}");
    // Also with ids of one project in another, where the caller is Owner.
    let mixed = Target { project: home.to_string(), ..at };
    for (method, code) in server_writes(&stranger, &mixed).await {
        let expected = if method == "create_server" { Code::Ok } else { Code::NotFound };
        assert_eq!(code, expected, "{method}");
    }
    let all = pb::ListAuditEntriesRequest {
        action: "access.denied".into(),
        page_size: 500,
        ..Default::default()
    };
    let at_home = stranger.audit().list_audit_entries(all.clone()).await.unwrap().into_inner();
    assert!(at_home.entries.len() >= theirs.len());
    let in_ours = owner.caller.audit().list_audit_entries(all).await.unwrap().into_inner();
    assert!(in_ours.entries.is_empty(), "{:?}", in_ours.entries);
    let listed = owner.caller.audit_of(&owner.project).await;
    assert!(listed.iter().all(|entry| entry.actor_id != stranger.user.to_string()));
}

#[tokio::test]
async fn the_organizations_audit_log_is_its_owners() {
    let (world, owner) = World::bootstrapped().await;
    let second = world.member(&owner, "olga", pb::Role::Owner).await;
    let (stranger, _) = world.other_organization("others").await;
    let all = || pb::ListAuditEntriesRequest { page_size: 500, ..Default::default() };
    let entries = owner.caller.audit().list_audit_entries(all()).await.unwrap().into_inner();
    let actions: Vec<_> = entries.entries.iter().map(|entry| entry.action.as_str()).collect();
    assert!(actions.contains(&"organization.created") && actions.contains(&"project.created"));
    assert!(entries.entries.iter().all(|entry| entry.event_json.starts_with('{')));
    let logins = entries.entries.iter().filter(|entry| entry.action == "login.succeeded");
    let people: Vec<_> = logins.map(|entry| entry.actor_id.as_str()).collect();
    assert!(people.contains(&second.user.to_string().as_str()), "its people's logins");
    assert!(!people.contains(&stranger.user.to_string().as_str()), "and nobody else's");
    let result = second.audit().list_audit_entries(all()).await;
    assert_eq!(refused(result), (Code::PermissionDenied, "PERMISSION_DENIED".into()));
    let prefix = pb::ListAuditEntriesRequest { action: "project.".into(), ..all() };
    let entries = owner.caller.audit().list_audit_entries(prefix).await.unwrap().into_inner();
    assert!(entries.entries.iter().all(|entry| entry.action.starts_with("project.")));
    assert_eq!(entries.entries.len(), 2);
}

#[tokio::test]
async fn who_loses_a_role_loses_it_at_once() {
    let (world, owner) = World::bootstrapped().await;
    let member = world.member(&owner, "olga", pb::Role::Owner).await;
    let set = |role: pb::Role| pb::SetMemberRequest {
        project_id: owner.project.to_string(),
        user: Some(pb::set_member_request::User::UserId(member.user.to_string())),
        role: role.into(),
        ..Default::default()
    };
    owner.caller.projects().set_member(set(pb::Role::Reporter)).await.unwrap();
    let create = create_server(&owner.project, stdio("a"));
    assert_eq!(refused(member.servers().create_server(create).await).0, Code::PermissionDenied);
}
