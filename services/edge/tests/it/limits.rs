//! Each limit is a clear answer.

use std::time::Duration;

use edge::EdgeLimits;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::message;
use crate::stage::{Stage, soon};
use crate::worker::{Worker, ok};

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let stage = Stage::with(EdgeLimits { body_bytes: 1_000, ..EdgeLimits::default() }).await;
    let client = stage.opened().await;
    let response = client.send(message(1, "ping", &json!({"x": "y".repeat(1_000)}))).await;
    assert_eq!(response.status(), 413);
    assert_eq!(client.send(message(1, "ping", &json!({}))).await.status(), 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let body_wait = Duration::from_millis(50);
    let stage = Stage::with(EdgeLimits { body_wait, ..EdgeLimits::default() }).await;
    let client = stage.opened().await;
    let never = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let response = client.send(reqwest::Body::wrap_stream(never)).await;
    assert_eq!(response.status(), 408);
}

#[tokio::test]
async fn sessions_are_limited_for_a_key_and_one_that_ends_makes_room() {
    let limits = EdgeLimits { sessions_per_key: 2, ..EdgeLimits::default() };
    let stage = Stage::with(limits).await;
    let (first, _second) = (stage.opened().await, stage.opened().await);
    let params = json!({"protocolVersion": "2025-06-18"});
    let response = stage.client().send(message(1, "initialize", &params)).await;
    assert_eq!(response.status(), 429);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["data"]["reason"], "RESOURCE_EXHAUSTED");
    soon(first.builder(Method::DELETE).send()).await.unwrap();
    stage.opened().await;
}

#[tokio::test]
async fn a_silent_session_ends() {
    let session_idle = Duration::from_millis(50);
    let stage = Stage::with(EdgeLimits { session_idle, ..EdgeLimits::default() }).await;
    let client = stage.opened().await;
    let streaming = stage.opened().await;
    let mut stream = streaming.listen().await;
    // The stream's end is seen; whether it was the silent one's turn is seen by asking once.
    let silent = tokio::time::timeout(Duration::from_millis(2_500), stream.next()).await;
    assert!(silent.is_err(), "a session with a stream is not silent");
    assert_eq!(client.send(message(1, "ping", &json!({}))).await.status(), 404);
    assert_eq!(streaming.send(message(1, "ping", &json!({}))).await.status(), 200);
}

#[tokio::test]
async fn calls_are_limited_in_all_and_for_a_session() {
    for limits in [
        EdgeLimits { calls_per_session: 2, ..EdgeLimits::default() },
        EdgeLimits { calls_in_flight: 2, ..EdgeLimits::default() },
    ] {
        let stage = Stage::with(limits).await;
        stage.world.add(1, "docs", &["find"]).await;
        let (worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
        let client = stage.opened().await;
        let calls: Vec<_> = (0..2)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.call("docs__find", json!({})).await })
            })
            .collect();
        let open = [exchanges.next().await, exchanges.next().await];
        let refused = client.call("docs__find", json!({})).await;
        assert_eq!(refused["error"]["data"]["reason"], "RESOURCE_EXHAUSTED");
        assert_eq!(worker.seen(), 2);
        for (_, answering) in open {
            answering.finish(ok("{}")).await.unwrap();
        }
        for call in calls {
            assert_eq!(soon(call).await.unwrap()["result"], json!({}));
        }
        let next = tokio::spawn(async move { client.call("docs__find", json!({})).await });
        exchanges.next().await.1.finish(ok("{}")).await.unwrap();
        assert_eq!(soon(next).await.unwrap()["result"], json!({}));
    }
}

#[tokio::test]
async fn a_batch_is_limited() {
    let stage = Stage::with(EdgeLimits { batch_messages: 2, ..EdgeLimits::default() }).await;
    stage.settled().await;
    let mut client = stage.client();
    client.initialize("2025-03-26").await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(client.send(json!([ping, ping]).to_string()).await.status(), 200);
    assert_eq!(client.send(json!([ping, ping, ping]).to_string()).await.status(), 400);
    assert_eq!(client.send("[]").await.status(), 400);
}
