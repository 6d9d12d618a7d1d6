//! Calls: where they go, what comes back, and how they end.

use std::sync::atomic::Ordering;

use domain::call::CallOutcome;
use domain::connection::ConnectionState;
use domain::event::ServerEvent;
use proto::events::v1::CallOutcome as WireOutcome;
use proto::internal::v1::{ExchangeFailure, Finished, finished};
use serde_json::{Value, json};

use crate::client::{Stream, message};
use crate::stage::{Stage, soon, until};
use crate::worker::{Worker, ok, progress};
use crate::world::{KEY, key_id, server};

#[tokio::test]
async fn a_call_goes_to_its_server_and_no_other_byte_changes() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.world.add(2, "time", &["find"]).await;
    let (docs, time) = (Worker::echo(&stage.world, 1).await, Worker::echo(&stage.world, 2).await);
    let client = stage.opened().await;
    let body = r#"{"jsonrpc":"2.0", "id":"a\u0031" ,"method":"tools/call","params":{ "arguments" : {"n":1.00,"big":12345678901234567890,"name":"docs__find"}, "name":"time__find","x":[ ] }}"#;
    let response = client.send(body).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(
        response.text().await.unwrap(),
        r#"{"jsonrpc":"2.0","id":"a\u0031","result":{ "method":"tools/call","seen":{ "arguments" : {"n":1.00,"big":12345678901234567890,"name":"docs__find"}, "name":"find","x":[ ] } }}"#
    );
    assert_eq!((docs.seen(), time.seen()), (0, 1));
}

#[tokio::test]
async fn a_hundred_calls_at_once_get_their_own_answers() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    let client = stage.opened().await;
    let calls = (0..100).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { client.call("docs__find", json!({"n": n})).await })
    });
    let calls: Vec<_> = calls.collect();
    // All of them are under way before the first one is answered.
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(exchanges.next().await);
    }
    for (open, answering) in open.into_iter().rev() {
        let params = String::from_utf8(open.params.to_vec()).unwrap();
        answering.finish(ok(&params)).await.unwrap();
    }
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(soon(call).await.unwrap()["result"]["arguments"]["n"], n);
    }
    assert_eq!(stage.world.finished().len(), 100);
}

#[tokio::test]
async fn a_disabled_tool_is_answered_like_an_unknown_one() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find", "other"]).await;
    let worker = Worker::echo(&stage.world, 1).await;
    let client = stage.opened().await;
    assert_eq!(client.tools().await, ["docs__find", "docs__other"]);
    let tool = "find".to_owned();
    stage.world.change_server(1, ServerEvent::ToolDisabled { tool }).await;
    stage.settled().await;
    // At once, whether what is listed was merged again already or not.
    let disabled = client.call("docs__find", json!({})).await;
    let unknown = client.call("docs__nope", json!({})).await;
    assert_eq!(disabled["error"], json!({"code": -32602, "message": "Unknown tool: docs__find"}));
    assert_eq!(unknown["error"], json!({"code": -32602, "message": "Unknown tool: docs__nope"}));
    stage.world.change_server(1, ServerEvent::Disabled).await;
    stage.settled().await;
    let gone = client.call("docs__other", json!({})).await;
    assert_eq!(gone["error"], json!({"code": -32602, "message": "Unknown tool: docs__other"}));
    assert_eq!(worker.seen(), 0);
}

