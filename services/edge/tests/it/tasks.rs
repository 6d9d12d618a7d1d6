//! Tasks of 2025-11-25, and completion: routed by what only their server knows.

use domain::server::Isolation;
use proto::events::v1::CallOutcome;
use proto::internal::v1::{Finished, Notification};
use serde_json::{Value, json};

use crate::client::{Client, message};
use crate::stage::{Stage, patient, soon};
use crate::worker::{Exchanges, Worker, ok};
use crate::world::KEY;

const TASKS: &str = r#"{"completions":{},"logging":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#;

async fn staged() -> (Stage, Worker, Exchanges, Client) {
    let stage = Stage::with(patient()).await;
    stage.world.add_with(1, "docs", Isolation::Shared, TASKS).await;
    stage.world.add_with(2, "time", Isolation::Shared, TASKS).await;
    let (worker, exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let mut client = stage.client();
    client.initialize("2025-11-25").await;
    (stage, worker, exchanges, client)
}

/// The answer to a request that the worker sees as `seen` and answers with `said`.
async fn routed(
    client: &Client,
    exchanges: &mut Exchanges,
    (method, params): (&str, Value),
    (seen, said): (Value, &str),
) -> Value {
    let answering = async {
        let (open, answering) = exchanges.next().await;
        assert_eq!(open.method, method);
        assert_eq!(serde_json::from_slice::<Value>(&open.params).unwrap(), seen);
        answering.finish(ok(said)).await.unwrap();
    };
    tokio::join!(client.request(method, params), answering).0
}

async fn make_task(client: &Client, exchanges: &mut Exchanges, id: &str) -> String {
    let call = json!({"name": "docs__find", "task": {"ttl": 1}});
    let seen = json!({"name": "find", "task": {"ttl": 1}});
    let said = format!(r#"{{"task":{{"taskId":"{id}","status":"working"}}}}"#);
    let answer = routed(client, exchanges, ("tools/call", call), (seen, &said)).await;
    answer["result"]["task"]["taskId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_task_is_asked_for_by_the_id_that_its_client_was_told() {
    let (_stage, _worker, mut exchanges, client) = staged().await;
    let id = make_task(&client, &mut exchanges, "7").await;
    assert_ne!(id, "7");
    for (method, said) in [
        ("tasks/get", r#"{"taskId":"7","status":"working"}"#),
        ("tasks/cancel", r#"{"taskId":"7","status":"cancelled"}"#),
    ] {
        let asked = (method, json!({"taskId": id}));
        let answer = routed(&client, &mut exchanges, asked, (json!({"taskId": "7"}), said)).await;
        assert_eq!(answer["result"]["taskId"], id);
    }
    let said = r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"7"}}}"#;
    let asked = ("tasks/result", json!({"taskId": id}));
    let answer = routed(&client, &mut exchanges, asked, (json!({"taskId": "7"}), said)).await;
    let related = &answer["result"]["_meta"]["io.modelcontextprotocol/related-task"];
    assert_eq!(related["taskId"], id);
    let answer = client.request("tasks/get", json!({"taskId": "7"})).await;
    assert_eq!(answer["error"]["code"], -32602);
}

#[tokio::test]
async fn a_task_of_another_key_is_unknown_where_clients_share_a_connection() {
    let (stage, _worker, mut exchanges, client) = staged().await;
    let id = make_task(&client, &mut exchanges, "7").await;
    stage.world.issue("api_key_second", domain::Role::Owner, None).await;
    stage.settled().await;
    let mut second = stage.client_of("/projects/search/unified", "api_key_second");
    second.initialize("2025-11-25").await;
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        // Nothing is sent: there is nobody who would answer.
        let answer = second.request(method, json!({"taskId": id})).await;
        assert_eq!(answer["error"]["code"], -32602, "{method}: {answer}");
    }
}

#[tokio::test]
async fn a_list_holds_the_keys_own_tasks_of_all_servers() {
    let (stage, _worker, mut exchanges, client) = staged().await;
    let id = make_task(&client, &mut exchanges, "7").await;
    let (_time, mut of_time) = Worker::by_hand(&stage.world, 2).await;
    let listing = client.request("tasks/list", json!({}));
    let answering = async {
        let (open, answering) = exchanges.next().await;
        assert_eq!((open.method.as_str(), &open.params[..]), ("tasks/list", b"{}".as_slice()));
        let page = r#"{"tasks":[{"taskId":"7","n":1.0},{"taskId":"8"}],"nextCursor":"c"}"#;
        answering.finish(ok(page)).await.unwrap();
        let (open, answering) = exchanges.next().await;
        assert_eq!(open.params, r#"{"cursor":"c"}"#);
        answering.finish(ok(r#"{"tasks":[{"taskId":"9"}]}"#)).await.unwrap();
    };
    let others = async {
        let (_, answering) = of_time.next().await;
        answering.finish(ok(r#"{"tasks":[{"taskId":"7"}]}"#)).await.unwrap();
    };
    let (answer, ..) = tokio::join!(listing, answering, others);
    assert_eq!(answer["result"], json!({"tasks": [{"taskId": id, "n": 1.0}]}));
}

#[tokio::test]
async fn a_tasks_state_is_told_to_those_whose_it_is() {
    let (stage, _worker, mut exchanges, client) = staged().await;
    let id = make_task(&client, &mut exchanges, "7").await;
    let mut mine = client.listen().await;
    let (_, attachment) = exchanges.next().await;
    stage.world.issue("api_key_second", domain::Role::Owner, None).await;
    stage.settled().await;
    let mut second = stage.client_of("/projects/search/unified", "api_key_second");
    second.initialize("2025-11-25").await;
    let mut others = second.listen().await;
    let mut third = stage.client_of("/projects/search/unified", KEY);
    third.initialize("2025-11-25").await;
    let mut same_key = third.listen().await;
    for (method, params) in [
        ("notifications/tasks/status", r#"{"taskId":"7","status":"completed"}"#),
        ("notifications/message", r#"{"level":"error","data":"all"}"#),
    ] {
        let (method, params) = (method.to_owned(), params.into());
        attachment.notify(Notification { method, params }).await.unwrap();
    }
    for stream in [&mut mine, &mut same_key] {
        assert_eq!(stream.message().await["params"]["taskId"], id);
    }
    for stream in [&mut mine, &mut same_key, &mut others] {
        assert_eq!(stream.message().await["method"], "notifications/message");
    }
}

#[tokio::test]
async fn completion_goes_to_the_server_of_what_is_referred_to() {
    let (_stage, _worker, mut exchanges, client) = staged().await;
    let complete = "completion/complete";
    let argument = json!({"name": "x", "value": "d"});
    let said = r#"{ "completion":{"values":["docs__find"],"total":1.0} }"#;
    for (asked, seen) in [
        (
            json!({"type": "ref/prompt", "name": "docs__greet"}),
            json!({"type": "ref/prompt", "name": "greet"}),
        ),
        (
            json!({"type": "ref/resource", "uri": "mcp+docs+file:///{x}"}),
            json!({"type": "ref/resource", "uri": "file:///{x}"}),
        ),
    ] {
        let asked = json!({"ref": asked, "argument": argument});
        let seen = json!({"ref": seen, "argument": argument});
        let answer = routed(&client, &mut exchanges, (complete, asked), (seen, said)).await;
        assert_eq!(answer["result"]["completion"]["values"], json!(["docs__find"]));
    }
    for unknown in [
        json!({"type": "ref/prompt", "name": "greet"}),
        json!({"type": "ref/resource", "uri": "file:///a"}),
        json!({"type": "ref/else", "uri": "file:///a"}),
        json!({}),
    ] {
        let answer = client.request(complete, json!({"ref": unknown, "argument": argument})).await;
        assert_eq!(answer["error"]["code"], -32602, "{unknown}");
    }
}

#[tokio::test]
async fn a_list_of_tasks_is_cancelled_at_all_servers() {
    let (stage, _worker, mut exchanges, client) = staged().await;
    let (_other, mut of_time) = Worker::by_hand(&stage.world, 2).await;
    let listing = tokio::spawn({
        let client = client.clone();
        async move { client.send(message(42, "tasks/list", &json!({}))).await }
    });
    let (docs, time) = tokio::join!(exchanges.next(), of_time.next());
    client.notify("notifications/cancelled", json!({"requestId": 42})).await;
    for (_, answering) in [docs, time] {
        assert!(soon(answering.cancelled()).await.is_some());
        let finished = Finished { outcome: CallOutcome::Cancelled.into(), ..Finished::default() };
        answering.finish(finished).await.unwrap();
    }
    soon(listing).await.unwrap();
}
