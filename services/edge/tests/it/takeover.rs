//! Calls whose worker is gone: what no worker had is sent again, what may have run is not, and each
//! has an outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backplane::exchange::{Answering, NOT_OWNED};
use backplane::subject;
use bus::Bus;
use domain::call::{CallFinished, CallOutcome};
use domain::connection::ConnectionState;
use domain::event::ServerEvent;
use domain::project::{AuditMode, ProjectSettings, RetryPolicy};
use edge::EdgeLimits;
use proto::events::v1::CallOutcome as WireOutcome;
use proto::internal::v1::{ExchangeFailure, ExchangeOpen, Finished, ServerRequest, finished};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::{Client, Stream, message};
use crate::stage::{Setup, Stage, patient, soon, until};
use crate::worker::{Worker, ok};
use crate::world::server;

const TOOLS: [&str; 3] = [
    r#"{"name":"find"}"#,
    r#"{"name":"read","annotations":{"readOnlyHint":true}}"#,
    r#"{"name":"put","annotations":{"idempotentHint":true}}"#,
];

/// Longer than any test may take: what waits for so long hangs.
const FOREVER: Duration = Duration::from_secs(600);

fn waiting(takeover_wait: Duration) -> EdgeLimits {
    EdgeLimits { takeover_wait, ..patient() }
}

async fn staged(takeover_wait: Duration) -> (Stage, Client) {
    let stage = Stage::in_cluster(waiting(takeover_wait)).await;
    stage.world.register(1, "docs").await;
    stage.world.observe_catalogue(1, &TOOLS.map(str::to_owned)).await;
    let client = stage.opened().await;
    (stage, client)
}

fn calling(client: &Client, tool: &'static str) -> JoinHandle<Value> {
    let client = client.clone();
    tokio::spawn(async move { client.call(tool, json!({"a": 1})).await })
}

