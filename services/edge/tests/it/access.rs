//! Who is let in, and what the others are told.

use domain::Role;
use domain::event::{ProjectEvent, ServerEvent};
use domain::project::ProjectSettings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{SseClient, message};
use crate::stage::{Stage, soon, until};
use crate::worker::Worker;
use crate::world::{KEY, OTHER_KEY, OTHER_TENANT, OWNER, REPORTER_KEY, TENANT};

const ENDPOINTS: [(Method, &str); 6] = [
    (Method::GET, "/projects/search/unified/sse"),
    (Method::POST, "/projects/search/unified/messages/?session_id=x"),
    (Method::POST, "/projects/search/unified/mcp"),
    (Method::GET, "/projects/search/unified/mcp"),
    (Method::DELETE, "/projects/search/unified/mcp"),
    (Method::POST, "/projects/search/servers/docs/mcp"),
];

async fn status(stage: &Stage, method: &Method, path: &str, key: Option<&str>) -> (u16, Value) {
    let mut request = stage.http.request(method.clone(), format!("{}{path}", stage.url));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = soon(request.body("{}").send()).await.unwrap();
    let status = response.status().as_u16();
    if status == 401 {
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
    (status, response.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn without_a_good_key_every_endpoint_says_401() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let soon_over = stage.world.now().plus_seconds(5);
    stage.world.issue("api_key_expiring", Role::Owner, Some(soon_over)).await;
    stage.world.issue("api_key_revoked", Role::Owner, None).await;
    stage.world.revoke("api_key_revoked").await;
    stage.world.pass_seconds(5);
    stage.settled().await;
    for (method, path) in &ENDPOINTS {
        for key in
            [None, Some("api_key_unknown"), Some("api_key_expiring"), Some("api_key_revoked")]
        {
            let (status, body) = status(&stage, method, path, key).await;
            assert_eq!(status, 401, "{method} {path} {key:?}");
            assert_eq!(body["error"]["data"]["reason"], "UNAUTHENTICATED");
        }
    }
    assert!(stage.world.denials().is_empty());
}

#[tokio::test]
async fn a_key_works_in_either_header_and_never_in_the_url() {
    let stage = Stage::start().await;
    let path = "/projects/search/unified/mcp";
    let request = stage.http.post(format!("{}{path}", stage.url)).header("x-api-key", KEY);
    let request = request.header("content-type", "application/json");
    let body = message(1, "initialize", &json!({"protocolVersion": "2025-06-18"}));
    assert_eq!(soon(request.body(body).send()).await.unwrap().status(), 200);
    for query in [format!("?api_key={KEY}"), format!("?x={KEY}"), "?token=x".to_owned()] {
        let (status, _) = status(&stage, &Method::GET, &format!("{path}{query}"), Some(KEY)).await;
        assert_eq!(status, 401, "{query}");
    }
}

#[tokio::test]
async fn another_project_looks_like_an_unknown_one_and_is_recorded_with_the_keys_tenant() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.settled().await;
    let places = [
        "/projects/other/unified/mcp",
        "/projects/unheard-of/unified/mcp",
        "/projects/search/servers/unheard-of/mcp",
        "/projects/other/servers/docs/mcp",
    ];
    let mut bodies = Vec::new();
    for place in places {
        let (status, body) = status(&stage, &Method::POST, place, Some(KEY)).await;
        assert_eq!(status, 404, "{place}");
        bodies.push(body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let (status, _) =
        status(&stage, &Method::POST, "/projects/search/unified/mcp", Some(OTHER_KEY)).await;
    assert_eq!(status, 404);
    until("five denials", || stage.world.denials().len() == 5).await;
    let denials = stage.world.denials();
    let tenants: Vec<_> = denials.iter().map(|(tenant, ..)| *tenant).collect();
    assert_eq!(tenants, [TENANT, TENANT, TENANT, TENANT, OTHER_TENANT]);
    assert!(denials.iter().all(|(_, reason, _)| reason == "NOT_FOUND"));
    assert_eq!(denials[2].2, "search/unheard-of");
}

#[tokio::test]
async fn a_reporter_lists_and_does_not_call() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let worker = Worker::echo(&stage.world, 1).await;
    stage.settled().await;
    // The key has the role of an Owner, its creator is a Reporter.
    let mut client = stage.client_of("/projects/search/unified", REPORTER_KEY);
    client.initialize("2025-06-18").await;
    assert_eq!(client.tools().await, ["docs__find"]);
    for (method, params) in [
        ("tools/call", json!({"name": "docs__find"})),
        ("prompts/get", json!({"name": "docs__greet"})),
        ("resources/read", json!({"uri": "mcp+docs+file:///a"})),
    ] {
        let response = client.send(message(7, method, &params)).await;
        assert_eq!(response.status(), 403, "{method}");
        let body: Value = response.json().await.unwrap();
        assert_eq!((&body["id"], &body["error"]["code"]), (&json!(7), &json!(-32000)));
        assert_eq!(body["error"]["data"]["reason"], "PERMISSION_DENIED");
    }
    assert_eq!(worker.seen(), 0);
    until("three denials", || stage.world.denials().len() == 3).await;
    assert_eq!(stage.world.denials()[0].2, "docs__find");
}

#[tokio::test]
async fn a_key_never_does_more_than_its_creator_may_now() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let _worker = Worker::echo(&stage.world, 1).await;
    let client = stage.opened().await;
    assert_eq!(client.call("docs__find", json!({})).await["result"]["method"], "tools/call");
    let demoted = ProjectEvent::MemberRoleChanged { user: OWNER, role: Role::Reporter };
    stage.world.change_project(demoted).await;
    stage.settled().await;
    let answer = client.call("docs__find", json!({})).await;
    assert_eq!(answer["error"]["data"]["reason"], "PERMISSION_DENIED");
    stage.world.change_project(ProjectEvent::MemberRemoved { user: OWNER }).await;
    stage.settled().await;
    assert_eq!(client.send("{}").await.status(), 401);
}

#[tokio::test]
async fn a_revoked_key_loses_its_open_streams() {
    let stage = Stage::start().await;
    stage.world.issue("api_key_second", Role::Owner, None).await;
    stage.settled().await;
    let second = stage.client_of("/projects/search/unified", "api_key_second");
    let sse = SseClient::open(&second, &stage.url).await;
    let mut client = stage.client_of("/projects/search/unified", "api_key_second");
    client.initialize("2025-06-18").await;
    let stream = client.listen().await;
    let other = stage.opened().await;
    stage.world.revoke("api_key_second").await;
    sse.stream.end().await;
    stream.end().await;
    assert_eq!(other.tools().await, [""; 0]);
}

#[tokio::test]
async fn an_expired_key_loses_its_open_streams() {
    let stage = Stage::start().await;
    let end = stage.world.now().plus_seconds(5);
    stage.world.issue("api_key_short", Role::Owner, Some(end)).await;
    stage.settled().await;
    let mut client = stage.client_of("/projects/search/unified", "api_key_short");
    client.initialize("2025-06-18").await;
    let stream = client.listen().await;
    stage.world.pass_seconds(5);
    stream.end().await;
}

#[tokio::test]
async fn a_session_belongs_to_its_key_and_its_place() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.world.issue("api_key_second", Role::Owner, None).await;
    let client = stage.opened().await;
    let list = message(1, "tools/list", &json!({}));
    let mut thief = stage.client_of("/projects/search/unified", "api_key_second");
    thief.session = client.session.clone();
    assert_eq!(thief.send(list.clone()).await.status(), 404);
    let mut elsewhere = stage.client_of("/projects/search/servers/docs", KEY);
    elsewhere.session = client.session.clone();
    assert_eq!(elsewhere.send(list.clone()).await.status(), 404);
    assert_eq!(client.send(list).await.status(), 200);
}

