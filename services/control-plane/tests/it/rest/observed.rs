//! What workers and edges saw, as REST shows it: states, handshakes, stderr, calls.

use backplane::entry::{Body, Entry};
use backplane::{Journal, JournalConfig, JournalOutcome};
use bus::SubjectFilter;
use domain::call::{CallFinished, CallOutcome, CallSubject};
use domain::connection::{ConnectionState, Observation};
use domain::event::{CallEvent, ConnectionEvent};
use domain::{Actor, CallId, Event, EventId, ServerId, StreamId, StreamKind};
use event_store::EventStore as _;
use prost::Message as _;
use proto::control::v1 as pb;
use proto::internal::v1::{StderrReply, StderrRequest, TestFrame, TestRequest};
use serde_json::json;
use uuid::Uuid;

use super::Site;

async fn record(site: &Site, stream: StreamId, event: Event, body: Body) {
    let bus = std::sync::Arc::clone(&site.world.bus);
    let journal = Journal::start(bus, JournalConfig::default(), site.world.shutdown.clone());
    let entry = Entry {
        stream,
        event_id: EventId::from_uuid(Uuid::now_v7()),
        occurred_at: site.world.clock.now(),
        actor: Actor::System,
        event,
        body,
        epoch: 0,
    };
    let outcomes = journal.record(vec![entry.into_message().unwrap()]).await.unwrap();
    assert_eq!(outcomes, [JournalOutcome::Recorded]);
    let head = site.world.store.head().await.unwrap();
    site.world.app.views().reached(head).await.unwrap();
}

async fn registered(site: &Site) -> (ServerId, String) {
    let body = json!({ "name": "a", "type": "sse", "url": "http://h/sse" });
    let made = site.http.post(&site.at("/servers"), body).await.ok();
    let id = made["id"].as_str().unwrap();
    (id.parse().unwrap(), site.at(&format!("/servers/{id}")))
}

#[tokio::test]
async fn the_status_is_what_was_last_seen() {
    let site = Site::new().await;
    let (server, path) = registered(&site).await;
    let stream = StreamId::new(site.owner.tenant, StreamKind::Connection, server);
    let cause = "Failed to connect to SSE server: Connection timeout";
    for (state, cause, response_time_ms) in
        [(ConnectionState::Active, "", 12), (ConnectionState::Failed, cause, 0)]
    {
        let observation = Observation {
            state,
            cause: cause.to_owned(),
            response_time_ms,
            setup_time_ms: 40,
            revision: "2025-06-18".to_owned(),
        };
        let project = site.project.clone();
        let event = Event::Connection(ConnectionEvent::StateObserved { project, observation });
        record(&site, stream.clone(), event, Body::None).await;
        let item = site.http.get(&path).await.ok();
        assert_eq!(item["status"], state.as_str());
        let known = |ms: u32| if ms == 0 { json!(null) } else { json!(ms) };
        assert_eq!(item["response_time_ms"], known(response_time_ms));
        let shown = if cause.is_empty() { json!(null) } else { json!(cause) };
        assert_eq!(item["last_error"], shown);
        assert!(item["checked_at"].is_string());
    }
}

#[tokio::test]
async fn a_handshake_says_step_by_step_where_it_failed() {
    let site = Site::new().await;
    let (server, path) = registered(&site).await;
    let filter = SubjectFilter::from(backplane::subject::worker_test());
    let mut worker = site.world.bus.serve(filter, 8).await.unwrap();
    let answering = tokio::spawn(async move {
        let incoming = worker.accept().await.unwrap();
        let request = TestRequest::decode(incoming.first).unwrap();
        for (step, ok, done) in [("resolve", true, false), ("connect", false, true)] {
            let detail = if ok { "" } else { "HTTP 401: Unauthorized" }.to_owned();
            let frame = TestFrame { step: step.to_owned(), ok, detail, took_ms: 3, done, tools: 0 };
            incoming.exchange.reply(frame.encode_to_vec().into()).await.unwrap();
        }
        incoming.exchange.finish();
        request
    });
    let answer = site.http.post(&format!("{path}/test"), json!({})).await.ok();
    assert_eq!(answer["ok"], false);
    assert_eq!(
        answer["steps"][1],
        json!({
            "step": "connect", "ok": false, "detail": "HTTP 401: Unauthorized", "took_ms": 3,
        })
    );
    assert_eq!(answering.await.unwrap().server, server.to_string());
}

#[tokio::test]
async fn the_log_is_what_the_owning_worker_kept() {
    let site = Site::new().await;
    let (server, path) = registered(&site).await;
    let filter = SubjectFilter::from(backplane::subject::worker_stderr(server));
    let mut worker = site.world.bus.serve(filter, 8).await.unwrap();
    let answering = tokio::spawn(async move {
        let incoming = worker.accept().await.unwrap();
        let request = StderrRequest::decode(incoming.first).unwrap();
        let reply = StderrReply { lines: vec!["one".into(), "two".into()] };
        incoming.exchange.reply(reply.encode_to_vec().into()).await.unwrap();
        incoming.exchange.finish();
        request.max_lines
    });
    let answer = site.http.get(&format!("{path}/log?max_lines=2")).await.ok();
    assert_eq!(answer, json!({ "lines": ["one", "two"] }));
    assert_eq!(answering.await.unwrap(), 2);
}

#[tokio::test]
async fn a_call_is_shown_with_its_body_to_who_may_read_it() {
    let site = Site::new().await;
    let (server, _) = registered(&site).await;
    let call = CallId::from_uuid(Uuid::now_v7());
    let subject = CallSubject {
        project: site.project.clone(),
        server,
        server_name: "a".into(),
        method: "tools/call".into(),
        target: "echo".into(),
        api_key: None,
        started_at: site.world.clock.now(),
    };
    let event = Event::Call(CallEvent::Finished(CallFinished {
        subject,
        outcome: CallOutcome::ToolError,
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
    let body = Body::Call { arguments: r#"{"a":1}"#.into(), result: r#"{"content":[]}"#.into() };
    let stream = StreamId::new(site.owner.tenant, StreamKind::Call, call);
    record(&site, stream, event, body).await;
    let path = site.at(&format!("/calls/{call}"));
    let shown = site.http.get(&path).await.ok();
    assert_eq!((&shown["outcome"], &shown["total_us"]), (&json!("tool_error"), &json!(3)));
    assert_eq!((&shown["arguments"], &shown["result"]), (&json!({"a":1}), &json!({"content":[]})));
    let list = site.http.get(&site.at("/calls?outcome=tool_error")).await.ok();
    assert_eq!(list["calls"][0].get("arguments"), None, "not asked for");
    let asked = site.at("/calls?include_arguments=true&target=echo");
    assert_eq!(site.http.get(&asked).await.ok()["calls"][0]["arguments"], json!({"a":1}));
    let reporter = site.member("rita", pb::Role::Reporter).await;
    for path in [path, asked] {
        let reply = reporter.get(&path).await;
        assert!(!reply.text.contains("\"arguments\":"), "{}", reply.text);
        assert!(reply.ok().to_string().contains("tool_error"));
    }
}
