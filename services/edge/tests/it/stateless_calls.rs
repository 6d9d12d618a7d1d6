//! Calls of stateless clients.

use domain::Role;
use domain::call::CallOutcome;
use domain::server::Isolation;
use proto::events::v1::CallOutcome as WireOutcome;
use proto::internal::v1::{Finished, Notification, finished};
use serde_json::{Value, json};

use crate::client::Stream;
use crate::stage::{Stage, soon, until};
use crate::stateless_client::{LEVEL_KEY, SERVER_KEY, Stateless};
use crate::worker::{Worker, ok, progress};

async fn with_tool() -> (Stage, Stateless) {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    (stage, client)
}

fn failed(error: &'static str, code: i32) -> Finished {
    Finished {
        answer: Some(finished::Answer::Error(error.into())),
        outcome: WireOutcome::UpstreamError.into(),
        error_code: code,
        ..Finished::default()
    }
}

#[tokio::test]
async fn an_upstream_gets_the_request_without_what_belongs_to_our_hop() {
    let (stage, client) = with_tool().await;
    let worker = Worker::start(&stage.world, 1, async |open, answering| {
        assert_eq!(
            open.params,
            r#"{"_meta":{"traceparent":"00-1"},"arguments":{"a":1},"name":"find"}"#
        );
        let peer = open.peer.unwrap();
        assert_eq!(peer.capabilities, r#"{"elicitation":{},"roots":{},"sampling":{}}"#);
        assert_eq!(peer.client_info, r#"{"name":"tester","version":"2"}"#);
        assert_eq!((peer.revision.as_str(), peer.log_level.as_str()), ("2026-07-28", "warning"));
        assert_eq!((peer.session.as_str(), peer.exclusive), ("", false));
        let result = r#"{ "structuredContent":{"n":1.0,"x":[ ]},"content":[] }"#;
        answering.finish(ok(result)).await.unwrap();
    })
    .await;
    let params = json!({
        "name": "docs__find", "arguments": {"a": 1},
        "_meta": {LEVEL_KEY: "warning", "traceparent": "00-1"},
    });
    let response = client.send(1, "tools/call", params).await;
    let text = response.text().await.unwrap();
    // The upstream's own bytes, behind what the revision wants of a result.
    assert!(text.ends_with(r#" "structuredContent":{"n":1.0,"x":[ ]},"content":[] }}"#), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["result"]["resultType"], "complete");
    assert_eq!(answer["result"]["_meta"][SERVER_KEY]["name"], "mcp-orch");
    assert_eq!(worker.seen(), 1);
    let (event, ..) = stage.world.finished().remove(0);
    assert_eq!((event.outcome, event.client.as_str()), (CallOutcome::Ok, "tester 2"));
}

#[tokio::test]
async fn what_is_read_says_how_long_it_may_be_kept() {
    let (stage, client) = with_tool().await;
    let _worker = Worker::start(&stage.world, 1, async |open, answering| {
        let kept = String::from_utf8(open.params.to_vec()).unwrap().contains("kept");
        let hint = if kept { r#","ttlMs":7,"cacheScope":"public""# } else { "" };
        let result = format!(r#"{{"contents":[{{"uri":"file:///a","text":""}}]{hint}}}"#);
        answering.finish(ok(&result)).await.unwrap();
    })
    .await;
    let read = async |uri: &str| client.result("resources/read", json!({"uri": uri})).await;
    let result = read("mcp+docs+file:///a").await;
    assert_eq!(result["contents"][0]["uri"], "mcp+docs+file:///a");
    assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(0), &json!("private")));
    let kept = read("mcp+docs+file:///kept").await;
    assert_eq!((&kept["ttlMs"], &kept["cacheScope"]), (&json!(7), &json!("private")));
    let called = client.call("docs__find", json!({})).await;
    assert_eq!(called.get("ttlMs"), None);
}

#[tokio::test]
async fn errors_are_said_in_the_words_of_the_revision() {
    let (stage, client) = with_tool().await;
    let _worker = Worker::start(&stage.world, 1, async |open, answering| {
        let params: Value = serde_json::from_slice(&open.params).unwrap();
        let finished = match params["arguments"]["code"].as_i64() {
            Some(-32021) => failed(
                r#"{"code":-32021,"message":"m","data":{"requiredCapabilities":{"x":{}}}}"#,
                -32021,
            ),
            Some(-32601) => failed(r#"{"code":-32601,"message":"m"}"#, -32601),
            _ => failed(r#"{"code":-32002,"message":"m","data":{"uri":"file:///a"}}"#, -32002),
        };
        answering.finish(finished).await.unwrap();
    })
    .await;
    let refused = async |method: &str, params: Value| client.refused(method, params).await;
    let known = json!({"uri": "mcp+docs+file:///a"});
    let (status, error) = refused("resources/read", known).await;
    assert_eq!((status, &error["code"]), (200, &json!(-32602)));
    let (status, error) = refused("resources/read", json!({"uri": "nowhere:1"})).await;
    assert_eq!((status, &error["code"]), (200, &json!(-32602)));
    assert_eq!(error["data"]["uri"], "nowhere:1");
    let call = async |code: i64| {
        refused("tools/call", json!({"name": "docs__find", "arguments": {"code": code}})).await
    };
    // The one error whose status does not depend on who says it.
    let (status, error) = call(-32021).await;
    assert_eq!((status, &error["code"]), (400, &json!(-32021)));
    assert_eq!(error["data"]["requiredCapabilities"], json!({"x": {}}));
    assert_eq!(call(-32601).await.0, 200);
    let (status, error) = refused("tools/call", json!({"name": "docs__nope"})).await;
    assert_eq!((status, &error["code"]), (200, &json!(-32602)));
}

#[tokio::test]
async fn a_client_hears_what_it_asked_for() {
    let (stage, client) = with_tool().await;
    let _worker = Worker::start(&stage.world, 1, async |_, answering| {
        let log = |level: &str| Notification {
            method: "notifications/message".to_owned(),
            params: format!(r#"{{"level":"{level}","data":1.0}}"#).into(),
        };
        answering.notify(progress(1)).await.unwrap();
        answering.notify(log("debug")).await.unwrap();
        answering.notify(log("error")).await.unwrap();
        let updated = Notification {
            method: "notifications/tools/list_changed".to_owned(),
            params: "{}".into(),
        };
        answering.notify(updated).await.unwrap();
        answering.finish(ok("{}")).await.unwrap();
    })
    .await;
    let call = |meta: Value| json!({"name": "docs__find", "_meta": meta});
    let (status, answer) = client.ask("tools/call", call(json!({}))).await;
    assert_eq!((status, &answer["result"]["resultType"]), (200, &json!("complete")));

    let meta = json!({LEVEL_KEY: "warning", "progressToken": "t"});
    let mut stream = Stream::new(client.send(5, "tools/call", call(meta)).await);
    assert_eq!(stream.message().await["params"], json!({"progressToken": "t", "progress": 1}));
    let log = stream.message().await;
    assert_eq!(log["params"], json!({"level": "error", "data": 1.0}));
    let answer = stream.message().await;
    assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&json!(5), &json!("complete")));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn going_away_cancels_the_call() {
    let (stage, client) = with_tool().await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    let leaving = client.clone();
    let calling = tokio::spawn(async move { leaving.call("docs__find", json!({})).await });
    let (_, answering) = exchanges.next().await;
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    assert_eq!(soon(answering.cancelled()).await.as_deref(), Some("cancelled by the client"));
    let finished = Finished { outcome: WireOutcome::Cancelled.into(), ..Finished::default() };
    answering.finish(finished).await.unwrap();
    until("the record", || stage.world.finished().len() == 1).await;
    assert_eq!(stage.world.finished()[0].0.outcome, CallOutcome::Cancelled);

    // The same when the answer is a stream already.
    let params = json!({"name": "docs__find", "_meta": {"progressToken": "t"}});
    let calling = client.send(1, "tools/call", params);
    let telling = async {
        let (_, answering) = exchanges.next().await;
        answering.notify(progress(1)).await.unwrap();
        answering
    };
    let (response, answering) = tokio::join!(calling, telling);
    let mut stream = Stream::new(response);
    assert_eq!(stream.message().await["method"], "notifications/progress");
    drop(stream);
    assert_eq!(soon(answering.cancelled()).await.as_deref(), Some("cancelled by the client"));
}

#[tokio::test]
async fn the_calls_of_one_key_are_bounded() {
    let mut limits = edge::EdgeLimits::default();
    limits.stateless.calls_per_key = 1;
    let stage = Stage::with(limits).await;
    stage.world.add(1, "docs", &["find"]).await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    let first = client.clone();
    let calling = tokio::spawn(async move { first.call("docs__find", json!({})).await });
    let (_, answering) = exchanges.next().await;
    let (status, error) = client.refused("tools/call", json!({"name": "docs__find"})).await;
    assert_eq!((status, &error["data"]["reason"]), (200, &json!("RESOURCE_EXHAUSTED")));
    answering.finish(ok("{}")).await.unwrap();
    calling.await.unwrap();
}

#[tokio::test]
async fn a_server_with_connections_of_its_own_for_clients_gets_one_for_those_that_can_do_the_same()
{
    let stage = Stage::start().await;
    stage.world.register_as(1, "docs", Isolation::Session).await;
    stage.world.observe_catalogue(1, &[r#"{"name":"find"}"#.to_owned()]).await;
    stage.world.issue("api_key_second", Role::Owner, None).await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    let mut peer = async |client: Stateless| {
        let calling = async { client.call("docs__find", json!({})).await };
        let answering = async {
            let (open, answering) = exchanges.next().await;
            answering.finish(ok("{}")).await.unwrap();
            open.peer.unwrap()
        };
        tokio::join!(calling, answering).1
    };
    let first = peer(client.clone()).await;
    assert!(first.exclusive && !first.session.is_empty());
    assert_eq!(peer(client.clone()).await.session, first.session);
    let other = client.with(json!({"sampling": {}}));
    assert_ne!(peer(other).await.session, first.session);
    let second = stage.client_of("/projects/search/unified", "api_key_second");
    assert_ne!(peer(Stateless::of(second)).await.session, first.session);
}
