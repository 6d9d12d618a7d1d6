//! What edges and workers write to the log over the bus, and how it is shown.

use std::collections::HashMap;

use backplane::entry::{Body, Entry};
use backplane::{Journal, JournalConfig, JournalOutcome, fetch_catalogue};
use bytes::Bytes;
use domain::call::{CallFinished, CallOutcome, CallStarted, CallSubject};
use domain::connection::{CatalogueSummary, ConnectionState, Observation};
use domain::event::{AccessEvent, CallEvent, ConnectionEvent};
use domain::{Actor, CallId, Event, EventId, ServerId, StreamId, StreamKind, Timestamp};
use event_store::EventStore as _;
use proto::control::v1 as pb;
use ring::digest::{SHA256, digest};
use tonic::Code;
use uuid::Uuid;

use crate::support::{Owner, World, refused};

fn journal(world: &World) -> Journal {
    let bus = std::sync::Arc::clone(&world.bus);
    Journal::start(bus, JournalConfig::default(), world.shutdown.clone())
}

fn entry(world: &World, stream: StreamId, event: Event, body: Body) -> Entry {
    let event_id = EventId::from_uuid(Uuid::now_v7());
    let occurred_at = world.clock.now();
    Entry { stream, event_id, occurred_at, actor: Actor::System, event, body, epoch: 0 }
}

fn subject(owner: &Owner, target: &str, at: Timestamp) -> CallSubject {
    CallSubject {
        project: owner.project.clone(),
        server: ServerId::from_uuid(Uuid::from_u128(5)),
        server_name: "srv".into(),
        method: "tools/call".into(),
        target: target.into(),
        api_key: None,
        started_at: at,
    }
}

fn finished(world: &World, owner: &Owner, call: CallId, target: &str, body: Body) -> Entry {
    let event = Event::Call(CallEvent::Finished(CallFinished {
        subject: subject(owner, target, world.clock.now()),
        outcome: CallOutcome::Ok,
        error_code: 0,
        queue_us: 1,
        upstream_us: 2,
        total_us: 3,
        arguments_bytes: 0,
        result_bytes: 0,
        arguments_digest: String::new(),
        result_digest: String::new(),
        body_truncated: false,
        body_masked: false,
        client: "test".into(),
        mcp_session: "s".into(),
        attempts: 1,
    }));
    entry(world, StreamId::new(owner.tenant, StreamKind::Call, call), event, body)
}

fn body(arguments: &str, result: &str) -> Body {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Body::Call { arguments: bytes(arguments), result: bytes(result) }
}

fn a_call() -> CallId {
    CallId::from_uuid(Uuid::now_v7())
}

async fn record(journal: &Journal, entries: Vec<Entry>) -> Vec<JournalOutcome> {
    let messages = entries.into_iter().map(|entry| entry.into_message().unwrap()).collect();
    journal.record(messages).await.unwrap()
}

/// Waits until the views have everything that is in the log.
async fn caught_up(world: &World) {
    let head = world.store.head().await.unwrap();
    world.app.views().reached(head).await.unwrap();
}

