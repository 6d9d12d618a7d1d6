//! What servers ask of clients that opened a session, in the midst of their calls.

use std::time::Duration;

use backplane::exchange::{Answering, FollowUp};
use bytes::Bytes;
use domain::call::CallOutcome;
use edge::EdgeLimits;
use proto::internal::v1::{Finished, Notification, ServerRequest, finished};
use serde_json::{Value, json};

use crate::client::{Client, SseClient, message};
use crate::stage::{Stage, patient, soon, until};
use crate::worker::{Exchanges, Worker, ok, progress};

fn asks(id: &str, method: &str, params: &str) -> ServerRequest {
    let params = Bytes::copy_from_slice(params.as_bytes());
    ServerRequest { id: id.to_owned(), method: method.to_owned(), params }
}

/// The answer that the worker gets, under its own id.
async fn answer(answering: &Answering) -> (String, Result<String, String>) {
    let text = |raw: Bytes| String::from_utf8(raw.to_vec()).unwrap();
    match soon(answering.next_follow_up()).await {
        Some(FollowUp::Answer { id, answer }) => (id, answer.map(text).map_err(text)),
        other => panic!("no answer: {other:?}"),
    }
}

fn code(error: &str) -> i64 {
    serde_json::from_str::<Value>(error).unwrap()["code"].as_i64().unwrap()
}

