//! The ends of calls in the audit log: they stand with the calls, and show like any other entry.

use std::sync::Arc;

use backplane::entry::{Body, Entry};
use backplane::{Journal, JournalConfig, JournalOutcome};
use control_plane::verify::verify;
use domain::call::{CallFinished, CallOutcome, CallStarted, CallSubject};
use domain::event::CallEvent;
use domain::{Actor, ApiKeyId, CallId, Event, EventId, ServerId, StreamId, StreamKind};
use proto::control::v1 as pb;
use uuid::Uuid;

use crate::support::{Owner, World};

const KEY: ApiKeyId = ApiKeyId::from_uuid(Uuid::from_u128(7));

fn subject(world: &World, owner: &Owner) -> CallSubject {
    CallSubject {
        project: owner.project.clone(),
        server: ServerId::from_uuid(Uuid::from_u128(5)),
        server_name: "srv".into(),
        method: "tools/call".into(),
        target: "echo".into(),
        api_key: Some(KEY),
        started_at: world.clock.now(),
    }
}

fn started(world: &World, owner: &Owner) -> CallEvent {
    CallEvent::Started(CallStarted { subject: subject(world, owner), edge: String::new() })
}

fn finished(world: &World, owner: &Owner, outcome: CallOutcome) -> CallEvent {
    CallEvent::Finished(CallFinished {
        subject: subject(world, owner),
        outcome,
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
    })
}

/// Records `event` of `call`, as an edge does for the key's caller.
async fn record(world: &World, owner: &Owner, call: CallId, actor: Actor, event: CallEvent) {
    let entry = Entry {
        stream: StreamId::new(owner.tenant, StreamKind::Call, call),
        event_id: EventId::from_uuid(Uuid::now_v7()),
        occurred_at: world.clock.now(),
        actor,
        event: Event::Call(event),
        body: Body::None,
        epoch: 0,
    };
    let bus = Arc::clone(&world.bus);
    let journal = Journal::start(bus, JournalConfig::default(), world.shutdown.clone());
    let outcomes = journal.record(vec![entry.into_message().unwrap()]).await.unwrap();
    assert_eq!(outcomes, [JournalOutcome::Recorded]);
    let head = event_store::EventStore::head(&world.store).await.unwrap();
    world.app.views().reached(head).await.unwrap();
}

/// Action, target and outcome of what the filter lets through, newest first.
async fn listed(
    owner: &Owner,
    filter: pb::ListAuditEntriesRequest,
) -> Vec<(String, String, String)> {
    let mut request = pb::ListAuditEntriesRequest { page_size: 2, ..filter };
    let mut all = Vec::new();
    loop {
        let page = owner.caller.audit().list_audit_entries(request.clone()).await.unwrap();
        let page = page.into_inner();
        for entry in page.entries {
            assert!(entry.event_json.starts_with('{'), "{entry:?}");
            all.push((entry.action, entry.target_id, entry.outcome));
        }
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn the_end_of_a_call_is_an_entry_of_the_audit_log() {
    let (world, owner) = World::bootstrapped().await;
    let [strict, plain, closed] = [(); 3].map(|()| CallId::from_uuid(Uuid::now_v7()));
    let key = Actor::ApiKey(KEY);
    record(&world, &owner, strict, key, started(&world, &owner)).await;
    record(&world, &owner, plain, key, finished(&world, &owner, CallOutcome::Ok)).await;
    let failed = finished(&world, &owner, CallOutcome::Timeout);
    record(&world, &owner, strict, key, failed).await;
    // Not by the key: the process closes what it does not know the end of.
    let unknown = finished(&world, &owner, CallOutcome::Unknown);
    record(&world, &owner, closed, Actor::System, unknown).await;

    let entry = |action: &str, call: CallId, outcome: &str| {
        (action.to_owned(), call.to_string(), outcome.to_owned())
    };
    let expected = [
        entry("call.finished", closed, "unknown"),
        entry("call.finished", strict, "timeout"),
        entry("call.finished", plain, "ok"),
        entry("call.started", strict, "ok"),
    ];
    let none = pb::ListAuditEntriesRequest::default;
    let of_project =
        || pb::ListAuditEntriesRequest { project_id: owner.project.to_string(), ..none() };
    let calls = || pb::ListAuditEntriesRequest { action: "call.".into(), ..of_project() };
    assert_eq!(listed(&owner, calls()).await, expected);
    let everywhere = pb::ListAuditEntriesRequest { action: "call.".into(), ..none() };
    assert_eq!(listed(&owner, everywhere).await, expected);
    // Among the others, each once and in the order of the log.
    let all = listed(&owner, of_project()).await;
    assert!(all.starts_with(&expected), "{all:?}");
    assert_eq!(all.iter().filter(|entry| entry.0.starts_with("call.")).count(), expected.len());

    let by_key = pb::ListAuditEntriesRequest { actor_id: KEY.to_string(), ..calls() };
    assert_eq!(listed(&owner, by_key).await, expected[1..]);
    let of_call = pb::ListAuditEntriesRequest { target_id: strict.to_string(), ..calls() };
    assert_eq!(listed(&owner, of_call).await, [expected[1].clone(), expected[3].clone()]);
    let timeouts = pb::ListAuditEntriesRequest { outcome: "timeout".into(), ..of_project() };
    assert_eq!(listed(&owner, timeouts).await, expected[1..2]);
    for nothing in [
        pb::ListAuditEntriesRequest { actor_id: owner.caller.user.to_string(), ..calls() },
        pb::ListAuditEntriesRequest { target_kind: "server".into(), ..calls() },
        pb::ListAuditEntriesRequest { target_id: "no-id".into(), ..calls() },
    ] {
        assert!(listed(&owner, nothing).await.is_empty());
    }
    let report = verify(Arc::new(world.store.clone()), &world.views_path()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}
