//! Who may do what: every way to be refused, and what is recorded of it.

use std::time::{Duration, Instant};

use proto::control::v1 as pb;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{Options, Orch, Rest, Streamable, eventually};

/// Within this a revoked key is refused everywhere.
const REVOCATION_LIMIT: Duration = Duration::from_secs(1);

async fn demo() -> Orch {
    let orch = Orch::start(Options::demo()).await;
    orch.active(&["demo"]).await;
    orch
}

fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "system-test", "version": "1" },
    } })
}

/// What an endpoint says to a first request with this key: status and body.
async fn knock(url: &str, key: Option<&str>) -> (u16, String) {
    let (status, text) = if url.ends_with("/sse") {
        let mut request = reqwest::Client::builder().no_proxy().build().unwrap().get(url);
        request = request.header("accept", "text/event-stream");
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = if status.is_success() { String::new() } else { response.text().await.unwrap() };
        (status, text)
    } else {
        let answer = Rest::new("", key).post(url, &initialize()).await;
        (answer.status, answer.text)
    };
    (status.as_u16(), text)
}

fn endpoints(orch: &Orch, project: &str) -> [String; 4] {
    ["unified/mcp", "unified/sse", "servers/demo/mcp", "servers/demo/sse"]
        .map(|path| format!("{}/projects/{project}/{path}", orch.ready.url))
}

