//! The rules of Streamable HTTP and of JSON-RPC.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::message;
use crate::stage::{Stage, soon};
use crate::worker::Worker;

#[tokio::test]
async fn initialize_says_who_we_are_and_what_is_served() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.settled().await;
    for (asked, agreed) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
        ("2099-01-01", "2025-11-25"),
    ] {
        let answer = stage.client().initialize(asked).await;
        assert_eq!(answer["result"]["protocolVersion"], agreed);
        assert_eq!(answer["result"]["serverInfo"]["name"], "mcp-orch");
        let capabilities = answer["result"]["capabilities"].as_object().unwrap();
        let offered: Vec<_> = capabilities.keys().map(String::as_str).collect();
        assert_eq!(offered, ["prompts", "resources", "tools"]);
    }
    let refused = stage.client().send(message(1, "initialize", &json!({}))).await;
    assert!(!refused.headers().contains_key("mcp-session-id"));
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["error"]["code"], -32602);
}

#[tokio::test]
async fn a_session_is_named_found_and_ended() {
    let stage = Stage::start().await;
    let client = stage.opened().await;
    let session = client.session.clone().unwrap();
    assert_eq!(session.len(), 32);
    let ping = message(1, "ping", &json!({}));
    assert_eq!(client.send(ping.clone()).await.json::<Value>().await.unwrap()["result"], json!({}));
    assert_eq!(stage.client().send(ping.clone()).await.status(), 400);
    let mut other = stage.client();
    other.session = Some("0".repeat(32));
    assert_eq!(other.send(ping.clone()).await.status(), 404);
    let stream = client.listen().await;
    let ended = soon(client.builder(Method::DELETE).send()).await.unwrap();
    assert_eq!(ended.status(), 200);
    stream.end().await;
    assert_eq!(client.send(ping).await.status(), 404);
    let again = soon(client.builder(Method::DELETE).send()).await.unwrap();
    assert_eq!(again.status(), 404);
}

#[tokio::test]
async fn a_second_stream_takes_the_place_of_the_first() {
    let stage = Stage::start().await;
    let client = stage.opened().await;
    let first = client.listen().await;
    let mut second = client.listen().await;
    first.end().await;
    stage.world.add(1, "docs", &["find"]).await;
    // Nothing was shown before, so that there was nothing that could change: list once.
    client.tools().await;
    stage.world.add(2, "time", &["now"]).await;
    let said = second.message().await;
    assert!(said["method"].as_str().unwrap().ends_with("list_changed"), "{said}");
}

#[tokio::test]
async fn headers_are_checked() {
    let stage = Stage::start().await;
    let client = stage.opened().await;
    let with = async |name: &'static str, value: &'static str| {
        let mut request = client.builder(Method::POST).build().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        *request.body_mut() = Some(message(1, "ping", &json!({})).into());
        soon(stage.http.execute(request)).await.unwrap().status().as_u16()
    };
    assert_eq!(with("mcp-protocol-version", "2025-06-18").await, 200);
    assert_eq!(with("mcp-protocol-version", "2019-01-01").await, 400);
    assert_eq!(with("content-type", "text/plain").await, 415);
    assert_eq!(with("accept", "application/json").await, 200);
    let mut listener = client.clone();
    listener.accept = "application/json";
    let refused = soon(listener.builder(Method::GET).send()).await.unwrap();
    assert_eq!(refused.status(), 406);
}

#[tokio::test]
async fn notifications_and_answers_are_accepted_and_nonsense_is_not() {
    let stage = Stage::start().await;
    let client = stage.opened().await;
    for body in [
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/unheard_of"}"#,
        r#"{"jsonrpc":"2.0","id":9,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":9,"error":{"code":1,"message":""}}"#,
    ] {
        let response = client.send(body).await;
        assert_eq!(response.status(), 202, "{body}");
        assert_eq!(response.text().await.unwrap(), "");
    }
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{}1{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    for (body, code) in [
        ("{", -32700),
        ("nonsense", -32700),
        (r#"{"id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
        (deep.as_str(), -32600),
    ] {
        let response = client.send(body.to_owned()).await;
        assert_eq!(response.status(), 400, "{body}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["error"]["code"], code, "{body}");
    }
    for method in ["logging/setLevel", "completion/complete", "resources/subscribe", "no/such"] {
        let answer = client.request(method, json!({})).await;
        assert_eq!(answer["error"]["code"], -32601, "{method}");
    }
    for params in [json!({}), json!({"name": 1})] {
        let answer = client.request("tools/call", params).await;
        assert_eq!(answer["error"]["code"], -32602);
    }
}

#[tokio::test]
async fn batches_belong_to_one_revision() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let _worker = Worker::echo(&stage.world, 1).await;
    stage.settled().await;
    let mut client = stage.client();
    client.initialize("2025-03-26").await;
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "docs__find"}},
        {"jsonrpc": "1.0", "id": 3, "method": "ping"},
    ]);
    let response = client.send(batch.to_string()).await;
    assert_eq!(response.status(), 200);
    let answers: Value = response.json().await.unwrap();
    assert_eq!(answers.as_array().unwrap().len(), 3);
    assert_eq!(answers[0]["result"], json!({}));
    assert_eq!(answers[1]["result"]["seen"]["name"], "find");
    assert_eq!(answers[2]["error"]["code"], -32600);
    let silent = r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#;
    assert_eq!(client.send(silent).await.status(), 202);
    let later = stage.opened().await;
    assert_eq!(later.send(batch.to_string()).await.status(), 400);
}
