//! Registering, listing and changing servers.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{CANARY, Site};

/// The guide's own request.
fn analytics() -> Value {
    json!({
        "name": "remote-analytics",
        "type": "sse",
        "url": "https://analytics-mcp.example.com/sse",
        "timeout": 60,
        "headers": { "X-API-Key": CANARY, "X-Client-ID": "mcp-orch" },
        "auto_approve": ["get_metrics", "list_reports"],
    })
}

fn github() -> Value {
    json!({
        "name": "github",
        "transport_type": "stdio",
        "command": "npx",
        "args": ["-y", "@modelcontextprotocol/server-github", "--token", CANARY],
        "env": { "GITHUB_TOKEN": CANARY },
        "autoApprove": ["get_issue"],
    })
}

#[tokio::test]
async fn the_guides_request_registers_and_its_answer_comes_back() {
    let site = Site::new().await;
    let reply = site.http.post(&site.at("/servers"), analytics()).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
    assert_eq!(reply.headers["cache-control"], "no-store");
    let list = site.http.get(&site.at("/servers")).await;
    assert!(!list.text.contains(CANARY), "{}", list.text);
    let list = list.ok();
    let item = &list.as_array().unwrap()[0];
    for (field, value) in [
        ("name", json!("remote-analytics")),
        ("transport_type", json!("sse")),
        ("url", json!("https://analytics-mcp.example.com/sse")),
        ("timeout", json!(60)),
        ("headers_count", json!(2)),
        ("has_custom_headers", json!(true)),
        ("disabled", json!(false)),
        ("status", json!("starting")),
        ("last_error", Value::Null),
        ("auto_approve", json!(["get_metrics", "list_reports"])),
        ("project_id", json!(site.project.to_string())),
    ] {
        assert_eq!(item[field], value, "{field}");
    }
    assert!(item["id"].is_string() && item["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(item.get("command"), None);
}

#[tokio::test]
async fn a_stdio_server_shows_names_and_counts() {
    let site = Site::new().await;
    let reply = site.http.post(&site.at("/servers"), github()).await;
    assert!(!reply.text.contains(CANARY), "{}", reply.text);
    let item = reply.ok();
    assert_eq!(item["command"], "npx");
    assert_eq!(item["args"], json!(["-y", "@modelcontextprotocol/server-github", "--token", "…"]));
    assert_eq!((&item["env_vars_count"], &item["has_custom_env"]), (&json!(1), &json!(true)));
    assert_eq!(item["auto_approve"], json!(["get_issue"]));
    assert_eq!(item.get("url"), None);
    let one = site.http.get(&site.at(&format!("/servers/{}", item["id"].as_str().unwrap()))).await;
    assert_eq!(one.ok(), item);
}

#[tokio::test]
async fn a_server_moves_from_stdio_to_sse_under_its_name_and_id() {
    let site = Site::new().await;
    let made = site.http.post(&site.at("/servers"), github()).await.ok();
    let path = site.at(&format!("/servers/{}", made["id"].as_str().unwrap()));
    let off = site.http.post(&format!("{path}/toggle"), json!({})).await.ok();
    assert_eq!((&off["disabled"], &off["status"]), (&json!(true), &json!("disabled")));
    let change = json!({ "type": "sse", "url": "http://10.150.0.36:8000/mcp",
        "headers": { "Authorization": format!("Bearer {CANARY}") } });
    let sse = site.http.put(&path, change).await.ok();
    assert_eq!((&sse["id"], &sse["name"]), (&made["id"], &made["name"]));
    assert_eq!(sse["transport_type"], "sse");
    assert_eq!(sse["url"], "http://10.150.0.36:8000/mcp");
    assert_eq!(sse["auto_approve"], json!(["get_issue"]), "what is not named stays");
    assert_eq!(sse["disabled"], true);
    let on = site.http.post(&format!("{path}/toggle"), Value::Null).await;
    assert_eq!(on.status, StatusCode::BAD_REQUEST, "null is no object");
    let on = site.http.send(reqwest::Method::POST, &format!("{path}/toggle"), None).await.ok();
    assert_eq!(on["disabled"], false);
    let history = site.actions().await;
    for action in ["server.registered", "server.disabled", "server.reconfigured", "server.enabled"]
    {
        assert!(history.iter().any(|entry| entry == action), "{action}: {history:?}");
    }
}

#[tokio::test]
async fn hidden_values_that_come_back_and_absent_fields_stay() {
    let site = Site::new().await;
    let made = site.http.post(&site.at("/servers"), github()).await.ok();
    let path = site.at(&format!("/servers/{}", made["id"].as_str().unwrap()));
    let change = json!({ "args": made["args"], "env": { "GITHUB_TOKEN": "…" }, "timeout": 5 });
    assert_eq!(site.http.put(&path, change).await.ok()["timeout"], 5);
    let config = site.http.get(&site.at("/cline-config?unified=false")).await.ok();
    let entry = &config["mcpServers"][format!("project-{}-github", site.project)];
    assert_eq!(entry["env"]["GITHUB_TOKEN"], CANARY);
    assert_eq!(entry["args"][3], CANARY);
}

#[tokio::test]
async fn a_change_without_a_type_changes_none() {
    let site = Site::new().await;
    let made = site.http.post(&site.at("/servers"), analytics()).await.ok();
    let path = site.at(&format!("/servers/{}", made["id"].as_str().unwrap()));
    let moved = site.http.put(&path, json!({ "url": "https://other.example.com/sse" })).await.ok();
    assert_eq!((&moved["transport_type"], &moved["headers_count"]), (&json!("sse"), &json!(2)));
    let wrong = site.http.put(&path, json!({ "command": "npx" })).await.refused();
    assert_eq!(wrong, (400, "INVALID_ARGUMENT".into(), Some("type".into())));
    let nothing = site.http.put(&path, json!({ "unknown": 1 })).await.refused();
    assert_eq!(nothing.2.as_deref(), Some("body"));
    let gone = site.http.delete(&path).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(site.http.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.http.get(&site.at("/servers")).await.ok(), json!([]));
}

#[tokio::test]
async fn what_is_wrong_is_named_and_no_value_is_shown() {
    let site = Site::new().await;
    for (body, field) in [
        (json!({ "name": "a", "type": "sse", "url": "http://h", "timeout": CANARY }), "timeout"),
        (json!({ "name": "a", "type": "sse", "url": "http://h", "headers": [CANARY] }), "headers"),
        (json!({ "name": "a", "type": "sse", "url": CANARY }), "url"),
        (json!({ "name": "a", "type": CANARY }), "type"),
        (json!({ "name": "a" }), "type"),
        (json!({ "name": "a/b", "command": "x" }), "name"),
        (json!({ "command": "x" }), "name"),
        (json!({ "name": "a", "command": "x", "env": { "A": "…" } }), "body"),
        (json!({ "name": "a", "type": "stdio" }), "command"),
    ] {
        let reply = site.http.post(&site.at("/servers"), body.clone()).await;
        assert!(!reply.text.contains(CANARY), "{}", reply.text);
        let expected = (400, "INVALID_ARGUMENT".to_owned(), Some(field.to_owned()));
        assert_eq!(reply.refused(), expected, "{body}");
    }
    site.http.post(&site.at("/servers"), analytics()).await.ok();
    let twice = site.http.post(&site.at("/servers"), analytics()).await.refused();
    assert_eq!(twice, (409, "ALREADY_EXISTS".into(), Some("name".into())));
}

#[tokio::test]
async fn tools_are_switched_and_work_without_a_worker_says_so() {
    let site = Site::new().await;
    let made = site.http.post(&site.at("/servers"), github()).await.ok();
    let path = site.at(&format!("/servers/{}", made["id"].as_str().unwrap()));
    let toggle = format!("{path}/tools/get%20issue/toggle");
    let off = site.http.post(&toggle, json!({})).await.ok();
    assert_eq!(off["disabled_tools"], json!(["get issue"]));
    let same = site.http.post(&toggle, json!({ "enabled": false })).await.ok();
    assert_eq!(same["disabled_tools"], json!(["get issue"]));
    let on = site.http.post(&toggle, json!({})).await.ok();
    assert_eq!(on["disabled_tools"], json!([]));
    assert_eq!(site.http.get(&format!("{path}/tools")).await.ok(), json!({ "tools": [] }));
    let tested = site.http.post(&format!("{path}/test"), json!({})).await.refused();
    assert_eq!((tested.0, tested.1.as_str()), (503, "UNAVAILABLE"));
    let logged = site.http.get(&format!("{path}/log")).await.refused();
    assert_eq!(logged.0, 503);
    let limit = site.http.get(&format!("{path}/log?max_lines=1001")).await.refused();
    assert_eq!(limit.2.as_deref(), Some("max_lines"));
}

#[tokio::test]
async fn a_repeated_request_registers_once() {
    let site = Site::new().await;
    let url = format!("http://{}{}", site.world.address, site.at("/servers"));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = reqwest::Client::new()
            .post(&url)
            .bearer_auth(site.owner.caller.token())
            .header("Idempotency-Key", "once")
            .body(analytics().to_string());
        let reply: Value =
            serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
        ids.push(reply["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn an_isolation_is_set_and_shown() {
    let site = Site::new().await;
    let body = json!({ "name": "a", "command": "tool", "isolation": "session" });
    let made = site.http.post(&site.at("/servers"), body).await.ok();
    assert_eq!(made["isolation"], "session");
    let path = site.at(&format!("/servers/{}", made["id"].as_str().unwrap()));
    let kept = site.http.put(&path, json!({ "timeout": 9 })).await.ok();
    assert_eq!(kept["isolation"], "session", "what is absent stays");
    let back = site.http.put(&path, json!({ "isolation": "shared" })).await.ok();
    assert_eq!(back["isolation"], "shared");
    let wrong = site.http.put(&path, json!({ "isolation": "alone" })).await.refused();
    assert_eq!((wrong.0, wrong.2.as_deref()), (400, Some("isolation")));
}

#[tokio::test]
async fn placement_labels_are_set_shown_and_checked() {
    let site = Site::new().await;
    let body = json!({ "name": "a", "command": "tool", "placementLabels": ["gpu", "docker"] });
    let made = site.http.post(&site.at("/servers"), body).await.ok();
    assert_eq!(made["placement_labels"], json!(["docker", "gpu"]));
    let path = site.at(&format!("/servers/{}", made["id"].as_str().unwrap()));
    let kept = site.http.put(&path, json!({ "timeout": 9 })).await.ok();
    assert_eq!(kept["placement_labels"], json!(["docker", "gpu"]), "what is absent stays");
    let anywhere = site.http.put(&path, json!({ "placement_labels": [] })).await.ok();
    assert_eq!(anywhere["placement_labels"], json!([]));
    let wrong = site.http.put(&path, json!({ "placement_labels": ["Not One"] })).await.refused();
    assert_eq!((wrong.0, wrong.2.as_deref()), (400, Some("placement_labels")));
    let list = site.http.get(&site.at("/servers")).await.ok();
    assert_eq!(list[0]["placement_labels"], json!([]));
}