#[tokio::test]
async fn a_resource_is_read_under_its_own_uri_and_shown_under_the_clients() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &[]).await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    let client = stage.opened().await;
    let uri = "mcp+docs+file:///a";
    let reading = client.request("resources/read", json!({"uri": uri}));
    let answering = async {
        let (open, answering) = exchanges.next().await;
        assert_eq!(open.params, r#"{"uri":"file:///a"}"#);
        let result = r#"{"contents":[{"uri":"file:///a","text":"uri"}]}"#;
        answering.finish(ok(result)).await.unwrap();
    };
    let (answer, ()) = tokio::join!(reading, answering);
    assert_eq!(answer["result"], json!({"contents": [{"uri": uri, "text": "uri"}]}));
    // What is stored is what the server said.
    let (event, _, result) = stage.world.finished().remove(0);
    assert_eq!(
        (event.subject.method.as_str(), event.subject.target.as_str()),
        ("resources/read", "file:///a")
    );
    assert_eq!(result, r#"{"contents":[{"uri":"file:///a","text":"uri"}]}"#);
    let unknown = client.request("resources/read", json!({"uri": "file:///a"})).await;
    assert_eq!(unknown["error"]["code"], -32002);
}

#[tokio::test]
async fn an_upstreams_error_passes_as_it_is() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let error = r#"{ "code":-32055, "message":"no","data":[1.0] }"#;
    let _worker = Worker::start(&stage.world, 1, move |_, answering| async move {
        let finished = Finished {
            answer: Some(finished::Answer::Error(error.into())),
            outcome: WireOutcome::UpstreamError.into(),
            error_code: -32055,
            ..Finished::default()
        };
        answering.finish(finished).await.unwrap();
    })
    .await;
    let client = stage.opened().await;
    let response = client.send(message(1, "tools/call", &json!({"name": "docs__find"}))).await;
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    assert_eq!(text, format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#));
    let (event, _, result) = stage.world.finished().remove(0);
    assert_eq!((event.outcome, event.error_code), (CallOutcome::UpstreamError, -32055));
    assert_eq!(result, error);
}

#[tokio::test]
async fn progress_makes_the_answer_a_stream_for_clients_that_take_one() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let _worker = Worker::start(&stage.world, 1, async |open, answering| {
        assert_eq!(open.progress_token, r#""t""#);
        for step in 1..=3 {
            answering.notify(progress(step)).await.unwrap();
        }
        answering.finish(ok("{}")).await.unwrap();
    })
    .await;
    let mut client = stage.opened().await;
    let params = json!({"name": "docs__find", "_meta": {"progressToken": "t"}});
    let mut stream = Stream::new(client.send(message(1, "tools/call", &params)).await);
    for step in 1..=3 {
        let said = stream.message().await;
        assert_eq!(said["params"], json!({"progressToken": "t", "progress": step}));
    }
    assert_eq!(stream.message().await, json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    assert_eq!(stream.next().await, None);

    client.accept = "application/json";
    let answer = client.request("tools/call", params.clone()).await;
    assert_eq!(answer["result"], json!({}));

    client.accept = "text/event-stream";
    let mut stream = Stream::new(client.send(message(1, "ping", &json!({}))).await);
    assert_eq!(stream.message().await["result"], json!({}));
}

#[tokio::test]
async fn a_cancellation_reaches_the_worker_and_nothing_is_said() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    let client = stage.opened().await;
    let calling = client.send(message(42, "tools/call", &json!({"name": "docs__find"})));
    let cancelling = async {
        let (_, answering) = exchanges.next().await;
        let others =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"42"}}"#;
        assert_eq!(client.send(others).await.status(), 202);
        let cancel =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":42}}"#;
        assert_eq!(client.send(cancel).await.status(), 202);
        assert_eq!(soon(answering.cancelled()).await.as_deref(), Some("cancelled by the client"));
        let finished = Finished { outcome: WireOutcome::Cancelled.into(), ..Finished::default() };
        answering.finish(finished).await.unwrap();
    };
    let (response, ()) = tokio::join!(calling, cancelling);
    assert_eq!(response.status(), 202);
    assert_eq!(response.text().await.unwrap(), "");
    assert_eq!(stage.world.finished()[0].0.outcome, CallOutcome::Cancelled);
}

#[tokio::test]
async fn a_call_whose_client_went_away_runs_to_its_end_and_is_recorded() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    let client = stage.opened().await;
    let leaving = client.clone();
    let calling = tokio::spawn(async move { leaving.call("docs__find", json!({})).await });
    let (_, answering) = exchanges.next().await;
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    // Another client's call, so that the edge had its time to see the first one leave.
    let other = client.request("ping", json!({})).await;
    assert_eq!(other["result"], json!({}));
    answering.finish(ok("{}")).await.unwrap();
    until("the record", || stage.world.finished().len() == 1).await;
    assert_eq!(stage.world.finished()[0].0.outcome, CallOutcome::Ok);
}

