//! The transport of revision 2024-11-05.

use std::time::Duration;

use edge::EdgeLimits;
use serde_json::{Value, json};

use crate::client::{Said, SseClient, message};
use crate::stage::{Stage, until};
use crate::worker::{Worker, ok, progress};
use crate::world::REPORTER_KEY;

#[tokio::test]
async fn messages_are_posted_and_answered_over_the_stream() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let _worker = Worker::start(&stage.world, 1, async |_, answering| {
        answering.notify(progress(1)).await.unwrap();
        answering.finish(ok(r#"{"n":1.0}"#)).await.unwrap();
    })
    .await;
    stage.settled().await;
    let mut sse = SseClient::open(&stage.client(), &stage.url).await;
    // Before `initialize`, too.
    let response = sse.post(message(1, "tools/list", &json!({}))).await;
    assert_eq!(response.status(), 202);
    assert_eq!(sse.stream.message().await["result"]["tools"][0]["name"], "docs__find");
    let call = json!({"name": "docs__find", "_meta": {"progressToken": "t"}});
    assert_eq!(sse.post(message(2, "tools/call", &call)).await.status(), 202);
    assert_eq!(sse.stream.message().await["method"], "notifications/progress");
    let Some(Said::Event(event, data)) = sse.stream.next().await else { panic!("no answer") };
    assert_eq!(event, "message");
    assert_eq!(data, r#"{"jsonrpc":"2.0","id":2,"result":{"n":1.0}}"#);
    let bad = sse.post("{".to_owned()).await;
    assert_eq!(bad.status(), 400);
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(sse.post(note.to_owned()).await.status(), 202);
}

#[tokio::test]
async fn cancelling_works_over_sse() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let mut sse = SseClient::open(&stage.client(), &stage.url).await;
    sse.post(message(5, "tools/call", &json!({"name": "docs__find"}))).await;
    let (_, answering) = exchanges.next().await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#;
    sse.post(cancel.to_owned()).await;
    assert!(crate::stage::soon(answering.cancelled()).await.is_some());
    answering.finish(ok("{}")).await.unwrap();
    sse.post(message(6, "ping", &json!({}))).await;
    assert_eq!(sse.stream.message().await["id"], 6);
}

#[tokio::test]
async fn too_small_a_role_is_told_both_ways() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.settled().await;
    let client = stage.client_of("/projects/search/unified", REPORTER_KEY);
    let mut sse = SseClient::open(&client, &stage.url).await;
    let response = sse.post(message(1, "tools/call", &json!({"name": "docs__find"}))).await;
    assert_eq!(response.status(), 403);
    let body: Value = response.json().await.unwrap();
    assert_eq!(sse.stream.message().await, body);
}

#[tokio::test]
async fn a_silent_stream_has_comments_and_its_end_ends_the_session() {
    let limits = EdgeLimits { keep_alive: Duration::from_millis(20), ..EdgeLimits::default() };
    let stage = Stage::with(limits).await;
    stage.settled().await;
    let mut sse = SseClient::open(&stage.client(), &stage.url).await;
    for _ in 0..3 {
        assert_eq!(sse.stream.next().await, Some(Said::Comment));
    }
    let url = sse.messages_url.clone();
    drop(sse);
    let client = stage.client();
    let gone = async || {
        let request = stage.http.post(&url).bearer_auth(&client.key);
        request.body(message(1, "ping", &json!({}))).send().await.unwrap().status() == 404
    };
    for _ in 0..5_000 {
        if gone().await {
            return;
        }
    }
    panic!("the session did not end");
}

#[tokio::test]
async fn an_unknown_session_is_not_found() {
    let stage = Stage::start().await;
    stage.settled().await;
    let sse = SseClient::open(&stage.client(), &stage.url).await;
    for query in ["", "?session_id=", "?session_id=00000000000000000000000000000000"] {
        let (base, _) = sse.messages_url.split_once('?').unwrap();
        let request = stage.http.post(format!("{base}{query}")).bearer_auth(crate::world::KEY);
        let response = request.body(message(1, "ping", &json!({}))).send().await.unwrap();
        assert_eq!(response.status(), 404, "{query:?}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_session_and_its_calls_are_recorded() {
    let limits = EdgeLimits {
        outbox_bytes: 64 * 1024,
        stall: Duration::from_millis(100),
        keep_alive: Duration::from_secs(60),
        ..EdgeLimits::default()
    };
    let stage = Stage::with(limits).await;
    stage.world.add(1, "docs", &["find"]).await;
    let large = format!(r#""{}""#, "x".repeat(1024 * 1024));
    let _worker = Worker::start(&stage.world, 1, move |_, answering| {
        let finished = ok(&large);
        async move { answering.finish(finished).await.unwrap() }
    })
    .await;
    stage.settled().await;
    let sse = SseClient::open(&stage.client(), &stage.url).await;
    let mut posted = 0;
    // What the sockets' buffers take is not ours to know: until the session is gone.
    while sse.post(message(1, "tools/call", &json!({"name": "docs__find"}))).await.status() == 202 {
        posted += 1;
        assert!(posted < 1_000, "it never ended");
    }
    until("each call is recorded", || stage.world.finished().len() == posted).await;
    // What was on its way still comes, then the end.
    sse.stream.end().await;
}
