//! Stateless clients on stateless upstreams: what both speak passes, signed where it comes back.
//! And tasks, those of older upstreams included.

use backplane::exchange::FollowUp;
use bytes::Bytes;
use proto::events::v1::CallOutcome;
use proto::internal::v1::{Finished, ServerRequest, finished};
use serde_json::{Value, json};

use crate::stage::{Stage, soon};
use crate::stateless_client::{SERVER_KEY, Stateless, VERSION, retry};
use crate::worker::{Worker, ok};

/// A server of this revision with tasks, and a second one.
async fn started() -> (Stage, Stateless) {
    let stage = Stage::start().await;
    for (number, name) in [(1, "docs"), (2, "time")] {
        stage.world.register(number, name).await;
        let catalogue = json!({
            "protocolVersion": VERSION,
            "capabilities": {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}},
            "tools": [{"name": "find"}], "resources": [], "resourceTemplates": [],
            "prompts": [{"name": "greet"}],
        });
        stage.world.observe_whole_catalogue(number, &catalogue.to_string()).await;
    }
    stage.settled().await;
    let client = Stateless::new(&stage);
    (stage, client)
}

fn seen(params: &Bytes) -> Value {
    serde_json::from_slice(params).unwrap()
}

const ASKS: &str = r#"{"resultType":"input_required","requestState":"own state","inputRequests":
    {"name":{"method":"elicitation/create","params":{"message":"?"}}},"x":1.0}"#;

