//! Clients that opened a session, on servers of the stateless era: what such a server requires as
//! input is asked of the client, and the call goes on with it.

use backplane::exchange::Answering;
use domain::call::CallOutcome;
use domain::server::Isolation;
use proto::internal::v1::ExchangeOpen;
use serde_json::{Value, json};

use crate::client::{Client, SseClient, message};
use crate::stage::{Stage, patient, until};
use crate::worker::{Exchanges, Worker, ok};

const REQUIRED: &str = r#"{"resultType":"input_required","requestState":"s 1","inputRequests":{
    "who":{"method":"elicitation/create","params":{"message":"who?"}},
    "roots":{"method":"roots/list"}}}"#;

async fn staged() -> (Stage, Worker, Exchanges, Client) {
    let stage = Stage::with(patient()).await;
    stage.world.add_with(1, "docs", Isolation::Shared, "{}").await;
    let (worker, exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let mut client = stage.client();
    let capabilities = json!({"elicitation": {}, "roots": {}});
    client.initialize_with("2025-11-25", capabilities).await;
    (stage, worker, exchanges, client)
}

fn params(open: &ExchangeOpen) -> Value {
    serde_json::from_slice(&open.params).unwrap()
}

async fn require(answering: Answering) {
    answering.finish(ok(REQUIRED)).await.unwrap();
}

#[tokio::test]
async fn what_is_required_is_asked_and_the_call_goes_on_as_one() {
    let (stage, worker, mut exchanges, client) = staged().await;
    let arguments = json!({"name": "docs__find", "arguments": {"a": 1.0}});
    let calling = client.stream(1, "tools/call", arguments);
    let requiring = async {
        let (open, answering) = exchanges.next().await;
        let call = open.call_id.clone();
        require(answering).await;
        call
    };
    let (mut stream, call) = tokio::join!(calling, requiring);
    let (who, roots) = (stream.message().await, stream.message().await);
    assert_eq!(
        (&who["method"], &who["params"]),
        (&json!("elicitation/create"), &json!({"message": "who?"}))
    );
    assert_eq!(roots["method"], "roots/list");
    client.answer(&roots, json!({"roots": []})).await;
    client.answer(&who, json!({"action": "accept", "content": {"n": 1}})).await;
    let (open, answering) = exchanges.next().await;
    assert_eq!(open.call_id, call);
    let expected = json!({
        "name": "find", "arguments": {"a": 1.0}, "requestState": "s 1",
        "inputResponses": {"who": {"action": "accept", "content": {"n": 1}}, "roots": {"roots": []}},
    });
    assert_eq!(params(&open), expected);
    // Once more, without anything to ask.
    let again = r#"{"resultType":"input_required","requestState":"s 2"}"#;
    answering.finish(ok(again)).await.unwrap();
    let (open, answering) = exchanges.next().await;
    let expected = json!({"name": "find", "arguments": {"a": 1.0}, "requestState": "s 2"});
    assert_eq!(params(&open), expected);
    answering.finish(ok(r#"{"resultType":"complete","content":[]}"#)).await.unwrap();
    assert_eq!(stream.message().await["result"]["content"], json!([]));
    stream.end().await;
    assert_eq!(worker.seen(), 3);
    let finished = stage.world.finished();
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0].0.upstream_us, 21);
}

#[tokio::test]
async fn it_works_over_sse_too() {
    let (stage, _worker, mut exchanges, _) = staged().await;
    let mut sse = SseClient::open(&stage.client(), &stage.url).await;
    let capabilities = json!({"elicitation": {}, "roots": {}});
    let opening = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities});
    sse.post(message(1, "initialize", &opening)).await;
    sse.stream.message().await;
    sse.post(message(2, "tools/call", &json!({"name": "docs__find"}))).await;
    require(exchanges.next().await.1).await;
    for _ in 0..2 {
        let asked = sse.stream.message().await;
        let body = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"r": 1}});
        sse.post(body.to_string()).await;
    }
    let (open, answering) = exchanges.next().await;
    assert_eq!(params(&open)["inputResponses"], json!({"who": {"r": 1}, "roots": {"r": 1}}));
    answering.finish(ok("{}")).await.unwrap();
    assert_eq!(sse.stream.message().await["id"], 2);
}

#[tokio::test]
async fn a_client_that_refuses_ends_the_call() {
    let (stage, _worker, mut exchanges, client) = staged().await;
    let calling = client.stream(1, "tools/call", json!({"name": "docs__find"}));
    let (mut stream, ()) = tokio::join!(calling, async { require(exchanges.next().await.1).await });
    let who = stream.message().await;
    let error = json!({"code": -1, "message": "no"});
    let body = json!({"jsonrpc": "2.0", "id": who["id"], "error": error});
    client.send(body.to_string()).await;
    let answer = loop {
        let said = stream.message().await;
        if said["id"] == 1 {
            break said;
        }
    };
    assert_eq!(answer["error"], error);
    assert_eq!(stage.world.finished()[0].0.outcome, CallOutcome::UpstreamError);
}

#[tokio::test]
async fn a_client_that_cannot_be_asked_gets_an_error() {
    let (_stage, _worker, mut exchanges, _) = staged().await;
    let mut client = _stage.client();
    client.initialize("2025-11-25").await;
    let calling = client.stream(1, "tools/call", json!({"name": "docs__find"}));
    let (mut stream, ()) = tokio::join!(calling, async { require(exchanges.next().await.1).await });
    assert_eq!(stream.message().await["error"]["code"], -32601);
}

#[tokio::test]
async fn rounds_are_bounded() {
    let (stage, worker, mut exchanges, client) = staged().await;
    let calling = client.call("docs__find", json!({}));
    let requiring = async {
        for _ in 0..11 {
            let again = r#"{"resultType":"input_required","requestState":"s"}"#;
            exchanges.next().await.1.finish(ok(again)).await.unwrap();
        }
    };
    let (answer, ()) = tokio::join!(calling, requiring);
    assert_eq!(answer["error"]["data"]["reason"], "UPSTREAM_UNAVAILABLE");
    assert_eq!((worker.seen(), stage.world.finished().len()), (11, 1));
}

#[tokio::test]
async fn a_call_that_waits_for_input_can_be_cancelled() {
    let (stage, worker, mut exchanges, client) = staged().await;
    let calling = client.stream(1, "tools/call", json!({"name": "docs__find"}));
    let (mut stream, ()) = tokio::join!(calling, async { require(exchanges.next().await.1).await });
    stream.message().await;
    client.notify("notifications/cancelled", json!({"requestId": 1})).await;
    until("it is recorded", || stage.world.finished().len() == 1).await;
    assert_eq!(stage.world.finished()[0].0.outcome, CallOutcome::Cancelled);
    stream.end().await;
    assert_eq!(worker.seen(), 1);
}