#[tokio::test]
async fn foreign_origins_and_hosts_are_refused() {
    let stage = Stage::start().await;
    let client = stage.opened().await;
    let status = async |name: &'static str, value: &'static str| {
        let request = client.builder(Method::POST).header(name, value);
        let request = request.body(message(1, "ping", &json!({})));
        soon(request.send()).await.unwrap().status().as_u16()
    };
    assert_eq!(status("origin", "https://mcp.example.com").await, 200);
    assert_eq!(status("origin", "https://console.example.com").await, 200);
    assert_eq!(status("origin", "http://localhost:6274").await, 200);
    assert_eq!(status("origin", "https://evil.example").await, 403);
    assert_eq!(status("origin", "null").await, 403);
    assert_eq!(status("host", "evil.example").await, 403);
}

#[tokio::test]
async fn a_configuration_that_is_too_old_lets_nobody_in() {
    let stage = Stage::start().await;
    let client = stage.opened().await;
    let ping = message(1, "ping", &json!({}));
    stage.world.pass_seconds(60);
    assert_eq!(client.send(ping.clone()).await.status(), 200);
    stage.world.pass_seconds(1);
    let response = client.send(ping.clone()).await;
    assert_eq!(response.status(), 503);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["data"]["reason"], "UNAVAILABLE");
    stage.world.beat().await;
    let now = stage.world.now();
    until("it is fresh again", || stage.replica.freshness(now).is_some_and(|age| age.is_zero()))
        .await;
    assert_eq!(client.send(ping).await.status(), 200);
}

#[tokio::test]
async fn what_is_switched_off_is_not_found_and_its_sessions_end() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let client = stage.opened().await;
    let unified = client.listen().await;
    let mut own = stage.client_of("/projects/search/servers/docs", KEY);
    own.initialize("2025-06-18").await;
    assert_eq!(own.tools().await, ["find"]);
    let stream = own.listen().await;
    let off = ProjectSettings { unified_enabled: false, ..ProjectSettings::default() };
    stage.world.set(off).await;
    unified.end().await;
    let list = message(1, "tools/list", &json!({}));
    assert_eq!(client.send(list.clone()).await.status(), 404);
    assert_eq!(own.send(list.clone()).await.status(), 200);
    stage.world.change_server(1, ServerEvent::Disabled).await;
    stream.end().await;
    assert_eq!(own.send(list).await.status(), 404);
}

#[tokio::test]
async fn denials_of_a_key_are_recorded_ten_times_a_second() {
    let stage = Stage::start().await;
    stage.settled().await;
    let denied = async || {
        for _ in 0..15 {
            let place = "/projects/nope/unified/mcp";
            assert_eq!(status(&stage, &Method::GET, place, Some(KEY)).await.0, 404);
        }
    };
    denied().await;
    stage.world.pass_seconds(1);
    denied().await;
    until("twenty denials", || stage.world.denials().len() >= 20).await;
    assert_eq!(stage.world.denials().len(), 20);
}