#[tokio::test]
async fn an_upstreams_state_is_signed_on_the_way_out_and_its_own_on_the_way_back() {
    let (stage, client) = started().await;
    let worker = Worker::start(&stage.world, 1, async |open, answering| {
        let params = seen(&open.params);
        if params["inputResponses"].is_null() {
            assert_eq!(params.get("requestState"), None);
            answering.finish(ok(ASKS)).await.unwrap();
            return;
        }
        assert_eq!(params["requestState"], "own state");
        assert_eq!(params["inputResponses"]["name"]["action"], "accept");
        answering.finish(ok(r#"{"resultType":"complete","content":[]}"#)).await.unwrap();
    })
    .await;
    for (method, name) in [("tools/call", "docs__find"), ("prompts/get", "docs__greet")] {
        let params = json!({"name": name, "arguments": {"a": "1"}});
        let asked = client.result(method, params.clone()).await;
        assert_eq!(asked["resultType"], "input_required");
        assert_eq!(asked["inputRequests"]["name"]["method"], "elicitation/create");
        assert_eq!((&asked["x"], asked.get("ttlMs")), (&json!(1.0), None));
        assert_eq!(asked["_meta"][SERVER_KEY]["name"], "mcp-orch");
        assert_ne!(asked["requestState"], "own state");
        let responses = json!({"name": {"action": "accept", "content": {}}});
        let good = retry(&params, &asked, responses);
        let ran = worker.seen();
        let mut tampered = good.clone();
        let state = asked["requestState"].as_str().unwrap();
        tampered["requestState"] = json!(format!("{state}-TAMPERED"));
        assert_eq!(client.refused(method, tampered).await.1["code"], -32602);
        let mut own = good.clone();
        own["requestState"] = json!("own state");
        assert_eq!(client.refused(method, own).await.1["code"], -32602);
        let mut elsewhere = good.clone();
        elsewhere["name"] = json!(name.replace("docs", "time"));
        assert_eq!(client.refused(method, elsewhere).await.1["code"], -32602);
        assert_eq!(worker.seen(), ran);
        let done = client.result(method, good).await;
        assert_eq!(done["resultType"], "complete");
    }
}

#[tokio::test]
async fn answers_without_a_state_are_the_upstreams_matter() {
    let (stage, client) = started().await;
    let _worker = Worker::start(&stage.world, 1, async |open, answering| {
        let result = format!(r#"{{"content":[],"seen":{}}}"#, seen(&open.params));
        answering.finish(ok(&result)).await.unwrap();
    })
    .await;
    let params = json!({"name": "docs__find", "inputResponses": {"wrong_key": {"a": 1}}});
    let done = client.result("tools/call", params).await;
    assert_eq!(done["seen"]["inputResponses"], json!({"wrong_key": {"a": 1}}));
    let null = json!({"name": "docs__find", "inputResponses": null});
    assert_eq!(client.refused("tools/call", null).await.1["code"], -32602);
}

#[tokio::test]
async fn an_upstream_that_asks_too_much_is_refused() {
    let (stage, client) = started().await;
    let _worker = Worker::start(&stage.world, 1, async |_, answering| {
        answering.finish(ok(ASKS)).await.unwrap();
    })
    .await;
    let (status, error) = client
        .with(json!({"sampling": {}}))
        .refused("tools/call", json!({"name": "docs__find"}))
        .await;
    assert_eq!((status, &error["code"]), (400, &json!(-32021)));
    assert_eq!(error["data"]["requiredCapabilities"], json!({"elicitation": {"form": {}}}));
}

#[tokio::test]
async fn tasks_are_the_extensions_and_lead_to_their_server() {
    let (stage, client) = started().await;
    let worker = Worker::start(&stage.world, 1, async |open, answering| {
        let result = match open.method.as_str() {
            "tools/call" => r#"{"resultType":"task","taskId":"t 1","status":"working","ttlMs":null}"#,
            "tasks/get" => {
                assert_eq!(seen(&open.params), json!({"taskId": "t 1"}));
                r#"{"resultType":"complete","taskId":"t 1","status":"completed","result":{"content":[]}}"#
            }
            "tasks/update" => {
                assert_eq!(seen(&open.params)["inputResponses"], json!({"a": {"x": 1}}));
                "{}"
            }
            "tasks/cancel" => r#"{"resultType":"complete"}"#,
            other => panic!("{other}"),
        };
        answering.finish(ok(result)).await.unwrap();
    })
    .await;
    let discovered = client.result("server/discover", json!({})).await;
    let tasks = "io.modelcontextprotocol/tasks";
    assert!(discovered["capabilities"]["extensions"][tasks].is_object(), "{discovered}");

    // Who did not declare the extension gets no task, and asks about none.
    let (status, error) = client.refused("tools/call", json!({"name": "docs__find"})).await;
    assert_eq!((status, &error["code"]), (400, &json!(-32021)));
    assert!(error["data"]["requiredCapabilities"]["extensions"][tasks].is_object(), "{error}");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let (status, error) = client.refused(method, json!({"taskId": "x"})).await;
        assert_eq!((status, &error["code"]), (400, &json!(-32021)), "{method}");
    }

    let able = client.with(json!({"extensions": {tasks: {}}}));
    let made = able.call("docs__find", json!({})).await;
    assert_eq!((&made["resultType"], &made["status"]), (&json!("task"), &json!("working")));
    let id = made["taskId"].clone();
    assert_ne!(id, "t 1");
    let got = able.result("tasks/get", json!({"taskId": id})).await;
    assert_eq!((&got["taskId"], &got["status"]), (&id, &json!("completed")));
    assert_eq!(got["resultType"], "complete");
    let update = json!({"taskId": id, "inputResponses": {"a": {"x": 1}}});
    let updated = able.result("tasks/update", update).await;
    assert_eq!(updated["resultType"], "complete");
    let cancelled = able.result("tasks/cancel", json!({"taskId": id})).await;
    assert_eq!(cancelled["resultType"], "complete");
    let ran = worker.seen();
    for params in [json!({"taskId": "nobody's"}), json!({}), json!({"taskId": 1})] {
        let (status, error) = able.refused("tasks/get", params).await;
        assert_eq!((status, &error["code"]), (200, &json!(-32602)));
    }
    assert_eq!(worker.seen(), ran);
}

#[tokio::test]
async fn tasks_of_the_older_kind_are_told_as_those_of_the_extension() {
    let stage = Stage::start().await;
    stage.world.register(1, "docs").await;
    let catalogue = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}, "tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}}},
        "tools": [
            {"name": "slow", "execution": {"taskSupport": "required"}},
            {"name": "either", "execution": {"taskSupport": "optional"}},
            {"name": "fast"},
        ],
        "resources": [], "resourceTemplates": [], "prompts": [],
    });
    stage.world.observe_whole_catalogue(1, &catalogue.to_string()).await;
    let _worker = Worker::start(&stage.world, 1, async |open, answering| {
        let params = seen(&open.params);
        let id = params["taskId"].as_str().unwrap_or_default();
        let task = |status: &str| {
            format!(r#"{{"taskId":"{id}","status":"{status}","ttl":60000,"pollInterval":50}}"#)
        };
        let finished = match (open.method.as_str(), id) {
            ("tools/call", _) if params["task"].is_object() => {
                assert_ne!(params["name"], "fast");
                ok(r#"{"task":{"taskId":"1","status":"working","ttl":null}}"#)
            }
            ("tools/call", _) => {
                assert_ne!(params["name"], "slow");
                ok(r#"{"content":[]}"#)
            }
            ("tasks/get", "1") => ok(&task("working")),
            ("tasks/get", "2") => ok(&task("completed")),
            ("tasks/get", "3" | "4") => ok(&task("failed")),
            ("tasks/result", "2") => ok(
                r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"2"}}}"#,
            ),
            ("tasks/result", "3") => ok(r#"{"content":[],"isError":true}"#),
            ("tasks/cancel", "1") => ok(&task("cancelled")),
            _ => error(r#"{"code":-32602,"message":"no"}"#, -32602),
        };
        answering.finish(finished).await.unwrap();
    })
    .await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    let tasks = "io.modelcontextprotocol/tasks";
    let discovered = client.result("server/discover", json!({})).await;
    assert_eq!(discovered["capabilities"]["extensions"], json!({tasks: {}}));
    assert_eq!(discovered["capabilities"].get("tasks"), None);

    assert_eq!(client.call("docs__fast", json!({})).await["resultType"], "complete");
    let (status, refused) = client.refused("tools/call", json!({"name": "docs__slow"})).await;
    assert_eq!((status, &refused["code"]), (400, &json!(-32021)));

    let able = client.with(json!({"extensions": {tasks: {}}}));
    assert_eq!(able.call("docs__fast", json!({})).await["resultType"], "complete");
    let hinted = json!({"name": "docs__fast", "task": {"ttl": 1}});
    assert_eq!(able.result("tools/call", hinted).await["resultType"], "complete");
    assert_eq!(client.call("docs__either", json!({})).await["resultType"], "complete");
    assert_eq!(able.call("docs__either", json!({})).await["resultType"], "task");
    let made = able.call("docs__slow", json!({})).await;
    assert_eq!((&made["resultType"], &made["ttlMs"]), (&json!("task"), &Value::Null));
    assert_eq!(made.get("task"), None);
    let prefix = made["taskId"].as_str().unwrap().strip_suffix('1').unwrap().to_owned();
    let get =
        async |id: &str| able.result("tasks/get", json!({"taskId": format!("{prefix}{id}")})).await;
    let working = get("1").await;
    assert_eq!((&working["taskId"], &working["status"]), (&made["taskId"], &json!("working")));
    assert_eq!((&working["ttlMs"], &working["pollIntervalMs"]), (&json!(60000), &json!(50)));
    let completed = get("2").await;
    assert_eq!(completed["result"], json!({"content": [], "_meta": {}}));
    // A tool that ran and failed has completed, as the extension sees it.
    let ran = get("3").await;
    assert_eq!((&ran["status"], &ran["result"]["isError"]), (&json!("completed"), &json!(true)));
    let failed = get("4").await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!(-32602)));
    for id in ["1", "2"] {
        let params = json!({"taskId": format!("{prefix}{id}")});
        let cancelled = able.result("tasks/cancel", params).await;
        assert_eq!(cancelled["resultType"], "complete");
        assert_eq!(cancelled.get("status"), None);
    }
    let unknown = json!({"taskId": format!("{prefix}9")});
    assert_eq!(able.refused("tasks/cancel", unknown).await.1["code"], -32602);
}

