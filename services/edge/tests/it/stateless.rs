//! The rules of the stateless revision over Streamable HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{Stage, soon, until};
use crate::stateless_client::{
    CAPABILITIES_KEY, CLIENT_KEY, SERVER_KEY, Stateless, VERSION, VERSION_KEY,
};
use crate::worker::{Worker, ok};
use crate::world::REPORTER_KEY;

async fn started() -> (Stage, Worker, Stateless) {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let worker = Worker::echo(&stage.world, 1).await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    (stage, worker, client)
}

#[tokio::test]
async fn discovery_says_what_is_served_and_who_serves_it() {
    let (_stage, _worker, client) = started().await;
    let result = client.result("server/discover", json!({})).await;
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["supportedVersions"], json!([VERSION]));
    assert_eq!(result["_meta"][SERVER_KEY]["name"], "mcp-orch");
    assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(0), &json!("private")));
    for list in ["tools", "prompts", "resources"] {
        assert_eq!(result["capabilities"][list]["listChanged"], true, "{result}");
    }
    assert_eq!(result["capabilities"].get("tasks"), None);
}

#[tokio::test]
async fn lists_say_how_long_they_may_be_kept() {
    let (_stage, _worker, client) = started().await;
    for (method, member) in [
        ("tools/list", "tools"),
        ("prompts/list", "prompts"),
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
    ] {
        let result = client.result(method, json!({})).await;
        assert_eq!(result[member].as_array().unwrap().len(), 1, "{result}");
        assert_eq!(result["resultType"], "complete");
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(0), &json!("private")));
        assert_eq!(result["_meta"][SERVER_KEY]["name"], "mcp-orch");
    }
    let (status, error) = client.refused("tools/list", json!({"cursor": "nonsense"})).await;
    assert_eq!((status, &error["code"]), (200, &json!(-32602)));
}

#[tokio::test]
async fn metadata_is_required_and_checked_against_the_headers() {
    let (_stage, _worker, client) = started().await;
    let headers = [("mcp-protocol-version", VERSION), ("mcp-method", "server/discover")];
    let without = async |key: &str| {
        let mut body = client.body(7, "server/discover", &json!({}));
        match key {
            "_meta" => body["params"] = json!({}),
            key => drop(body["params"]["_meta"].as_object_mut().unwrap().remove(key)),
        }
        let response = client.post(&body, &headers).await;
        let status = response.status().as_u16();
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["id"], 7);
        (status, answer["error"]["code"].clone())
    };
    for key in ["_meta", VERSION_KEY, CAPABILITIES_KEY] {
        assert_eq!(without(key).await, (400, json!(-32602)), "{key}");
    }
    // Who asks is nobody's business but its own.
    assert_eq!(without(CLIENT_KEY).await, (200, Value::Null));

    let with = async |version: &str, headers: &[(&str, &str)], method: &str, params: Value| {
        let mut body = client.body(8, method, &params);
        body["params"]["_meta"][VERSION_KEY] = json!(version);
        let response = client.post(&body, headers).await;
        (response.status().as_u16(), response.json::<Value>().await.unwrap()["error"].clone())
    };
    let unknown = [("mcp-protocol-version", "v999.0.0"), ("mcp-method", "server/discover")];
    let (status, error) = with("v999.0.0", &unknown, "server/discover", json!({})).await;
    assert_eq!((status, &error["code"]), (400, &json!(-32022)));
    assert_eq!(error["data"], json!({"supported": [VERSION], "requested": "v999.0.0"}));
    let (status, error) = with("v999.0.0", &headers, "server/discover", json!({})).await;
    assert_eq!((status, &error["code"]), (400, &json!(-32020)));
    for wrong in [
        &[("mcp-protocol-version", VERSION)][..],
        &[("mcp-method", "tools/list")],
        &[("mcp-protocol-version", VERSION), ("mcp-method", "TOOLS/LIST")],
        &[("mcp-protocol-version", VERSION), ("mcp-method", "prompts/list")],
    ] {
        let (status, error) = with(VERSION, wrong, "tools/list", json!({})).await;
        assert_eq!((status, &error["code"]), (400, &json!(-32020)), "{wrong:?}");
    }
    let call = [("mcp-protocol-version", VERSION), ("mcp-method", "tools/call")];
    let named = async |name: &str| {
        let headers = [&call[..], &[("mcp-name", name)]].concat();
        let params = json!({"name": "docs__find"});
        with(VERSION, &headers, "tools/call", params).await
    };
    assert_eq!(named("wrong").await.1["code"], -32020);
    assert_eq!(named("docs__find").await, (200, Value::Null));
    assert_eq!(named("=?base64?ZG9jc19fZmluZA==?=").await, (200, Value::Null));
    let missing = with(VERSION, &call, "tools/call", json!({"name": "docs__find"})).await;
    assert_eq!((missing.0, &missing.1["code"]), (400, &json!(-32020)));
}