async fn create_key(orch: &Orch, role: pb::Role, expires: Option<i64>) -> (pb::ApiKey, String) {
    let request = pb::CreateApiKeyRequest {
        project_id: orch.ready.project_id.clone(),
        name: "made by a test".to_owned(),
        role: role.into(),
        expire_time: expires.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
        ..pb::CreateApiKeyRequest::default()
    };
    let made = orch.grpc().await.keys().create_api_key(request).await.unwrap().into_inner();
    (made.api_key.unwrap(), made.secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_or_an_unknown_key_is_401() {
    let orch = demo().await;
    let unknown = format!("api_key_{}", "x".repeat(43));
    for url in endpoints(&orch, &orch.ready.project_id) {
        for key in [None, Some(unknown.as_str()), Some("not a key"), Some(orch.token.as_str())] {
            let (status, text) = knock(&url, key).await;
            assert_eq!(status, 401, "{url} with {key:?}: {text}");
        }
        assert_eq!(knock(&url, Some(&orch.api_key)).await.0, 200, "{url}");
    }
    let answer = Rest::new("", None).post(&orch.ready.mcp_url, &initialize()).await;
    assert!(answer.headers.contains_key("www-authenticate"), "{answer:?}");
    let in_query = format!("{}?api_key={}", orch.ready.mcp_url, orch.api_key);
    assert_eq!(knock(&in_query, None).await.0, 401, "a key in a URL ends up in logs");
}

fn post(url: &str) -> RequestBuilder {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.post(url).header("accept", "application/json, text/event-stream").json(&initialize())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_come_in_its_own_header_and_a_foreign_origin_is_refused() {
    let orch = demo().await;
    let own = post(&orch.ready.mcp_url).header("x-api-key", &orch.api_key);
    assert_eq!(own.send().await.unwrap().status().as_u16(), 200);
    let foreign = post(&orch.ready.mcp_url).bearer_auth(&orch.api_key);
    let foreign = foreign.header("origin", "https://evil.example");
    assert_eq!(foreign.send().await.unwrap().status().as_u16(), 403);
    let rebound = post(&orch.ready.mcp_url).bearer_auth(&orch.api_key);
    let rebound = rebound.header("host", "evil.example:80");
    assert_eq!(rebound.send().await.unwrap().status().as_u16(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_is_401() {
    let orch = demo().await;
    // The system's own clock decides, so it is asked for the time.
    let (first, _) = create_key(&orch, pb::Role::Developer, None).await;
    let now = first.create_time.unwrap().seconds;
    let (_, key) = create_key(&orch, pb::Role::Developer, Some(now + 4)).await;
    assert_eq!(knock(&orch.ready.mcp_url, Some(&key)).await.0, 200, "not expired yet");
    eventually("the key expires", Duration::from_secs(10), async || {
        match knock(&orch.ready.mcp_url, Some(&key)).await {
            (401, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_401_within_a_second_everywhere() {
    let orch = demo().await;
    let (key, secret) = create_key(&orch, pb::Role::Developer, None).await;
    let mcp = Streamable::open(&orch.ready.mcp_url, &secret).await;
    mcp.call("demo__echo", json!({ "message": "still valid" })).await;
    let path = orch.project(&format!("/api-keys/{}", key.id));
    let revoked = orch.rest().delete(&path).await;
    assert!(revoked.status.is_success(), "{revoked:?}");
    let since = Instant::now();
    for url in endpoints(&orch, &orch.ready.project_id) {
        eventually("the key is refused", REVOCATION_LIMIT, async || {
            match knock(&url, Some(&secret)).await {
                (401, _) => Ok(()),
                other => Err(format!("{url}: {other:?}")),
            }
        })
        .await;
    }
    assert!(since.elapsed() < REVOCATION_LIMIT, "it took {:?}", since.elapsed());
    let call = json!({
        "jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": { "name": "demo__echo", "arguments": { "message": "too late" } },
    });
    let refused = mcp.post(&call).await.unwrap();
    assert_eq!(refused.status().as_u16(), 401, "an open session ends with its key");
    assert_eq!(knock(&orch.ready.mcp_url, Some(&orch.api_key)).await.0, 200, "only that key");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_project_looks_like_an_unknown_one_and_the_denial_is_recorded() {
    let orch = demo().await;
    let other = orch.rest().post("/projects", &json!({ "name": "another" })).await;
    assert!(other.status.is_success(), "{other:?}");
    let other = other.body["id"].as_str().expect("an id").to_owned();
    for (of_other, of_unknown) in
        endpoints(&orch, &other).into_iter().zip(endpoints(&orch, "no-such-project"))
    {
        let of_other = knock(&of_other, Some(&orch.api_key)).await;
        let of_unknown = knock(&of_unknown, Some(&orch.api_key)).await;
        assert_eq!(of_other.0, 404);
        assert_eq!(of_other, of_unknown, "the two must not be told apart");
    }
    let no_server = orch.ready.mcp_url.replace("unified", "servers/nothing");
    assert_eq!(knock(&no_server, Some(&orch.api_key)).await.0, 404);
    let grpc = orch.grpc().await;
    eventually("the denial is in the key's audit", Duration::from_secs(10), async || {
        let entries = grpc.all_entries(&orch.ready.project_id, "access.denied").await;
        let found = entries.iter().any(|entry| {
            entry.actor_kind == "api_key"
                && entry.outcome == "denied"
                && entry.event_json.contains(&other)
        });
        if found { Ok(()) } else { Err(format!("{entries:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reporter_lists_and_never_calls() {
    let orch = demo().await;
    let (_, reporter) = create_key(&orch, pb::Role::Reporter, None).await;
    let mcp = Streamable::open(&orch.ready.mcp_url, &reporter).await;
    assert!(mcp.tools().await.contains(&"demo__echo".to_owned()));
    for (method, params) in [
        ("tools/call", json!({ "name": "demo__echo", "arguments": { "message": "no" } })),
        ("prompts/get", json!({ "name": "demo__introduce", "arguments": { "tool": "x" } })),
        ("resources/read", json!({ "uri": "mcp+demo+demo://readme" })),
    ] {
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let response = mcp.post(&message).await.unwrap();
        assert_eq!(response.status().as_u16(), 403, "{method}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["data"]["reason"], "PERMISSION_DENIED", "{method}: {body}");
    }
    assert!(orch.cli().rows(&["call", "list"]).await.is_empty(), "nothing was called");
    let rest = orch.rest_as(&reporter);
    assert_eq!(rest.get(&orch.project("/servers")).await.status.as_u16(), 200);
    let body = json!({ "name": "mine", "type": "stdio", "command": "true" });
    let refused = rest.post(&orch.project("/servers"), &body).await;
    assert!(matches!(refused.status.as_u16(), 401 | 403), "{refused:?}");
    let grpc = orch.grpc().await;
    eventually("the denials are recorded", Duration::from_secs(10), async || {
        let entries = grpc.all_entries(&orch.ready.project_id, "access.denied").await;
        let denied = entries.iter().filter(|it| it.event_json.contains("PERMISSION_DENIED"));
        if denied.count() >= 3 { Ok(()) } else { Err(format!("{entries:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_tool_is_an_unknown_one() {
    let orch = demo().await;
    let mcp = orch.mcp().await;
    let unknown = mcp.ask("tools/call", json!({ "name": "demo__addd" })).await;
    let id = orch.server("demo").await["id"].as_str().unwrap().to_owned();
    let path = orch.project(&format!("/servers/{id}/tools/add/toggle"));
    let toggled = orch.rest().post(&path, &json!({ "enabled": false })).await;
    assert!(toggled.status.is_success(), "{toggled:?}");
    eventually("the tool is gone from the list", Duration::from_secs(5), async || {
        let tools = mcp.tools().await;
        let is_gone = !tools.contains(&"demo__add".to_owned());
        if is_gone { Ok(()) } else { Err(format!("{tools:?}")) }
    })
    .await;
    let call = json!({ "name": "demo__add", "arguments": { "a": 1, "b": 2 } });
    let disabled = mcp.ask("tools/call", call.clone()).await;
    let expected = unknown["error"].to_string().replace("demo__addd", "demo__add");
    assert_eq!(disabled["error"].to_string(), expected);
    let dotted = mcp.ask("tools/call", json!({ "name": "demo.add", "arguments": {} })).await;
    assert_eq!(dotted["error"]["code"], unknown["error"]["code"], "no other way to it: {dotted}");
    let toggled = orch.rest().post(&path, &json!({ "enabled": true })).await;
    assert!(toggled.status.is_success(), "{toggled:?}");
    eventually("the tool is back", Duration::from_secs(5), async || {
        let answer = mcp.ask("tools/call", call.clone()).await;
        if answer["error"].is_null() { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_are_refused() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

    let orch = demo().await;
    let path = orch.project("/servers");
    let parts: Vec<&str> = orch.token.split('.').collect();
    let [_, claims, signature] = parts[..] else { panic!("a JWT has three parts") };
    let none = BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let confused = BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let mut altered = BASE64.decode(claims).unwrap();
    let last = altered.len() - 2;
    altered[last] ^= 1;
    for forged in [
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{confused}.{claims}.{signature}"),
        format!("{}.{}.{signature}", parts[0], BASE64.encode(altered)),
        "not.a.token".to_owned(),
        String::new(),
    ] {
        let answer = orch.rest_as(&forged).get(&path).await;
        assert_eq!(answer.status.as_u16(), 401, "{forged}: {}", answer.text);
    }
    let anonymous = Rest::new(&orch.ready.url, None);
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::POST, path.clone()),
        (Method::GET, orch.project("/cline-config?unified=true")),
        (Method::GET, orch.project("/calls")),
    ] {
        let answer = anonymous.send(method, &path, Some(&json!({}))).await;
        assert_eq!(answer.status.as_u16(), 401, "{path}: {}", answer.text);
    }
    let wrong = json!({ "email": orch.ready.admin.clone().unwrap().email, "password": "wrong" });
    let refused = anonymous.post("/api/auth/login", &wrong).await;
    assert_eq!(refused.status.as_u16(), 401, "{}", refused.text);
    assert_eq!(orch.rest().get("/projects/nothing/servers").await.status.as_u16(), 404);
}
