//! Stateless clients over HTTP+SSE: the same, without headers, on one stream.

use backplane::exchange::FollowUp;
use proto::internal::v1::ServerRequest;
use serde_json::{Value, json};

use crate::client::SseClient;
use crate::stage::{Stage, soon};
use crate::stateless_client::{SUBSCRIPTION_KEY, Stateless, VERSION, VERSION_KEY, only_key, retry};
use crate::worker::{Worker, ok, progress};

async fn opened() -> (Stage, Stateless, SseClient) {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    let sse = SseClient::open(&stage.client(), &stage.url).await;
    (stage, client, sse)
}

#[tokio::test]
async fn a_client_discovers_lists_and_calls_over_the_stream() {
    let (stage, client, mut sse) = opened().await;
    let _worker = Worker::start(&stage.world, 1, async |_, answering| {
        answering.notify(progress(1)).await.unwrap();
        answering.finish(ok(r#"{"content":[]}"#)).await.unwrap();
    })
    .await;
    client.post_sse(&sse, 1, "server/discover", json!({})).await;
    let answer = sse.stream.message().await;
    assert_eq!(answer["result"]["supportedVersions"], json!([VERSION]));
    client.post_sse(&sse, 2, "tools/list", json!({})).await;
    let answer = sse.stream.message().await;
    assert_eq!(answer["result"]["tools"][0]["name"], "docs__find");
    assert_eq!(answer["result"]["resultType"], "complete");
    let call = json!({"name": "docs__find", "_meta": {"progressToken": "t"}});
    client.post_sse(&sse, 3, "tools/call", call).await;
    assert_eq!(sse.stream.message().await["method"], "notifications/progress");
    let answer = sse.stream.message().await;
    assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&json!(3), &json!("complete")));

    let mut unknown = client.body(4, "tools/list", &json!({}));
    unknown["params"]["_meta"][VERSION_KEY] = json!("2099-01-01");
    sse.post(unknown.to_string()).await;
    assert_eq!(sse.stream.message().await["error"]["code"], -32022);
    client.post_sse(&sse, 5, "ping", json!({})).await;
    assert_eq!(sse.stream.message().await["error"]["code"], -32601);
}

#[tokio::test]
async fn input_is_asked_for_and_given_over_the_stream() {
    let (stage, client, mut sse) = opened().await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    let params = json!({"name": "docs__find"});
    client.post_sse(&sse, 1, "tools/call", params.clone()).await;
    let (_, answering) = exchanges.next().await;
    let (id, method) = ("1".to_owned(), "roots/list".to_owned());
    answering.ask(ServerRequest { id, method, params: "{}".into() }).await.unwrap();
    let asked = sse.stream.message().await["result"].clone();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let again = retry(&params, &asked, json!({only_key(&asked): {"roots": []}}));
    client.post_sse(&sse, 2, "tools/call", again).await;
    let follow_up = soon(answering.next_follow_up()).await;
    assert!(matches!(follow_up, Some(FollowUp::Answer { answer: Ok(_), .. })), "{follow_up:?}");
    // The new try is cancelled by its own id, and the call with it.
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}"#;
    sse.post(cancel.to_owned()).await;
    assert!(soon(answering.cancelled()).await.is_some());
}

#[tokio::test]
async fn a_stream_that_ends_cancels_its_calls() {
    let (stage, client, sse) = opened().await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    client.post_sse(&sse, 1, "tools/call", json!({"name": "docs__find"})).await;
    let (_, answering) = exchanges.next().await;
    drop(sse);
    assert!(soon(answering.cancelled()).await.is_some());
}

#[tokio::test]
async fn who_listens_hears_over_the_stream_until_it_cancels() {
    let (stage, client, mut sse) = opened().await;
    let listen = json!({"notifications": {"toolsListChanged": true}});
    client.post_sse(&sse, 9, "subscriptions/listen", listen).await;
    let first = sse.stream.message().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    stage.world.observe_catalogue(1, &[r#"{"name":"seek"}"#.to_owned()]).await;
    let said: Value = sse.stream.message().await;
    assert_eq!(said["method"], "notifications/tools/list_changed");
    assert_eq!(said["params"]["_meta"][SUBSCRIPTION_KEY], 9);
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#;
    sse.post(cancel.to_owned()).await;
    stage.world.observe_catalogue(1, &[r#"{"name":"find"}"#.to_owned()]).await;
    stage.settled().await;
    // Whatever comes next is the answer to this, long after the change was told to others.
    let other = Stateless::new(&stage);
    let params = json!({"notifications": {"toolsListChanged": true}});
    let response = other.send(1, "subscriptions/listen", params).await;
    let mut witness = crate::client::Stream::new(response);
    witness.message().await;
    stage.world.observe_catalogue(1, &[r#"{"name":"again"}"#.to_owned()]).await;
    witness.message().await;
    client.post_sse(&sse, 10, "server/discover", json!({})).await;
    assert_eq!(sse.stream.message().await["id"], 10);
}