fn error(error: &'static str, code: i32) -> Finished {
    Finished {
        answer: Some(finished::Answer::Error(error.into())),
        outcome: CallOutcome::UpstreamError.into(),
        error_code: code,
        ..Finished::default()
    }
}

#[tokio::test]
async fn a_task_of_the_older_kind_gets_its_input_through_updates() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let tasks = "io.modelcontextprotocol/tasks";
    let client = Stateless::new(&stage).with(json!({"elicitation": {}, "extensions": {tasks: {}}}));
    let id = "mcp+docs+1";
    let about = json!({"taskId": id});
    let state = |status: &str| ok(&format!(r#"{{"taskId":"1","status":"{status}","ttl":1}}"#));

    // The first look opens the request over which the server asks.
    let looking = client.result("tasks/get", about.clone());
    let asking = async {
        let (open, answering) = exchanges.next().await;
        assert_eq!(open.method, "tasks/get");
        answering.finish(state("input_required")).await.unwrap();
        let (open, answering) = exchanges.next().await;
        assert_eq!(
            (open.method.as_str(), &open.params[..]),
            ("tasks/result", br#"{"taskId":"1"}"#.as_slice())
        );
        for id in ["a", "b"] {
            let (id, method) = (id.to_owned(), "elicitation/create".to_owned());
            let params = r#"{"message":"?"}"#.into();
            answering.ask(ServerRequest { id, method, params }).await.unwrap();
        }
        answering
    };
    let (asked, held) = tokio::join!(looking, asking);
    assert_eq!((&asked["status"], &asked["taskId"]), (&json!("input_required"), &json!(id)));
    assert_eq!(asked["inputRequests"].as_object().unwrap().len(), 2, "{asked}");
    assert_eq!(asked["inputRequests"]["a"]["method"], "elicitation/create");

    let accept = json!({"action": "accept", "content": {}});
    let update = async |responses: Value| {
        client.ask("tasks/update", json!({"taskId": id, "inputResponses": responses})).await.1
    };
    assert_eq!(update(json!({"a": 7})).await["error"]["code"], -32602);
    let done = update(json!({"a": accept, "unknown": 1})).await;
    assert_eq!(done["result"]["resultType"], "complete");
    let answer = soon(held.next_follow_up()).await;
    assert!(matches!(answer, Some(FollowUp::Answer { id, answer: Ok(_) }) if id == "a"));

    // What is open is shown again, without another question.
    let looking = client.result("tasks/get", about.clone());
    let still = async {
        let (_, answering) = exchanges.next().await;
        answering.finish(state("input_required")).await.unwrap();
    };
    let (asked, ()) = tokio::join!(looking, still);
    assert_eq!(asked["inputRequests"].as_object().unwrap().keys().collect::<Vec<_>>(), ["b"]);
    update(json!({"b": accept})).await;
    let answer = soon(held.next_follow_up()).await;
    assert!(matches!(answer, Some(FollowUp::Answer { id, answer: Ok(_) }) if id == "b"));

    let looking = client.result("tasks/get", about);
    let ending = async {
        let (_, answering) = exchanges.next().await;
        answering.finish(state("completed")).await.unwrap();
        let (open, answering) = exchanges.next().await;
        assert_eq!(open.method, "tasks/result");
        answering.finish(ok(r#"{"content":[]}"#)).await.unwrap();
    };
    let (done, ()) = tokio::join!(looking, ending);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!({"content": []})));
    assert!(soon(held.cancelled()).await.is_some());
}
