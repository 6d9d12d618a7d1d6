//! The configurations that are handed out.

use serde_json::{Value, json};

use crate::harness::{Options, Orch, Streamable, stdio_fixture};

/// The secret values of the two servers, in the order in which they are asked for below.
const SECRETS: [&str; 2] = ["value-of-the-github-token", "value-of-the-analytics-key"];

/// A system with the two servers of the guide's example.
async fn orch(options: Options) -> Orch {
    let orch = Orch::start(options).await;
    let mut github = stdio_fixture("github", &["--tools", "1"]);
    github["env"] = json!({ "GITHUB_TOKEN": SECRETS[0] });
    github["auto_approve"] = json!(["echo"]);
    orch.register(&github).await;
    let analytics = json!({
        "name": "analytics", "type": "sse", "url": "https://analytics-mcp.example.com/sse",
        "headers": { "X-API-Key": SECRETS[1] }, "timeout": 1,
    });
    orch.register(&analytics).await;
    orch.active(&["github"]).await;
    orch
}

fn unified_entry(orch: &Orch, config: &Value) -> Value {
    let servers = config["mcpServers"].as_object().expect("mcpServers");
    assert_eq!(servers.len(), 1, "{config}");
    let name = format!("mcp-orch-unified-{}", orch.ready.project_id);
    servers.get(&name).unwrap_or_else(|| panic!("no {name} in {config}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unified_config_has_one_entry_and_a_key_gets_itself_back() {
    let orch = orch(Options::default()).await;
    let path = orch.project("/cline-config?unified=true");
    let by_key = orch.rest_as(&orch.api_key).get(&path).await.expect_status(200);
    let entry = unified_entry(&orch, &by_key);
    assert_eq!((&entry["type"], &entry["timeout"]), (&json!("sse"), &json!(60)));
    assert_eq!(entry["url"], orch.ready.sse_url);
    assert_eq!(entry["headers"]["Authorization"], format!("Bearer {}", orch.api_key));
    assert_eq!(entry["autoApprove"], json!(["github__echo"]), "{entry}");

    let by_session = orch.rest().get(&path).await.expect_status(200);
    let shown = unified_entry(&orch, &by_session)["headers"]["Authorization"].to_string();
    assert!(shown.contains("Bearer api_key_…"), "a GET never mints: {shown}");
    assert!(!shown.contains(&orch.api_key));
    let keys = orch.cli().rows(&["key", "list"]).await;
    assert_eq!(keys.len(), 1, "no key was made: {keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_individual_config_shows_values_to_an_owners_session_only() {
    let orch = orch(Options::default()).await;
    let path = orch.project("/cline-config?unified=false");
    let config = orch.rest().get(&path).await.expect_status(200);
    let id = &orch.ready.project_id;
    let github = &config["mcpServers"][format!("project-{id}-github")];
    let fixture = stdio_fixture("github", &["--tools", "1"]);
    assert_eq!(github["type"], "stdio");
    assert_eq!((&github["command"], &github["args"]), (&fixture["command"], &fixture["args"]));
    assert_eq!(github["env"], json!({ "GITHUB_TOKEN": SECRETS[0] }));
    let analytics = &config["mcpServers"][format!("project-{id}-analytics")];
    assert_eq!(analytics["type"], "sse");
    assert_eq!(analytics["url"], "https://analytics-mcp.example.com/sse");
    assert_eq!(analytics["headers"], json!({ "X-API-Key": SECRETS[1] }));
    let audit = orch.rest().get(&orch.project("/audit")).await.text;
    assert!(audit.contains("access.config_revealed"), "a read is audited");

    let by_key = orch.rest_as(&orch.api_key).get(&path).await;
    assert_eq!(by_key.status.as_u16(), 200, "{}", by_key.text);
    for secret in SECRETS {
        assert!(!by_key.text.contains(secret), "{}", by_key.text);
    }
    assert!(by_key.text.contains('…'), "{}", by_key.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_is_minted_for_each_client_with_a_key_that_works() {
    let orch = orch(Options::default()).await;
    let path = orch.project("/client-configs");
    for client in ["claude-desktop", "cursor", "cline", "vscode", "claude-code"] {
        let minted = orch.rest().post(&path, &json!({ "client": client })).await;
        assert!(minted.status.is_success(), "{client}: {}", minted.text);
        let start = minted.text.find("api_key_").unwrap_or_else(|| panic!("no key in {minted:?}"));
        let key: String = minted.text[start..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            .collect();
        assert_ne!(key, orch.api_key);
        let mcp = Streamable::open(&orch.ready.mcp_url, &key).await;
        assert!(mcp.tools().await.contains(&"github__echo".to_owned()), "{client}");
    }
    let keys = orch.cli().rows(&["key", "list"]).await;
    assert_eq!(keys.len(), 6, "each is a key of its own, to be revoked: {keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_url_comes_from_the_public_url() {
    let options = Options::default().argument("--public-url").argument("https://mcp.example.com");
    let orch = Orch::start(options).await;
    assert!(orch.ready.sse_url.starts_with("https://mcp.example.com/projects/"), "{orch:?}");
    assert!(orch.ready.mcp_url.starts_with("https://mcp.example.com/projects/"), "{orch:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_describes_each_route() {
    let orch = Orch::start(Options::default()).await;
    let document = orch.rest().get("/openapi.json").await.expect_status(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{document}");
    let paths = document["paths"].as_object().unwrap();
    let has = |path: &str, method: &str| {
        paths.iter().any(|(known, methods)| {
            let same = known.split('/').count() == path.split('/').count()
                && known
                    .split('/')
                    .zip(path.split('/'))
                    .all(|(a, b)| a == b || (a.starts_with('{') && b.starts_with('{')));
            same && methods.get(method).is_some()
        })
    };
    for (method, path) in [
        ("post", "/api/auth/login"),
        ("get", "/projects/{id}/servers"),
        ("post", "/projects/{id}/servers"),
        ("put", "/projects/{id}/servers/{sid}"),
        ("delete", "/projects/{id}/servers/{sid}"),
        ("post", "/projects/{id}/servers/{sid}/toggle"),
        ("post", "/projects/{id}/servers/{sid}/test"),
        ("get", "/projects/{id}/cline-config"),
        ("post", "/projects/{id}/client-configs"),
        ("get", "/projects/{id}/calls"),
        ("get", "/projects/{id}/audit"),
    ] {
        assert!(has(path, method), "{method} {path} is not described");
    }
}
