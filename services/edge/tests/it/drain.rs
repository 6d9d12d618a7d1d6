//! The end: calls finish, streams end, nothing new begins.

use serde_json::json;

use crate::client::{SseClient, message};
use crate::stage::{Stage, soon};
use crate::worker::{Worker, ok};

#[tokio::test]
async fn calls_finish_then_streams_end_and_nothing_new_begins() {
    let mut stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let (worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    let client = stage.opened().await;
    let stream = client.listen().await;
    let mut sse = SseClient::open(&stage.client(), &stage.url).await;
    let running = client.clone();
    let call = tokio::spawn(async move { running.call("docs__find", json!({})).await });
    let first = exchanges.next().await;
    sse.post(message(8, "tools/call", &json!({"name": "docs__find"}))).await;
    let second = exchanges.next().await;

    stage.shutdown.cancel();
    let refused = async || client.send(message(1, "ping", &json!({}))).await.status() == 503;
    for attempt in 0.. {
        if refused().await {
            break;
        }
        assert!(attempt < 5_000, "requests are still taken");
    }
    assert!(!call.is_finished());
    for (_, answering) in [first, second] {
        answering.finish(ok("{}")).await.unwrap();
    }
    assert_eq!(soon(call).await.unwrap()["result"], json!({}));
    assert_eq!(sse.stream.message().await["id"], 8);
    sse.stream.end().await;
    stream.end().await;
    soon(stage.running.take().unwrap()).await.unwrap();
    assert_eq!((worker.seen(), stage.world.finished().len()), (2, 2));
}