#[tokio::test]
async fn a_server_without_a_worker_is_unavailable_with_its_cause() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.world.observe_state(1, ConnectionState::Failed, "exited with 1").await;
    let client = stage.opened().await;
    // What it offered last stays listed.
    assert_eq!(client.tools().await, ["docs__find"]);
    let answer = client.call("docs__find", json!({"a": 1})).await;
    assert_eq!(answer["error"]["code"], -32000);
    assert_eq!(answer["error"]["data"]["reason"], "UPSTREAM_UNAVAILABLE");
    assert_eq!(answer["error"]["message"], "docs is not connected: exited with 1");
    let (event, arguments, _) = stage.world.finished().remove(0);
    assert_eq!((event.outcome, event.arguments_bytes), (CallOutcome::NotStarted, 7));
    // No worker looked for secrets in them.
    assert_eq!(arguments, "");
}

#[tokio::test]
async fn a_worker_that_is_lost_leaves_an_unknown_outcome() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let worker = Worker::start(&stage.world, 1, async |_, answering| drop(answering)).await;
    let client = stage.opened().await;
    let answer = client.call("docs__find", json!({})).await;
    assert_eq!(answer["error"]["data"]["reason"], "OUTCOME_UNKNOWN");
    // It may have run: it was not sent again.
    assert_eq!(worker.seen.load(Ordering::SeqCst), 1);
    assert_eq!(stage.world.finished()[0].0.outcome, CallOutcome::Unknown);
}

#[tokio::test]
async fn a_failure_of_the_worker_is_told_with_its_reason() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let _worker = Worker::start(&stage.world, 1, async |_, answering| {
        let failure = ExchangeFailure { reason: "UPSTREAM_TIMEOUT".into(), message: "late".into() };
        let finished = Finished {
            answer: Some(finished::Answer::Failure(failure)),
            outcome: WireOutcome::Timeout.into(),
            ..Finished::default()
        };
        answering.finish(finished).await.unwrap();
    })
    .await;
    let client = stage.opened().await;
    let answer = client.call("docs__find", json!({})).await;
    let expected =
        json!({"code": -32000, "message": "late", "data": {"reason": "UPSTREAM_TIMEOUT"}});
    assert_eq!(answer["error"], expected);
}

#[tokio::test]
async fn a_call_is_recorded_with_who_what_and_how_long() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let _worker = Worker::start(&stage.world, 1, async |open, answering| {
        assert!(open.record);
        let params: Value = serde_json::from_slice(&open.params).unwrap();
        let finished = Finished {
            // The arguments alone, as workers give them.
            stored_arguments: Some(params["arguments"].to_string().replace("secret", "***").into()),
            stored_result: Some("\"***\"".into()),
            ..ok("\"secret\"")
        };
        answering.finish(finished).await.unwrap();
    })
    .await;
    let client = stage.opened().await;
    let answer = client.call("docs__find", json!({"a": "secret"})).await;
    assert_eq!(answer["result"], "secret");
    let (event, arguments, result) = stage.world.finished().remove(0);
    let subject = &event.subject;
    assert_eq!((subject.server, subject.server_name.as_str()), (server(1), "docs"));
    assert_eq!((subject.method.as_str(), subject.target.as_str()), ("tools/call", "find"));
    assert_eq!(subject.api_key, Some(key_id(KEY)));
    assert_eq!(event.outcome, CallOutcome::Ok);
    assert_eq!((event.upstream_us, event.queue_us >= 5), (7, true));
    assert!(event.total_us > 0);
    assert_eq!(event.client, "tester 1");
    assert!(client.session.unwrap().starts_with(&event.mcp_session));
    assert_eq!((arguments, result), (r#"{"a":"***"}"#.into(), "\"***\"".into()));
    assert!(event.body_masked);
    assert_eq!((event.arguments_bytes, event.result_bytes), (14, 8));
    let _: Value = answer;
}
