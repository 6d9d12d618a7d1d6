//! Servers: add, show, change, toggle, remove, migrate.

use std::time::Duration;

use fixtures::Upstream;
use serde_json::{Value, json};

use crate::harness::{Options, Orch, eventually, stdio_fixture};

/// The guide's own body.
fn remote_analytics() -> Value {
    json!({
        "name": "remote-analytics",
        "type": "sse",
        "url": "https://analytics-mcp.example.com/sse",
        "timeout": 60,
        "headers": {
            "X-API-Key": "your-remote-api-key",
            "X-Client-ID": "mcp-orch"
        },
        "auto_approve": ["get_metrics", "list_reports"]
    })
}

/// The fields of the guide's example of an answer, but for the id and the status.
fn shown() -> Value {
    json!({
        "name": "remote-analytics",
        "transport_type": "sse",
        "url": "https://analytics-mcp.example.com/sse",
        "timeout": 60,
        "headers_count": 2,
        "has_custom_headers": true,
        "disabled": false,
    })
}

#[track_caller]
fn assert_contains(actual: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&actual[field], value, "{field} of {actual}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_body_adds_a_server_that_is_shown_as_in_the_guide() {
    let orch = Orch::start(Options::default()).await;
    let made = orch.rest().post(&orch.project("/servers"), &remote_analytics()).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text);
    assert_contains(&made.body, &shown());
    let listed = orch.rest().get(&orch.project("/servers")).await;
    assert_contains(&listed.body[0], &shown());
    assert!(listed.body[0]["id"].as_str().is_some_and(|id| !id.is_empty()));
    for text in [&made.text, &listed.text] {
        assert!(!text.contains("your-remote-api-key"), "a header's value: {text}");
    }
    let again = orch.rest().post(&orch.project("/servers"), &remote_analytics()).await;
    assert_eq!(again.status.as_u16(), 409, "a name is taken once: {}", again.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sse_server_that_answers_is_active_and_tells_its_response_time() {
    let upstream = Upstream::start::<&str>([]).unwrap();
    let orch = Orch::start(Options::default()).await;
    let mut body = remote_analytics();
    body["url"] = json!(upstream.sse_url());
    orch.register(&body).await;
    orch.active(&["remote-analytics"]).await;
    let server = orch.server("remote-analytics").await;
    assert_eq!(server["status"], "active");
    assert!(server["response_time_ms"].is_u64(), "{server}");
    // What was sealed at rest is opened for the upstream.
    let mcp = orch.mcp().await;
    let seen = mcp.call("remote-analytics__env", json!({})).await;
    let headers = &seen["structuredContent"]["headers"];
    assert_eq!(headers["x-api-key"], "your-remote-api-key");
    assert_eq!(headers["x-client-id"], "mcp-orch");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_spellings_and_a_stdio_body_are_accepted() {
    let orch = Orch::start(Options::default()).await;
    let aliased = json!({
        "name": "aliased", "transport_type": "sse", "url": "http://10.150.0.36:8000/mcp",
        "timeout": 1, "autoApprove": ["safe_tool1"],
    });
    let made = orch.register(&aliased).await;
    assert_contains(&made, &json!({ "transport_type": "sse", "timeout": 1, "headers_count": 0 }));
    let mut stdio = stdio_fixture("local", &["--tools", "1"]);
    stdio["env"] = json!({ "SECRET_TOKEN": "value-of-the-token" });
    stdio["cwd"] = json!("/tmp");
    let command = stdio["command"].clone();
    let made = orch.register(&stdio).await;
    let expected = json!({
        "transport_type": "stdio", "command": command, "env_vars_count": 1, "has_custom_env": true,
    });
    assert_contains(&made, &expected);
    assert!(made["args"].is_array(), "{made}");
    orch.active(&["local"]).await;
    let mcp = orch.mcp().await;
    let seen = mcp.call("local__env", json!({})).await["structuredContent"].clone();
    assert_eq!(seen["cwd"], "/tmp");
    assert_eq!(seen["env"]["SECRET_TOKEN"], "value-of-the-token");
    let mut names: Vec<&String> = seen["env"].as_object().unwrap().keys().collect();
    names.retain(|name| !["HOME", "LANG", "PATH", "SECRET_TOKEN"].contains(&name.as_str()));
    assert!(names.is_empty(), "nothing else of our environment: {names:?}");
    let listed = orch.rest().get(&orch.project("/servers")).await;
    assert!(!listed.text.contains("value-of-the-token"), "{}", listed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_changed_toggled_and_removed() {
    let orch = Orch::start(Options::default()).await;
    let made = orch.register(&stdio_fixture("fixture", &[])).await;
    let path = orch.project(&format!("/servers/{}", made["id"].as_str().unwrap()));
    orch.active(&["fixture"]).await;
    let mcp = orch.mcp().await;
    let changed = orch.rest().put(&path, &stdio_fixture("fixture", &["--tools", "2"])).await;
    assert_eq!(changed.status.as_u16(), 200, "{}", changed.text);
    eventually("the changed server is used", Duration::from_secs(30), async || {
        let tools = mcp.tools().await;
        let changed = tools.contains(&"fixture__extra_2".to_owned());
        if changed { Ok(()) } else { Err(format!("{tools:?}")) }
    })
    .await;
    let toggled = orch.rest().post(&format!("{path}/toggle"), &json!({})).await.expect_status(200);
    assert_eq!(toggled["disabled"], true, "{toggled}");
    eventually("a disabled server is not listed", Duration::from_secs(10), async || {
        let tools = mcp.tools().await;
        if tools.is_empty() { Ok(()) } else { Err(format!("{tools:?}")) }
    })
    .await;
    eventually("it is shown as disabled", Duration::from_secs(10), async || {
        let server = orch.server("fixture").await;
        if server["status"] == "disabled" { Ok(()) } else { Err(server.to_string()) }
    })
    .await;
    let toggled = orch.rest().post(&format!("{path}/toggle"), &json!({})).await.expect_status(200);
    assert_eq!(toggled["disabled"], false, "{toggled}");
    orch.active(&["fixture"]).await;
    let removed = orch.rest().delete(&path).await;
    assert!(removed.status.is_success(), "{removed:?}");
    assert!(orch.servers().await.is_empty());
    assert_eq!(orch.rest().get(&path).await.status.as_u16(), 404);
    assert_eq!(orch.rest().delete(&path).await.status.as_u16(), 404);
    let audit = orch.rest().get(&orch.project("/audit")).await.text;
    for action in ["server.registered", "server.reconfigured", "server.disabled", "server.deleted"]
    {
        assert!(audit.contains(action), "{action} is on record");
    }
}

/// Disable the stdio server, set it up again as SSE, test it: id, name and history stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_stdio_server_is_migrated_to_sse() {
    let upstream = Upstream::start::<&str>([]).unwrap();
    let orch = Orch::start(Options::default()).await;
    let before = orch.register(&stdio_fixture("migrating", &[])).await;
    orch.active(&["migrating"]).await;
    let mcp = orch.mcp().await;
    mcp.call("migrating__echo", json!({ "message": "over stdio" })).await;
    let path = orch.project(&format!("/servers/{}", before["id"].as_str().unwrap()));
    orch.rest().post(&format!("{path}/toggle"), &json!({})).await.expect_status(200);
    let as_sse = json!({ "name": "migrating", "type": "sse", "url": upstream.sse_url() });
    let changed = orch.rest().put(&path, &as_sse).await.expect_status(200);
    assert_contains(&changed, &json!({ "id": before["id"], "transport_type": "sse" }));
    if changed["disabled"] == true {
        orch.rest().post(&format!("{path}/toggle"), &json!({})).await.expect_status(200);
    }
    orch.active(&["migrating"]).await;
    let tested = orch.rest().post(&format!("{path}/test"), &json!({})).await.expect_status(200);
    assert_eq!(tested["ok"], true, "{tested}");
    mcp.call("migrating__echo", json!({ "message": "over sse" })).await;
    let calls = orch.cli().rows(&["call", "list", "--server", "migrating"]).await;
    let messages: Vec<_> = calls.iter().map(|call| &call["arguments"]["message"]).collect();
    assert_eq!(messages, ["over sse", "over stdio"], "the history is one");
}
