//! What goes wrong is told in the words that the guide promises, and where it went wrong.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Canned, Options, Orch, eventually};

async fn cause(orch: &Orch, server: &Value, expected: &str) {
    orch.register(server).await;
    let name = server["name"].as_str().unwrap();
    eventually(&format!("{name} says {expected:?}"), Duration::from_secs(30), async || {
        let shown = orch.server(name).await;
        let says = shown["last_error"].as_str().is_some_and(|text| text.contains(expected));
        if says && shown["status"] == "failed" { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    let rows = orch.cli().rows(&["server", "list"]).await;
    let row = rows.iter().find(|row| row["name"] == name).expect("listed");
    assert!(row["cause"].as_str().unwrap().contains(expected), "{row}");
    let id = orch.server(name).await["id"].as_str().unwrap().to_owned();
    let path = orch.project(&format!("/servers/{id}/test"));
    let tested = orch.rest().post(&path, &json!({})).await;
    assert_eq!(tested.body["ok"], false, "{}", tested.text);
    assert!(tested.text.contains(expected), "{}", tested.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_sse_server_is_a_connection_timeout() {
    let orch = Orch::start(Options::default()).await;
    let silent = Canned::silent().await;
    let server =
        json!({ "name": "silent", "type": "sse", "url": silent.url("/sse"), "timeout": 1 });
    cause(&orch, &server, "Failed to connect to SSE server: Connection timeout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_401_unauthorized() {
    let orch = Orch::start(Options::default()).await;
    let refusing = Canned::answering("401 Unauthorized", "{}").await;
    for kind in ["sse", "streamable_http"] {
        let server = json!({ "name": kind, "type": kind, "url": refusing.url("/mcp") });
        cause(&orch, &server, "HTTP 401: Unauthorized").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_json_rpc_says_so() {
    let orch = Orch::start(Options::default()).await;
    let odd = Canned::answering("200 OK", r#"{"hello": 1}"#).await;
    let server = json!({ "name": "odd", "type": "streamable_http", "url": odd.url("/mcp") });
    cause(&orch, &server, "Invalid JSON-RPC 2.0 response").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_body_is_refused_with_the_field_that_is_wrong() {
    let orch = Orch::start(Options::default()).await;
    for (body, field) in [
        (json!({ "name": "x", "type": "sse" }), "url"),
        (json!({ "name": "x", "type": "sse", "url": "ftp://example.com/" }), "url"),
        (json!({ "name": "x", "type": "stdio" }), "command"),
        (json!({ "name": "", "type": "stdio", "command": "true" }), "name"),
        (json!({ "name": "x", "type": "stdio", "command": 5 }), "command"),
        (json!({ "name": "x", "type": "telepathy", "command": "true" }), "type"),
        (json!({ "name": "x", "type": "sse", "url": "http://h/", "timeout": -1 }), "timeout"),
    ] {
        let answer = orch.rest().post(&orch.project("/servers"), &body).await;
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{body}: {}", answer.text);
        assert!(answer.body["error"]["code"].is_string(), "{}", answer.text);
        assert!(answer.text.contains(field), "{body} is answered without {field}: {}", answer.text);
    }
    assert!(orch.servers().await.is_empty());
}