async fn staged(limits: EdgeLimits, capabilities: Value) -> (Stage, Worker, Exchanges, Client) {
    let stage = Stage::with(limits).await;
    stage.world.add(1, "docs", &["find"]).await;
    let (worker, exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let mut client = stage.client();
    client.initialize_with("2025-11-25", capabilities).await;
    (stage, worker, exchanges, client)
}

fn all() -> Value {
    json!({"sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}, "roots": {}})
}

#[tokio::test]
async fn a_request_comes_on_the_stream_of_its_call_and_its_answer_goes_back() {
    let (stage, _worker, mut exchanges, client) = staged(patient(), all()).await;
    let calling = client.stream(7, "tools/call", json!({"name": "docs__find"}));
    let asking = async {
        let (open, answering) = exchanges.next().await;
        let peer = open.peer.clone().unwrap();
        assert!(peer.session.is_empty() && !peer.exclusive);
        assert_eq!(serde_json::from_slice::<Value>(&peer.capabilities).unwrap(), all());
        assert_eq!(peer.revision, "2025-11-25");
        let params = r#"{ "messages":[], "tools":[1.0], "maxTokens":5 }"#;
        answering.ask(asks("w1", "sampling/createMessage", params)).await.unwrap();
        answering
    };
    let (mut stream, answering) = tokio::join!(calling, asking);
    let asked = stream.message().await;
    assert_eq!(asked["method"], "sampling/createMessage");
    assert_eq!(asked["params"], json!({"messages": [], "tools": [1.0], "maxTokens": 5}));
    client.answer(&asked, json!({"role": "assistant", "n": 1})).await;
    let said = r#"{"n":1,"role":"assistant"}"#.to_owned();
    assert_eq!(answer(&answering).await, ("w1".to_owned(), Ok(said)));
    // A second answer leads nowhere.
    client.answer(&asked, json!({})).await;
    for (id, method) in [("w2", "elicitation/create"), ("w3", "roots/list"), ("w4", "ping")] {
        answering.ask(asks(id, method, "")).await.unwrap();
        let asked = stream.message().await;
        assert_eq!((asked["method"].as_str(), asked.get("params")), (Some(method), None));
        let error = json!({"code": -1, "message": "no"});
        let body = json!({"jsonrpc": "2.0", "id": asked["id"], "error": error});
        assert_eq!(client.send(body.to_string()).await.status(), 202);
        assert_eq!(answer(&answering).await.0, id);
    }
    answering.finish(ok("{}")).await.unwrap();
    assert_eq!(stream.message().await, json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
    stream.end().await;
    assert_eq!(stage.world.finished().len(), 1);
}

#[tokio::test]
async fn it_works_over_sse_too() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let mut sse = SseClient::open(&stage.client(), &stage.url).await;
    let params = json!({"protocolVersion": "2024-11-05", "capabilities": {"roots": {}}});
    sse.post(message(1, "initialize", &params)).await;
    sse.stream.message().await;
    sse.post(message(2, "tools/call", &json!({"name": "docs__find"}))).await;
    let (_, answering) = exchanges.next().await;
    answering.ask(asks("w", "roots/list", "")).await.unwrap();
    let asked = sse.stream.message().await;
    assert_eq!(asked["method"], "roots/list");
    let body = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"roots": []}});
    assert_eq!(sse.post(body.to_string()).await.status(), 202);
    assert_eq!(answer(&answering).await, ("w".to_owned(), Ok(r#"{"roots":[]}"#.to_owned())));
    answering.finish(ok("{}")).await.unwrap();
    assert_eq!(sse.stream.message().await["id"], 2);
}

#[tokio::test]
async fn a_client_is_not_asked_what_it_did_not_declare() {
    let capabilities = json!({"sampling": {}, "elicitation": {}});
    let (_stage, _worker, mut exchanges, client) = staged(patient(), capabilities).await;
    let calling = client.stream(1, "tools/call", json!({"name": "docs__find"}));
    let asking = async {
        let (_, answering) = exchanges.next().await;
        for (method, params, refused) in [
            ("roots/list", "", -32601),
            ("sampling/createMessage", r#"{"tools":[]}"#, -32602),
            ("elicitation/create", r#"{"mode":"url"}"#, -32602),
        ] {
            answering.ask(asks("w", method, params)).await.unwrap();
            let (id, answer) = answer(&answering).await;
            assert_eq!((id.as_str(), code(&answer.unwrap_err())), ("w", refused), "{method}");
        }
        answering.finish(ok("{}")).await.unwrap();
    };
    let (mut stream, ()) = soon(async { tokio::join!(calling, asking) }).await;
    // It heard of none of it.
    assert_eq!(stream.message().await, json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
}

#[tokio::test]
async fn a_client_without_streams_cannot_be_asked() {
    let (_stage, _worker, mut exchanges, mut client) = staged(patient(), all()).await;
    client.accept = "application/json";
    let calling = client.call("docs__find", json!({}));
    let asking = async {
        let (_, answering) = exchanges.next().await;
        answering.ask(asks("w", "roots/list", "")).await.unwrap();
        assert_eq!(code(&answer(&answering).await.1.unwrap_err()), -32000);
        answering.finish(ok("{}")).await.unwrap();
    };
    let (answer, ()) = tokio::join!(calling, asking);
    assert_eq!(answer["result"], json!({}));
}

#[tokio::test]
async fn how_much_waits_and_how_long_is_limited() {
    let limits =
        EdgeLimits { client_requests: 2, client_answer: Duration::from_millis(100), ..patient() };
    let (_stage, _worker, mut exchanges, client) = staged(limits, all()).await;
    let calling = client.stream(1, "tools/call", json!({"name": "docs__find"}));
    let asking = async {
        let (_, answering) = exchanges.next().await;
        for id in ["1", "2", "3"] {
            answering.ask(asks(id, "roots/list", "")).await.unwrap();
        }
        answering
    };
    let (_stream, answering) = tokio::join!(calling, asking);
    let (id, refused) = answer(&answering).await;
    assert_eq!((id.as_str(), code(&refused.unwrap_err())), ("3", -32000));
    // The client says nothing.
    let mut late = vec![answer(&answering).await, answer(&answering).await];
    late.sort_by(|one, two| one.0.cmp(&two.0));
    for (expected, (id, answer)) in ["1", "2"].into_iter().zip(late) {
        assert_eq!((id.as_str(), code(&answer.unwrap_err())), (expected, -32603));
    }
    answering.finish(ok("{}")).await.unwrap();
}

#[tokio::test]
async fn what_is_taken_back_is_told_under_the_clients_id() {
    let (_stage, _worker, mut exchanges, client) = staged(patient(), all()).await;
    let calling = client.stream(1, "tools/call", json!({"name": "docs__find"}));
    let asking = async {
        let (_, answering) = exchanges.next().await;
        answering.ask(asks("1", "roots/list", "")).await.unwrap();
        answering.ask(asks("2", "roots/list", "")).await.unwrap();
        let (method, params) =
            ("notifications/cancelled".to_owned(), r#"{"requestId":"1"}"#.into());
        answering.notify(Notification { method, params }).await.unwrap();
        answering
    };
    let (mut stream, answering) = tokio::join!(calling, asking);
    let (first, second) = (stream.message().await, stream.message().await);
    let cancelled = stream.message().await;
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], first["id"]);
    // The end of a call takes back what is left, before its answer.
    answering.finish(ok("{}")).await.unwrap();
    assert_eq!(stream.message().await["params"]["requestId"], second["id"]);
    assert_eq!(stream.message().await["id"], 1);
    stream.end().await;
}

#[tokio::test]
async fn a_clients_progress_goes_back_under_the_servers_token() {
    let (_stage, _worker, mut exchanges, client) = staged(patient(), all()).await;
    let calling = client.stream(1, "tools/call", json!({"name": "docs__find"}));
    let asking = async {
        let (_, answering) = exchanges.next().await;
        let params = r#"{"_meta":{"progressToken":7}}"#;
        answering.ask(asks("1", "roots/list", params)).await.unwrap();
        answering
    };
    let (mut stream, answering) = tokio::join!(calling, asking);
    let asked = stream.message().await;
    let token = &asked["params"]["_meta"]["progressToken"];
    assert_ne!(*token, json!(7));
    client.notify("notifications/progress", json!({"progress": 1, "progressToken": token})).await;
    let Some(FollowUp::Notification(said)) = soon(answering.next_follow_up()).await else {
        panic!("no progress");
    };
    assert_eq!(said.params, r#"{"progress":1,"progressToken":7}"#);
    answering.finish(ok("{}")).await.unwrap();
}

#[tokio::test]
async fn a_request_that_wants_a_url_first_passes() {
    let (_stage, _worker, mut exchanges, client) = staged(patient(), all()).await;
    let error = r#"{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","elicitationId":"1","url":"https://x.example/1"}]}}"#;
    let calling = client.call("docs__find", json!({}));
    let answering = async {
        let (_, answering) = exchanges.next().await;
        let answer = Some(finished::Answer::Error(error.into()));
        answering.finish(Finished { answer, ..ok("") }).await.unwrap();
    };
    let (answer, ()) = tokio::join!(calling, answering);
    assert_eq!(answer["error"], serde_json::from_str::<Value>(error).unwrap());
}

#[tokio::test]
async fn a_batch_in_which_something_is_asked_becomes_a_stream() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let mut client = stage.client();
    client.initialize_with("2025-03-26", json!({"roots": {}})).await;
    let call = |id| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "docs__find"}});
    let batch = json!([call(1), {"jsonrpc": "2.0", "id": 2, "method": "ping"}, call(3)]);
    let calling = client.send(batch.to_string());
    let asking = async {
        let (one, two) = (exchanges.next().await.1, exchanges.next().await.1);
        one.notify(progress(1)).await.unwrap();
        one.ask(asks("w", "roots/list", "")).await.unwrap();
        (one, two)
    };
    let (response, (one, two)) = tokio::join!(calling, asking);
    let mut stream = crate::client::Stream::new(response);
    assert_eq!(stream.message().await["id"], 2);
    assert_eq!(stream.message().await["method"], "notifications/progress");
    let asked = stream.message().await;
    client.answer(&asked, json!({"roots": []})).await;
    assert_eq!(answer(&one).await.0, "w");
    two.finish(ok("{}")).await.unwrap();
    one.finish(ok("{}")).await.unwrap();
    let mut ids = [stream.message().await["id"].clone(), stream.message().await["id"].clone()];
    ids.sort_by_key(Value::as_u64);
    assert_eq!(ids, [json!(1), json!(3)]);
    stream.end().await;
}

#[tokio::test]
async fn a_client_that_left_does_not_hold_up_its_call() {
    let limits = EdgeLimits { client_answer: Duration::from_millis(50), ..patient() };
    let (stage, _worker, mut exchanges, client) = staged(limits, all()).await;
    let calling = client.stream(1, "tools/call", json!({"name": "docs__find"}));
    let asking = async {
        let (_, answering) = exchanges.next().await;
        answering.ask(asks("w", "roots/list", "")).await.unwrap();
        answering
    };
    let (stream, answering) = tokio::join!(calling, asking);
    drop(stream);
    assert!(answer(&answering).await.1.is_err());
    answering.finish(ok("{}")).await.unwrap();
    until("it is recorded", || stage.world.finished().len() == 1).await;
    assert_eq!(stage.world.finished()[0].0.outcome, CallOutcome::Ok);
}

#[tokio::test]
async fn a_server_hears_of_its_own_tasks_of_the_client_alone() {
    let stage = Stage::with(patient()).await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.world.add(2, "time", &["now"]).await;
    let (_docs, mut of_docs) = Worker::by_hand(&stage.world, 1).await;
    let (_time, mut of_time) = Worker::by_hand(&stage.world, 2).await;
    stage.settled().await;
    let mut client = stage.client();
    let capabilities = json!({"sampling": {}, "tasks": {"list": {}, "cancel": {}}});
    client.initialize_with("2025-11-25", capabilities).await;
    let first = client.stream(1, "tools/call", json!({"name": "docs__find"}));
    let asking = async {
        let (_, answering) = of_docs.next().await;
        let params = r#"{"messages":[],"task":{"ttl":1}}"#;
        answering.ask(asks("1", "sampling/createMessage", params)).await.unwrap();
        answering
    };
    let (mut docs_stream, docs) = tokio::join!(first, asking);
    let asked = docs_stream.message().await;
    client.answer(&asked, json!({"task": {"taskId": "t", "status": "working"}})).await;
    assert_eq!(answer(&docs).await.0, "1");
    let second = client.stream(2, "tools/call", json!({"name": "time__now"}));
    let asking = async {
        let (_, answering) = of_time.next().await;
        answering.ask(asks("2", "tasks/result", r#"{"taskId":"t"}"#)).await.unwrap();
        answering
    };
    let (mut time_stream, time) = tokio::join!(second, asking);
    assert_eq!(code(&answer(&time).await.1.unwrap_err()), -32602);
    time.ask(asks("3", "tasks/list", "")).await.unwrap();
    docs.ask(asks("4", "tasks/list", "")).await.unwrap();
    docs.ask(asks("5", "tasks/get", r#"{"taskId":"t"}"#)).await.unwrap();
    let list = json!({"tasks": [{"taskId": "t"}]});
    client.answer(&time_stream.message().await, list.clone()).await;
    assert_eq!(answer(&time).await.1, Ok(r#"{"tasks":[]}"#.to_owned()));
    client.answer(&docs_stream.message().await, list.clone()).await;
    assert_eq!(answer(&docs).await.1, Ok(list.to_string()));
    client.answer(&docs_stream.message().await, json!({"taskId": "t"})).await;
    assert_eq!(answer(&docs).await, ("5".to_owned(), Ok(r#"{"taskId":"t"}"#.to_owned())));
    for answering in [docs, time] {
        answering.finish(ok("{}")).await.unwrap();
    }
}