fn list(owner: &Owner) -> pb::ListCallsRequest {
    pb::ListCallsRequest {
        project_id: owner.project.to_string(),
        include_arguments: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_recorded_call_is_shown_with_its_body_to_who_may_read_it() {
    let (world, owner) = World::bootstrapped().await;
    let journal = journal(&world);
    let call = a_call();
    let one = finished(&world, &owner, call, "echo", body(r#"{"a":1}"#, r#"{"content":[]}"#));
    assert_eq!(record(&journal, vec![one.clone()]).await, [JournalOutcome::Recorded]);
    assert_eq!(record(&journal, vec![one]).await, [JournalOutcome::Recorded]);
    caught_up(&world).await;

    let shown = owner.caller.calls().list_calls(list(&owner)).await.unwrap().into_inner().calls;
    assert_eq!(shown.len(), 1, "the same entry twice is one call");
    assert_eq!(shown[0].arguments_json, r#"{"a":1}"#);
    assert_eq!(shown[0].result_json, r#"{"content":[]}"#);
    let record = shown[0].call.as_ref().unwrap();
    assert_eq!((record.id.clone(), record.outcome()), (call.to_string(), pb::CallOutcome::Ok));
    assert_eq!((record.arguments_bytes, record.arguments_digest.len()), (7, 64));
    let plain = digest(&SHA256, br#"{"a":1}"#);
    assert_ne!(record.arguments_digest, hex(plain.as_ref()), "keyed by the tenant");

    let reporter = world.member(&owner, "rita", pb::Role::Reporter).await;
    let shown = reporter.calls().list_calls(list(&owner)).await.unwrap().into_inner().calls;
    assert_eq!((shown[0].arguments_json.as_str(), shown[0].result_json.as_str()), ("", ""));
    let get =
        pb::GetCallRequest { project_id: owner.project.to_string(), call_id: call.to_string() };
    let got = reporter.calls().get_call(get.clone()).await.unwrap().into_inner().call.unwrap();
    assert_eq!(got.arguments_json, "");
    let got = owner.caller.calls().get_call(get).await.unwrap().into_inner().call.unwrap();
    assert_eq!(got.arguments_json, r#"{"a":1}"#);
}

#[tokio::test]
async fn calls_are_filtered_and_paged_newest_first() {
    let (world, owner) = World::bootstrapped().await;
    let journal = journal(&world);
    for index in 0..7 {
        let target = if index % 2 == 0 { "even" } else { "odd" };
        record(&journal, vec![finished(&world, &owner, a_call(), target, body("1", "2"))]).await;
    }
    caught_up(&world).await;
    let request = pb::ListCallsRequest { target: "even".into(), page_size: 3, ..list(&owner) };
    let mut calls = owner.caller.calls();
    let first = calls.list_calls(request.clone()).await.unwrap().into_inner();
    let request = pb::ListCallsRequest { page_token: first.next_page_token.clone(), ..request };
    let last = calls.list_calls(request).await.unwrap().into_inner();
    let positions: Vec<_> = first
        .calls
        .iter()
        .chain(&last.calls)
        .map(|call| call.call.as_ref().unwrap().position)
        .collect();
    assert_eq!(positions.len(), 4);
    assert!(positions.is_sorted_by(|a, b| a > b), "{positions:?}");
    assert!(last.next_page_token.is_empty());
    let failed = pb::CallOutcome::Timeout.into();
    let none = pb::ListCallsRequest { outcomes: vec![failed], ..list(&owner) };
    assert!(calls.list_calls(none).await.unwrap().into_inner().calls.is_empty());
}

#[tokio::test]
async fn a_body_is_cut_at_its_limit_and_goes_after_its_retention() {
    let (world, owner) = World::bootstrapped().await;
    let journal = journal(&world);
    let large = format!("\"{}\"", "x".repeat(100_000));
    let call = finished(&world, &owner, a_call(), "echo", body("1", &large));
    record(&journal, vec![call]).await;
    caught_up(&world).await;
    let mut calls = owner.caller.calls();
    let shown = calls.list_calls(list(&owner)).await.unwrap().into_inner().calls.remove(0);
    assert!(shown.body_truncated);
    assert!(shown.result_json.len() < 66_000);
    assert_eq!(shown.call.unwrap().result_bytes, 100_002);
    world.clock.advance_seconds(30 * 86_400 + 1);
    let caller = world.log_in(&owner.first.email, password(&owner)).await;
    let shown = caller.calls().list_calls(list(&owner)).await.unwrap().into_inner().calls;
    assert_eq!((shown.len(), shown[0].result_json.as_str()), (1, ""), "the record stays");
}

#[tokio::test]
async fn a_project_that_keeps_no_bodies_keeps_none() {
    let (world, owner) = World::bootstrapped().await;
    let update = pb::UpdateProjectRequest {
        project: Some(pb::Project { id: owner.project.to_string(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["body_retention_days".into()] }),
        ..Default::default()
    };
    owner.caller.projects().update_project(update).await.unwrap();
    let call = finished(&world, &owner, a_call(), "echo", body("1", "2"));
    let id = call.event_id;
    record(&journal(&world), vec![call]).await;
    assert_eq!(world.store.body(owner.tenant, id).await.unwrap(), None);
}

#[tokio::test]
async fn one_bad_entry_is_refused_and_its_neighbours_are_written() {
    let (world, owner) = World::bootstrapped().await;
    let good = || finished(&world, &owner, a_call(), "echo", body("1", "2"));
    let mut foreign = good();
    foreign.stream.id = "no call".into();
    let outcomes = record(&journal(&world), vec![good(), foreign, good()]).await;
    assert_eq!(outcomes[0], JournalOutcome::Recorded);
    assert!(
        matches!(&outcomes[1], JournalOutcome::Refused { code, .. } if code == "INVALID_ARGUMENT")
    );
    assert_eq!(outcomes[2], JournalOutcome::Recorded);
}

#[tokio::test]
async fn an_end_that_two_edges_record_is_recorded_once() {
    let (world, owner) = World::bootstrapped().await;
    let (journal, call) = (journal(&world), a_call());
    let end = |target: &str| {
        let entry = finished(&world, &owner, call, target, body("{}", "{}"));
        // The end of a call has the call's id, whoever says it.
        Entry { event_id: EventId::from_uuid(call.as_uuid()), ..entry }
    };
    let first = end("first");
    let stream = first.stream.clone();
    for entry in [first.clone(), first, end("second")] {
        assert_eq!(record(&journal, vec![entry]).await, [JournalOutcome::Recorded]);
    }
    let recorded = world.store.read_stream(&stream, 0, 10).await.unwrap();
    assert_eq!(recorded.len(), 1);
    // Another event under the id of one that is there is none.
    let other = Entry { stream: StreamId { id: a_call().to_string(), ..stream }, ..end("third") };
    let refused = record(&journal, vec![other]).await;
    assert!(matches!(&refused[..], [JournalOutcome::Refused { .. }]), "{refused:?}");
}

#[tokio::test]
async fn a_start_that_was_never_finished_is_closed_as_unknown_by_the_next_start() {
    let (world, owner) = World::bootstrapped().await;
    let (call, done) = (a_call(), a_call());
    let started = |call| {
        let subject = subject(&owner, "slow", world.clock.now());
        let event = Event::Call(CallEvent::Started(CallStarted { subject, edge: String::new() }));
        entry(&world, StreamId::new(owner.tenant, StreamKind::Call, call), event, Body::None)
    };
    let journal = journal(&world);
    record(&journal, vec![started(call), started(done)]).await;
    record(&journal, vec![finished(&world, &owner, done, "slow", body("1", "2"))]).await;
    caught_up(&world).await;
    let mut calls = owner.caller.calls();
    let shown = calls.list_calls(list(&owner)).await.unwrap().into_inner().calls;
    let outcomes = |shown: &[pb::CallWithBody]| -> HashMap<String, pb::CallOutcome> {
        let calls = shown.iter().map(|call| call.call.as_ref().unwrap());
        calls.map(|call| (call.id.clone(), call.outcome())).collect()
    };
    assert_eq!(outcomes(&shown)[&call.to_string()], pb::CallOutcome::Unspecified);

    let world = world.restart().await;
    let caller = world.log_in(&owner.first.email, password(&owner)).await;
    let shown = caller.calls().list_calls(list(&owner)).await.unwrap().into_inner().calls;
    assert_eq!(outcomes(&shown)[&call.to_string()], pb::CallOutcome::Unknown);
    assert_eq!(outcomes(&shown)[&done.to_string()], pb::CallOutcome::Ok);
}

#[tokio::test]
async fn what_a_worker_saw_is_shown_and_its_catalogue_is_there_after_a_restart() {
    let (world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "srv").await;
    let id: ServerId = server.id.parse().unwrap();
    let catalogue = Bytes::from_static(
        br#"{"protocolVersion":"2025-06-18","tools":[{"name":"echo","description":"Says it"},{"name":"add"}],"resources":[],"resourceTemplates":[],"prompts":[]}"#,
    );
    let hash = hex(digest(&SHA256, &catalogue).as_ref());
    let stream = || StreamId::new(owner.tenant, StreamKind::Connection, id);
    let seen = |hash: &str| {
        let summary =
            CatalogueSummary { hash: hash.to_owned(), tools: 2, ..CatalogueSummary::default() };
        let project = owner.project.clone();
        let event = ConnectionEvent::CatalogueObserved { project, summary };
        entry(&world, stream(), Event::Connection(event), Body::Catalogue(catalogue.clone()))
    };
    let state = ConnectionEvent::StateObserved {
        project: owner.project.clone(),
        observation: Observation {
            state: ConnectionState::Active,
            response_time_ms: 12,
            ..Observation::default()
        },
    };
    let state = entry(&world, stream(), Event::Connection(state), Body::None);
    let outcomes = record(&journal(&world), vec![state, seen(&hash), seen("other")]).await;
    assert_eq!(outcomes[..2], [JournalOutcome::Recorded, JournalOutcome::Recorded]);
    assert!(matches!(&outcomes[2], JournalOutcome::Refused { .. }), "a hash that does not fit");
    caught_up(&world).await;
    let get = pb::GetServerRequest {
        project_id: owner.project.to_string(),
        server_id: server.id.clone(),
    };
    let shown = owner.caller.servers().get_server(get).await.unwrap().into_inner();
    let shown = shown.server.unwrap();
    assert_eq!((shown.state(), shown.response_time_ms), (pb::ServerState::Active, 12));
    assert_eq!(shown.tool_count, 2);

    let world = world.restart().await;
    let caller = world.log_in(&owner.first.email, password(&owner)).await;
    let hide = pb::SetToolEnabledRequest {
        project_id: owner.project.to_string(),
        server_id: server.id.clone(),
        tool: "add".into(),
        enabled: false,
        ..Default::default()
    };
    caller.servers().set_tool_enabled(hide).await.unwrap();
    let request = |token: String| pb::ListToolsRequest {
        project_id: owner.project.to_string(),
        page_size: 1,
        page_token: token,
        ..Default::default()
    };
    let first = caller.servers().list_tools(request(String::new())).await.unwrap().into_inner();
    let token = first.next_page_token.clone();
    let second = caller.servers().list_tools(request(token)).await.unwrap().into_inner();
    assert_eq!(second.next_page_token, "");
    let tools = [&first.tools[0], &second.tools[0]];
    assert_eq!(tools.map(|tool| tool.unified_name.as_str()), ["srv__echo", "srv__add"]);
    assert_eq!(tools.map(|tool| tool.enabled), [true, false]);
    assert_eq!(tools[0].description, "Says it");

    let fetched = fetch_catalogue(&*world.bus, owner.tenant, id, &hash).await.unwrap();
    assert_eq!(fetched, Some(catalogue));
    let other = domain::TenantId::from_uuid(Uuid::from_u128(3));
    let foreign = fetch_catalogue(&*world.bus, other, id, &hash).await.unwrap();
    assert_eq!(foreign, None, "another tenant's");
}

#[tokio::test]
async fn only_the_last_catalogue_is_kept_and_none_of_a_deleted_server() {
    let (world, owner) = World::bootstrapped().await;
    let server = owner.caller.register(&owner.project, "srv").await;
    let journal = journal(&world);
    let (mut events, mut entries) = (Vec::new(), Vec::new());
    for version in ["1", "2"] {
        let catalogue = Bytes::from_static(version.as_bytes());
        let hash = hex(digest(&SHA256, &catalogue).as_ref());
        let summary = CatalogueSummary { hash, ..CatalogueSummary::default() };
        let project = owner.project.clone();
        let seen = Event::Connection(ConnectionEvent::CatalogueObserved { project, summary });
        let stream = StreamId::new(owner.tenant, StreamKind::Connection, &server.id);
        let seen = entry(&world, stream, seen, Body::Catalogue(catalogue));
        events.push(seen.event_id);
        entries.push(seen.clone());
        record(&journal, vec![seen]).await;
        caught_up(&world).await;
    }
    // An entry that comes again, even an old one, destroys nothing.
    record(&journal, entries).await;
    let kept = async |event| world.store.body(owner.tenant, event).await.unwrap().is_some();
    assert!(!kept(events[0]).await);
    assert!(kept(events[1]).await);
    let delete = pb::DeleteServerRequest {
        project_id: owner.project.to_string(),
        server_id: server.id.clone(),
        ..Default::default()
    };
    owner.caller.servers().delete_server(delete).await.unwrap();
    assert!(!kept(events[1]).await);
}

#[tokio::test]
async fn a_page_of_calls_with_large_bodies_ends_early_and_the_next_goes_on() {
    let (world, owner) = World::bootstrapped().await;
    let large = format!("\"{}\"", "x".repeat(60_000));
    let entries = (0..40).map(|_| finished(&world, &owner, a_call(), "t", body(&large, &large)));
    record(&journal(&world), entries.collect()).await;
    caught_up(&world).await;
    let (mut seen, mut request) = (Vec::new(), list(&owner));
    loop {
        let page = owner.caller.calls().list_calls(request.clone()).await.unwrap().into_inner();
        seen.extend(page.calls.iter().map(|call| call.call.as_ref().unwrap().position));
        if page.next_page_token.is_empty() {
            break;
        }
        assert!(page.calls.len() < 40);
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen.len(), 40);
    assert!(seen.is_sorted_by(|a, b| a > b));
}

#[tokio::test]
async fn a_denial_at_the_edge_is_in_the_audit_log() {
    let (world, owner) = World::bootstrapped().await;
    let event = Event::Access(AccessEvent::Denied {
        project: Some(owner.project.clone()),
        action: "mcp:tools/call".into(),
        reason: "PERMISSION_DENIED".into(),
        target: "srv__echo".into(),
    });
    let stream = StreamId::new(owner.tenant, StreamKind::Access, &owner.project);
    record(&journal(&world), vec![entry(&world, stream, event, Body::None)]).await;
    caught_up(&world).await;
    let request = pb::ListAuditEntriesRequest {
        project_id: owner.project.to_string(),
        outcome: "denied".into(),
        ..Default::default()
    };
    let shown = owner.caller.audit().list_audit_entries(request).await.unwrap().into_inner();
    assert_eq!(shown.entries.len(), 1);
    assert!(shown.entries[0].event_json.contains("srv__echo"));
}

#[tokio::test]
async fn a_call_of_another_project_is_not_found() {
    let (world, owner) = World::bootstrapped().await;
    let call = a_call();
    record(&journal(&world), vec![finished(&world, &owner, call, "echo", body("1", "2"))]).await;
    caught_up(&world).await;
    let (stranger, home) = world.other_organization("others").await;
    for project in [home.to_string(), owner.project.to_string()] {
        let get = pb::GetCallRequest { project_id: project, call_id: call.to_string() };
        assert_eq!(refused(stranger.calls().get_call(get).await).0, Code::NotFound);
    }
}

fn password(owner: &Owner) -> &str {
    secrecy::ExposeSecret::expose_secret(&owner.first.password)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