fn reason(answer: &Value) -> &str {
    answer["error"]["data"]["reason"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

fn only_record(stage: &Stage) -> CallFinished {
    let mut finished = stage.world.finished();
    assert_eq!(finished.len(), 1);
    finished.remove(0).0
}

fn not_owned() -> Finished {
    let (reason, message) = (NOT_OWNED.to_owned(), "it moved".to_owned());
    Finished {
        answer: Some(finished::Answer::Failure(ExchangeFailure { reason, message })),
        outcome: WireOutcome::NotStarted.into(),
        ..Finished::default()
    }
}

/// Takes a call, and dies with it.
async fn die(_: ExchangeOpen, answering: Answering) {
    drop(answering);
}

/// A worker that dies with the first calls that it takes, and answers the others.
async fn dying(stage: &Stage, first: usize) -> Worker {
    let taken = Arc::new(AtomicUsize::new(0));
    Worker::start(&stage.world, 1, move |open, answering| {
        let number = taken.fetch_add(1, Ordering::SeqCst);
        async move {
            if number < first {
                return die(open, answering).await;
            }
            answering.finish(ok("{}")).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_call_that_nobody_took_is_answered_by_the_next_worker() {
    for audit_mode in AuditMode::ALL {
        let (stage, client) = staged(FOREVER).await;
        stage.world.set(ProjectSettings { audit_mode, ..ProjectSettings::default() }).await;
        stage.settled().await;
        let calling = calling(&client, "docs__find");
        until("it was tried", || stage.line.opened() > 1).await;
        let worker = Worker::echo(&stage.world, 1).await;
        let answer = soon(calling).await.unwrap();
        assert_eq!(answer["result"]["method"], "tools/call");
        assert_eq!(worker.seen(), 1);
        until("the record", || stage.world.finished().len() == 1).await;
        let record = only_record(&stage);
        assert_eq!((record.outcome, record.attempts), (CallOutcome::Ok, 1));
        assert_eq!(stage.world.started(), usize::from(audit_mode == AuditMode::Strict));
    }
}

#[tokio::test]
async fn when_nobody_comes_it_was_not_started() {
    let (stage, client) = staged(Duration::from_millis(300)).await;
    let answer = soon(calling(&client, "docs__find")).await.unwrap();
    assert_eq!(reason(&answer), "UPSTREAM_UNAVAILABLE");
    let record = only_record(&stage);
    assert_eq!((record.outcome, record.attempts), (CallOutcome::NotStarted, 0));
    assert!(record.queue_us >= 300_000, "{record:?}");
    assert!(stage.line.opened() > 2);
}

#[tokio::test]
async fn a_server_that_does_not_work_is_not_waited_for() {
    let (stage, client) = staged(FOREVER).await;
    stage.world.observe_state(1, ConnectionState::Failed, "exited with 1").await;
    stage.settled().await;
    let answer = soon(calling(&client, "docs__find")).await.unwrap();
    assert_eq!(reason(&answer), "UPSTREAM_UNAVAILABLE");
    assert_eq!(answer["error"]["message"], "docs is not connected: exited with 1");
    // Nor one that is switched off while it is waited for.
    stage.world.observe_state(1, ConnectionState::Starting, "").await;
    stage.settled().await;
    let before = stage.line.opened();
    let calling = calling(&client, "docs__find");
    until("it was tried", || stage.line.opened() > before + 1).await;
    stage.world.change_server(1, ServerEvent::Disabled).await;
    assert_eq!(reason(&soon(calling).await.unwrap()), "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn what_a_worker_says_it_does_not_own_goes_to_the_next_one() {
    let (stage, client) = staged(FOREVER).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let worker = Worker::start(&stage.world, 1, move |_, answering| {
        let is_owner = count.fetch_add(1, Ordering::SeqCst) > 1;
        async move {
            let finished = if is_owner { ok("{}") } else { not_owned() };
            answering.finish(finished).await.unwrap();
        }
    })
    .await;
    let answer = soon(calling(&client, "docs__find")).await.unwrap();
    assert_eq!(answer["result"], json!({}));
    assert_eq!(worker.seen(), 3);
    let record = only_record(&stage);
    assert_eq!((record.outcome, record.attempts), (CallOutcome::Ok, 3));
}

#[tokio::test]
async fn where_no_other_worker_can_come_it_is_said_at_once() {
    let stage = Stage::with(waiting(FOREVER)).await;
    stage.world.add(1, "docs", &["find"]).await;
    let client = stage.opened().await;
    assert_eq!(reason(&client.call("docs__find", json!({})).await), "UPSTREAM_UNAVAILABLE");
    let _worker = Worker::start(&stage.world, 1, async |_, answering| {
        answering.finish(not_owned()).await.unwrap();
    })
    .await;
    assert_eq!(reason(&client.call("docs__find", json!({})).await), "UPSTREAM_UNAVAILABLE");
    let outcomes = stage.world.finished().into_iter().map(|(event, ..)| event.outcome);
    assert!(outcomes.eq([CallOutcome::NotStarted; 2]));
}

#[tokio::test]
async fn what_waited_in_the_queue_of_a_worker_that_died_did_not_run() {
    let (stage, client) = staged(FOREVER).await;
    // Serves, and never takes anything.
    let dead = stage.world.bus.serve(subject::exchange(server(1)).into(), 8).await.unwrap();
    let calling = calling(&client, "docs__find");
    until("it was sent", || stage.line.opened() == 1).await;
    assert_eq!(client.request("ping", json!({})).await["result"], json!({}));
    drop(dead);
    let worker = Worker::echo(&stage.world, 1).await;
    assert!(soon(calling).await.unwrap()["result"].is_object());
    assert_eq!(worker.seen(), 1);
    assert_eq!(only_record(&stage).outcome, CallOutcome::Ok);
}

#[tokio::test]
async fn what_may_have_run_is_unknown_and_runs_once() {
    let (stage, client) = staged(FOREVER).await;
    let worker = dying(&stage, 1).await;
    for tool in ["docs__find", "docs__read", "docs__put"] {
        let answer = soon(calling(&client, tool)).await.unwrap();
        if tool == "docs__find" {
            assert_eq!(reason(&answer), "OUTCOME_UNKNOWN");
        }
    }
    assert_eq!(worker.seen(), 3);
    let record = stage.world.finished().remove(0).0;
    assert_eq!((record.outcome, record.attempts), (CallOutcome::Unknown, 1));
}

#[tokio::test]
async fn a_project_may_have_calls_run_again_once_that_only_read() {
    let (stage, client) = staged(FOREVER).await;
    let retry_policy = RetryPolicy::ReadOnly;
    stage.world.set(ProjectSettings { retry_policy, ..ProjectSettings::default() }).await;
    stage.settled().await;
    let requests = [
        ("tools/call", json!({"name": "docs__read"}), true),
        ("resources/read", json!({"uri": "mcp+docs+file:///a"}), true),
        ("prompts/get", json!({"name": "docs__greet"}), true),
        ("tools/call", json!({"name": "docs__find"}), false),
        ("tools/call", json!({"name": "docs__put"}), false),
    ];
    for (method, params, is_repeated) in requests {
        let worker = dying(&stage, 1).await;
        let answer = soon(client.request(method, params)).await;
        let record = stage.world.finished().pop().unwrap().0;
        if is_repeated {
            assert_eq!(answer["result"], json!({}), "{method}");
            assert_eq!((record.outcome, record.attempts), (CallOutcome::Ok, 2), "{method}");
            assert_eq!(worker.seen(), 2, "{method}");
        } else {
            assert_eq!(reason(&answer), "OUTCOME_UNKNOWN", "{method}");
            assert_eq!((record.outcome, record.attempts), (CallOutcome::Unknown, 1));
            assert_eq!(worker.seen(), 1, "{method}");
        }
    }
}

#[tokio::test]
async fn a_call_is_run_again_once_at_most() {
    let (stage, client) = staged(Duration::from_millis(300)).await;
    let retry_policy = RetryPolicy::Idempotent;
    stage.world.set(ProjectSettings { retry_policy, ..ProjectSettings::default() }).await;
    stage.settled().await;
    let worker = dying(&stage, 9).await;
    let answer = soon(calling(&client, "docs__put")).await.unwrap();
    assert_eq!(reason(&answer), "OUTCOME_UNKNOWN");
    assert_eq!(worker.seen(), 2);
    drop(worker);
    // Nobody takes it a second time: it may have run all the same.
    let taken = Worker::by_hand(&stage.world, 1).await;
    let calling = calling(&client, "docs__read");
    let (worker, mut exchanges) = taken;
    let (_, answering) = exchanges.next().await;
    drop(worker);
    drop(answering);
    assert_eq!(reason(&soon(calling).await.unwrap()), "OUTCOME_UNKNOWN");
    let outcomes = stage.world.finished().into_iter().map(|(event, ..)| event.outcome);
    assert!(outcomes.eq([CallOutcome::Unknown; 2]));
}

#[tokio::test]
async fn a_call_whose_client_was_asked_is_not_run_again() {
    let stage = Stage::with(patient()).await;
    stage.world.register(1, "docs").await;
    stage.world.observe_catalogue(1, &TOOLS.map(str::to_owned)).await;
    let retry_policy = RetryPolicy::Idempotent;
    stage.world.set(ProjectSettings { retry_policy, ..ProjectSettings::default() }).await;
    stage.settled().await;
    let mut client = stage.client();
    client.initialize_with("2025-11-25", json!({"roots": {}})).await;
    let (worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    let stream = client.stream(1, "tools/call", json!({"name": "docs__read"}));
    let asking = async {
        let (_, answering) = exchanges.next().await;
        let (id, method) = ("1".to_owned(), "roots/list".to_owned());
        answering.ask(ServerRequest { id, method, ..ServerRequest::default() }).await.unwrap();
        answering
    };
    let (mut stream, answering) = tokio::join!(stream, asking);
    assert_eq!(stream.message().await["method"], "roots/list");
    drop(answering);
    assert_eq!(stream.message().await["method"], "notifications/cancelled");
    assert_eq!(reason(&stream.message().await), "OUTCOME_UNKNOWN");
    assert_eq!(worker.seen(), 1);
}

#[tokio::test]
async fn who_cancels_what_nobody_took_stops_it() {
    let (stage, client) = staged(FOREVER).await;
    let sending = client.send(message(42, "tools/call", &json!({"name": "docs__find"})));
    let cancelling = async {
        until("it was tried", || stage.line.opened() > 1).await;
        client.notify("notifications/cancelled", json!({"requestId": 42})).await;
    };
    let (response, ()) = tokio::join!(sending, cancelling);
    assert_eq!(response.status(), 202);
    let record = only_record(&stage);
    assert_eq!((record.outcome, record.attempts), (CallOutcome::Cancelled, 0));
    let worker = Worker::echo(&stage.world, 1).await;
    // It had its chance: another call went through.
    assert!(client.call("docs__find", json!({})).await["result"].is_object());
    assert_eq!(worker.seen(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_call_is_handed_over_changes_nothing() {
    for audit_mode in AuditMode::ALL {
        let (stage, client) = staged(FOREVER).await;
        stage.world.set(ProjectSettings { audit_mode, ..ProjectSettings::default() }).await;
        stage.settled().await;
        let worker = Worker::echo(&stage.world, 1).await;
        stage.line.hold();
        let calling = calling(&client, "docs__find");
        until("it is on its way", || stage.line.waiting() == 1).await;
        calling.abort();
        assert!(calling.await.unwrap_err().is_cancelled());
        // The edge had its time to see the client leave.
        assert_eq!(client.request("ping", json!({})).await["result"], json!({}));
        stage.line.opens.add_permits(9);
        until("the record", || stage.world.finished().len() == 1).await;
        assert_eq!((only_record(&stage).outcome, worker.seen()), (CallOutcome::Ok, 1));
    }
}

#[tokio::test]
async fn a_stateless_client_that_leaves_meanwhile_cancels_its_call() {
    let (stage, _) = staged(FOREVER).await;
    let (worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.line.hold();
    let client = crate::stateless_client::Stateless::new(&stage);
    let leaving = client.clone();
    let calling = tokio::spawn(async move { leaving.call("docs__find", json!({})).await });
    until("it is on its way", || stage.line.waiting() == 1).await;
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    client.result("server/discover", json!({})).await;
    stage.line.opens.add_permits(9);
    let (_, answering) = exchanges.next().await;
    assert!(soon(answering.cancelled()).await.is_some());
    let finished = Finished { outcome: WireOutcome::Cancelled.into(), ..Finished::default() };
    answering.finish(finished).await.unwrap();
    until("the record", || stage.world.finished().len() == 1).await;
    assert_eq!((only_record(&stage).outcome, worker.seen()), (CallOutcome::Cancelled, 1));
}

#[tokio::test]
async fn what_is_lost_between_two_rounds_may_have_run() {
    let stage =
        Stage::of(Setup { limits: waiting(Duration::from_millis(200)), ..Setup::default() });
    let stage = stage.await;
    stage.world.add(1, "docs", &["find"]).await;
    let (worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let mut client = stage.client();
    client.initialize_with("2025-11-25", json!({"roots": {}})).await;
    let params = json!({"name": "docs__find"});
    let sending = client.send(message(1, "tools/call", &params));
    let requiring = async {
        let (_, answering) = exchanges.next().await;
        let required = r#"{"resultType":"input_required","requestState":"s",
            "inputRequests":{"roots":{"method":"roots/list"}}}"#;
        answering.finish(ok(required)).await.unwrap();
    };
    let (response, ()) = tokio::join!(sending, requiring);
    let mut stream = Stream::new(response);
    let asked = stream.message().await;
    drop(worker);
    drop(exchanges);
    client.answer(&asked, json!({"roots": []})).await;
    assert_eq!(reason(&stream.message().await), "OUTCOME_UNKNOWN");
    assert_eq!(only_record(&stage).outcome, CallOutcome::Unknown);
}