#[tokio::test]
async fn what_the_revision_does_not_have_is_not_found() {
    let (_stage, worker, client) = started().await;
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
        "unknown/method",
    ] {
        let (status, error) = client.refused(method, json!({})).await;
        assert_eq!((status, &error["code"]), (404, &json!(-32601)), "{method}");
    }
    assert_eq!(worker.seen(), 0);
}

#[tokio::test]
async fn both_eras_live_on_one_url() {
    let (stage, _worker, client) = started().await;
    let session = stage.opened().await;
    // Whoever names this revision gets its rules, session or not.
    for method in [Method::GET, Method::DELETE] {
        let request = session.builder(method).header("mcp-protocol-version", VERSION);
        let response = soon(request.send()).await.unwrap();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "POST");
    }
    let in_session = Stateless::of(session.clone());
    let body = in_session.body(1, "tools/list", &json!({}));
    let headers =
        [("mcp-protocol-version", VERSION), ("mcp-method", "tools/list"), ("last-event-id", "1")];
    let response = in_session.post(&body, &headers).await;
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("mcp-session-id"));
    // The session lives on, and one that does not exist does not matter.
    assert_eq!(session.tools().await, ["docs__find"]);
    let mut stranger = stage.client();
    stranger.session = Some("0".repeat(32));
    let listed = Stateless::of(stranger).result("tools/list", json!({})).await;
    assert_eq!(listed["tools"][0]["name"], "docs__find");
    // The older handshake is never refused with what makes clients believe in a newer server.
    let asked = stage.client().initialize("2026-07-28").await;
    assert_eq!(asked["result"]["protocolVersion"], "2025-11-25");
    let listing = session.listen().await;
    drop(listing);
    let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": 1}});
    let response = client.post(&note, &[("mcp-protocol-version", VERSION)]).await;
    assert_eq!(response.status(), 202);
}

#[tokio::test]
async fn a_role_that_may_not_call_is_refused() {
    let (stage, worker, _client) = started().await;
    let reporter = Stateless::of(stage.client_of("/projects/search/unified", REPORTER_KEY));
    let (status, error) = reporter.refused("tools/call", json!({"name": "docs__find"})).await;
    assert_eq!((status, &error["data"]["reason"]), (403, &json!("PERMISSION_DENIED")));
    assert_eq!(worker.seen(), 0);
    until("the denial", || stage.world.denials().len() == 1).await;
    let listed = reporter.ask("server/discover", json!({})).await;
    assert_eq!(listed.0, 200);
}

#[tokio::test]
async fn arguments_in_headers_must_be_those_of_the_body() {
    let stage = Stage::start().await;
    stage.world.register(1, "docs").await;
    let tool = json!({"name": "find", "inputSchema": {"type": "object", "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"}}}});
    stage.world.observe_catalogue(1, &[tool.to_string()]).await;
    let worker = Worker::start(&stage.world, 1, async |_, answering| {
        answering.finish(ok("{}")).await.unwrap();
    })
    .await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    let called = async |region: Value, header: Option<&str>| {
        let params = json!({"name": "docs__find", "arguments": {"region": region}});
        let mut headers = vec![
            ("mcp-protocol-version", VERSION),
            ("mcp-method", "tools/call"),
            ("mcp-name", "docs__find"),
        ];
        headers.extend(header.map(|value| ("mcp-param-region", value)));
        let response = client.post(&client.body(1, "tools/call", &params), &headers).await;
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap()["error"]["code"].clone())
    };
    assert_eq!(called(json!("Hello"), Some("=?base64?SGVsbG8=?=")).await, (200, Value::Null));
    assert_eq!(called(json!("eu"), Some("eu")).await, (200, Value::Null));
    assert_eq!(called(Value::Null, None).await, (200, Value::Null));
    assert_eq!(worker.seen(), 3);
    for (region, header) in [
        ("Hello", Some("=?base64?SGVsbG8?=")),
        ("Hello", Some("=?base64?SGVs!!!bG8=?=")),
        ("eu", Some("us")),
        ("eu", None),
    ] {
        assert_eq!(called(json!(region), header).await, (400, json!(-32020)), "{header:?}");
    }
    assert_eq!(worker.seen(), 3);
}

#[tokio::test]
async fn a_batch_is_no_way_in() {
    let (_stage, _worker, client) = started().await;
    let batch = json!([client.body(1, "tools/list", &json!({}))]);
    let response = client.post(&batch, &[("mcp-protocol-version", VERSION)]).await;
    assert_eq!(response.status(), 400);
    let plain = client.post(&json!({"jsonrpc": "2.0"}), &[]).await;
    assert_eq!(plain.status(), 400);
}
