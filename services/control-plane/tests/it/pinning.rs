//! Approving definitions of tools, from what a worker saw to what an Owner says.

use std::sync::Arc;

use backplane::entry::{Body, Entry};
use backplane::{Journal, JournalConfig, JournalOutcome};
use bytes::Bytes;
use control_plane::verify::verify;
use domain::connection::{CatalogueSummary, ToolDefinition};
use domain::event::ConnectionEvent;
use domain::{Actor, Event, EventId, StreamId, StreamKind};
use event_store::EventStore as _;
use prost_types::FieldMask;
use proto::control::v1 as pb;
use ring::digest::{SHA256, digest};
use tonic::Code;
use uuid::Uuid;

use crate::support::{Caller, Owner, World, refused};

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn definition(tool: &str, description: &str) -> String {
    format!(r#"{{"name":"{tool}","description":"{description}"}}"#)
}

/// A worker saw a catalogue of tools with these descriptions.
pub(crate) async fn seen(world: &World, owner: &Owner, server: &str, tools: &[(&str, &str)]) {
    let raw: Vec<String> = tools.iter().map(|(tool, text)| definition(tool, text)).collect();
    let catalogue = Bytes::from(format!(
        r#"{{"protocolVersion":"2025-06-18","tools":[{}],"resources":[],"resourceTemplates":[],"prompts":[]}}"#,
        raw.join(",")
    ));
    let definitions = tools.iter().zip(&raw).map(|((tool, _), raw)| ToolDefinition {
        tool: (*tool).to_owned(),
        hash: sha256(raw.as_bytes()),
    });
    let summary = CatalogueSummary {
        hash: sha256(&catalogue),
        tools: tools.len().try_into().unwrap(),
        definitions: CatalogueSummary::bounded(definitions),
        ..CatalogueSummary::default()
    };
    let event = ConnectionEvent::CatalogueObserved { project: owner.project.clone(), summary };
    let entry = Entry {
        stream: StreamId::new(owner.tenant, StreamKind::Connection, server),
        event_id: EventId::from_uuid(Uuid::now_v7()),
        occurred_at: world.clock.now(),
        actor: Actor::System,
        event: Event::Connection(event),
        body: Body::Catalogue(catalogue),
        epoch: 0,
    };
    let bus = Arc::clone(&world.bus);
    let journal = Journal::start(bus, JournalConfig::default(), world.shutdown.clone());
    let outcomes = journal.record(vec![entry.into_message().unwrap()]).await.unwrap();
    assert_eq!(outcomes, [JournalOutcome::Recorded]);
    let head = world.store.head().await.unwrap();
    world.app.views().reached(head).await.unwrap();
}

async fn tools(owner: &Owner) -> Vec<pb::Tool> {
    let request =
        pb::ListToolsRequest { project_id: owner.project.to_string(), ..Default::default() };
    owner.caller.servers().list_tools(request).await.unwrap().into_inner().tools
}

/// Names of the tools whose definition changed.
async fn changed(owner: &Owner) -> Vec<String> {
    let tools = tools(owner).await;
    tools.into_iter().filter(|tool| tool.definition_changed).map(|tool| tool.name).collect()
}

fn approve(owner: &Owner, server: &str, tool: &str, hash: &str) -> pb::ApproveToolRequest {
    pb::ApproveToolRequest {
        project_id: owner.project.to_string(),
        server_id: server.to_owned(),
        tool: tool.to_owned(),
        hash: hash.to_owned(),
        ..Default::default()
    }
}

async fn approved(caller: &Caller, request: pb::ApproveToolRequest) -> Vec<pb::ApprovedTool> {
    caller.servers().approve_tool(request).await.unwrap().into_inner().approved
}

async fn get(owner: &Owner, server: &str) -> pb::Server {
    let request = pb::GetServerRequest {
        project_id: owner.project.to_string(),
        server_id: server.to_owned(),
    };
    owner.caller.servers().get_server(request).await.unwrap().into_inner().server.unwrap()
}

#[tokio::test]
async fn a_changed_definition_is_shown_until_an_owner_approves_it() {
    let (world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "files").await.id;
    seen(&world, &owner, &server, &[("read", "Reads"), ("write", "Writes")]).await;
    let first = tools(&owner).await;
    assert_eq!(first[0].definition_hash, sha256(definition("read", "Reads").as_bytes()));
    assert_eq!(first[0].definition_hash, first[0].approved_hash, "the first is approved by itself");
    assert!(changed(&owner).await.is_empty());

    seen(&world, &owner, &server, &[("read", "Reads, and mails"), ("write", "Writes")]).await;
    assert_eq!(changed(&owner).await, ["read"]);
    assert_eq!(get(&owner, &server).await.changed_tool_count, 1);
    let now = tools(&owner).await.remove(0);
    assert_eq!(now.approved_hash, first[0].definition_hash);

    let done =
        approved(&owner.caller, approve(&owner, &server, "read", &now.definition_hash)).await;
    assert_eq!((done[0].tool.as_str(), &done[0].hash), ("read", &now.definition_hash));
    assert!(changed(&owner).await.is_empty());
    assert_eq!(get(&owner, &server).await.changed_tool_count, 0);

    seen(&world, &owner, &server, &[("read", "Reads"), ("write", "Writes")]).await;
    assert_eq!(changed(&owner).await, ["read"], "what was approved before is another one now");
    let report = verify(Arc::new(world.store.clone()), &world.views_path()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    let table = report.tables.iter().find(|table| table.table == "tool_definition").unwrap();
    assert_eq!(table.rows, 2);
}

#[tokio::test]
async fn an_approval_is_of_what_its_owner_has_seen_and_is_in_the_audit_log() {
    let (world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "files").await.id;
    seen(&world, &owner, &server, &[("read", "Reads")]).await;
    let first = tools(&owner).await.remove(0).definition_hash;
    seen(&world, &owner, &server, &[("read", "Mails")]).await;
    let stale = owner.caller.servers().approve_tool(approve(&owner, &server, "read", &first)).await;
    assert_eq!(refused(stale), (Code::Aborted, "CONFLICT".into()));
    assert_eq!(changed(&owner).await, ["read"]);

    let unseen = owner.caller.servers().approve_tool(approve(&owner, &server, "gone", "")).await;
    assert_eq!(refused(unseen).0, Code::NotFound);
    let mut both = approve(&owner, &server, "read", "");
    both.all = true;
    for wrong in [both, approve(&owner, &server, "", "")] {
        let refusal = owner.caller.servers().approve_tool(wrong).await;
        assert_eq!(refused(refusal).0, Code::InvalidArgument);
    }

    let mut request = approve(&owner, &server, "read", "");
    request.idempotency_key = "once".into();
    for _ in 0..2 {
        assert_eq!(approved(&owner.caller, request.clone()).await.len(), 1);
    }
    let entries = owner.caller.audit_of(&owner.project).await;
    let said: Vec<_> =
        entries.iter().filter(|entry| entry.action == "server.tool_approved").collect();
    assert_eq!(said.len(), 1, "repeated, and one command");
    assert_eq!(said[0].actor_id, owner.caller.user.to_string());
    assert!(said[0].event_json.contains(&sha256(definition("read", "Mails").as_bytes())));
}

#[tokio::test]
async fn all_that_changed_is_approved_at_once_and_nothing_else() {
    let (world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "files").await.id;
    seen(&world, &owner, &server, &[("a", "1"), ("b", "1"), ("c", "1")]).await;
    seen(&world, &owner, &server, &[("a", "2"), ("b", "1"), ("c", "2"), ("d", "1")]).await;
    let mut all = approve(&owner, &server, "", "");
    all.all = true;
    let mut names: Vec<_> =
        approved(&owner.caller, all.clone()).await.into_iter().map(|one| one.tool).collect();
    names.sort();
    assert_eq!(names, ["a", "c"]);
    assert!(changed(&owner).await.is_empty());
    assert!(approved(&owner.caller, all).await.is_empty(), "nothing changed since");
}

#[tokio::test]
async fn only_an_owner_approves_and_only_at_home() {
    let (world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "files").await.id;
    seen(&world, &owner, &server, &[("read", "Reads")]).await;
    seen(&world, &owner, &server, &[("read", "Mails")]).await;
    let developer = world.member(&owner, "dave", pb::Role::Developer).await;
    let (stranger, home) = world.other_organization("others").await;
    let request = approve(&owner, &server, "read", "");
    let denied = developer.servers().approve_tool(request.clone()).await;
    assert_eq!(refused(denied).0, Code::PermissionDenied);
    assert_eq!(refused(stranger.servers().approve_tool(request.clone()).await).0, Code::NotFound);
    let elsewhere = pb::ApproveToolRequest { project_id: home.to_string(), ..request };
    assert_eq!(refused(stranger.servers().approve_tool(elsewhere).await).0, Code::NotFound);
    assert_eq!(changed(&owner).await, ["read"]);
}

#[tokio::test]
async fn definitions_outlive_a_restart_and_end_with_the_server() {
    let (world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "files").await.id;
    seen(&world, &owner, &server, &[("read", "Reads")]).await;
    seen(&world, &owner, &server, &[]).await;
    let world = world.restart().await;
    seen(&world, &owner, &server, &[("read", "Mails")]).await;
    let password = secrecy::ExposeSecret::expose_secret(&owner.first.password);
    let owner = Owner { caller: world.log_in(&owner.first.email, password).await, ..owner };
    assert_eq!(changed(&owner).await, ["read"], "a tool that went and came back is known");

    let delete = pb::DeleteServerRequest {
        project_id: owner.project.to_string(),
        server_id: server,
        ..Default::default()
    };
    owner.caller.servers().delete_server(delete).await.unwrap();
    let again = owner.caller.register(&owner.project, "files").await.id;
    seen(&world, &owner, &again, &[("read", "Mails")]).await;
    assert!(changed(&owner).await.is_empty(), "another server of the same name");
}

#[tokio::test]
async fn what_a_change_leads_to_is_a_setting_of_the_project() {
    let (_world, owner) = World::bootstrapped().await;
    let id = owner.project.to_string();
    let update = |tool_pinning: i32| pb::UpdateProjectRequest {
        project: Some(pb::Project { id: id.clone(), tool_pinning, ..Default::default() }),
        update_mask: Some(FieldMask { paths: vec!["tool_pinning".into()] }),
        ..Default::default()
    };
    let mut projects = owner.caller.projects();
    let get = pb::GetProjectRequest { project_id: id.clone() };
    let before = projects.get_project(get).await.unwrap().into_inner().project.unwrap();
    assert_eq!(before.tool_pinning(), pb::ToolPinning::Off);
    for pinning in [pb::ToolPinning::Block, pb::ToolPinning::Warn, pb::ToolPinning::Off] {
        let changed = projects.update_project(update(pinning.into())).await.unwrap();
        assert_eq!(changed.into_inner().project.unwrap().tool_pinning(), pinning);
    }
    for wrong in [0, 9] {
        let refusal = refused(projects.update_project(update(wrong)).await);
        assert_eq!(refusal.0, Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_repeated_approval_answers_what_it_did_the_first_time() {
    let (world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "files").await.id;
    seen(&world, &owner, &server, &[("read", "1"), ("write", "1")]).await;
    seen(&world, &owner, &server, &[("read", "2"), ("write", "2")]).await;
    let all = pb::ApproveToolRequest {
        all: true,
        idempotency_key: "all".to_owned(),
        ..approve(&owner, &server, "", "")
    };
    let one = pb::ApproveToolRequest {
        idempotency_key: "one".to_owned(),
        ..approve(&owner, &server, "read", &sha256(definition("read", "3").as_bytes()))
    };
    let first = approved(&owner.caller, all.clone()).await;
    assert_eq!(first.len(), 2);
    // Nothing has changed since, then something else has: neither changes the answer.
    assert_eq!(approved(&owner.caller, all.clone()).await, first);
    seen(&world, &owner, &server, &[("read", "3"), ("write", "2")]).await;
    assert_eq!(approved(&owner.caller, all).await, first);
    assert_eq!(changed(&owner).await, ["read"], "and nothing more is approved");
    let read = approved(&owner.caller, one.clone()).await;
    seen(&world, &owner, &server, &[("read", "4"), ("write", "2")]).await;
    assert_eq!(approved(&owner.caller, one).await, read, "also when the definition is gone");
}
