//! Configurations for clients, and which key and which values are in them.

use domain::ServerId;
use proto::control::v1 as pb;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{CANARY, Site};

async fn with_servers() -> Site {
    let site = Site::new().await;
    for body in [
        json!({ "name": "github", "type": "stdio", "command": "npx",
            "args": ["-y", "@modelcontextprotocol/server-github"],
            "env": { "GITHUB_TOKEN": CANARY }, "auto_approve": ["get_issue"] }),
        json!({ "name": "analytics", "type": "sse",
            "url": format!("https://analytics-mcp.example.com/sse?key={CANARY}"),
            "headers": { "X-API-Key": CANARY } }),
    ] {
        site.http.post(&site.at("/servers"), body).await.ok();
    }
    site
}

fn unified(site: &Site, config: &Value) -> Value {
    let servers = config["mcpServers"].as_object().unwrap();
    assert_eq!(servers.len(), 1, "one entry");
    servers[&format!("mcp-orch-unified-{}", site.project)].clone()
}

#[tokio::test]
async fn a_key_gets_itself_back_and_a_person_gets_a_placeholder() {
    let site = with_servers().await;
    let path = site.at("/cline-config?unified=true");
    let key = site.api_key();
    let entry = unified(&site, &site.http.with(key).get(&path).await.ok());
    assert_eq!(
        entry,
        json!({
            "type": "sse",
            "url": format!("http://mcp.example.org/projects/{}/unified/sse", site.project),
            "timeout": 60,
            "headers": { "Authorization": format!("Bearer {key}") },
            "autoApprove": ["github__get_issue"],
            "disabled": false,
        })
    );
    let before = site.actions().await.len();
    let reply = site.http.get(&path).await;
    assert!(!reply.text.contains(key));
    let authorization = unified(&site, &reply.ok())["headers"]["Authorization"].clone();
    assert_eq!(authorization, format!("Bearer api_key_…{}", &key[key.len() - 4..]));
    assert_eq!(site.actions().await.len(), before, "reading makes nothing");
}

#[tokio::test]
async fn values_are_shown_to_owners_and_developers_only_and_that_is_recorded() {
    let site = with_servers().await;
    let path = site.at("/cline-config?unified=false");
    let reply = site.http.get(&path).await.ok();
    let name = |server: &str| format!("project-{}-{server}", site.project);
    assert_eq!(
        reply["mcpServers"][name("github")],
        json!({ "type": "stdio", "command": "npx",
            "args": ["-y", "@modelcontextprotocol/server-github"],
            "env": { "GITHUB_TOKEN": CANARY } })
    );
    assert_eq!(
        reply["mcpServers"][name("analytics")],
        json!({ "type": "sse",
            "url": format!("https://analytics-mcp.example.com/sse?key={CANARY}"),
            "headers": { "X-API-Key": CANARY } })
    );
    let developer = site.member("dev", pb::Role::Developer).await;
    assert!(developer.get(&path).await.text.contains(CANARY));
    let revealed = |actions: Vec<String>| {
        actions.iter().filter(|action| *action == "access.config_revealed").count()
    };
    assert_eq!(revealed(site.actions().await), 2);
    let reporter = site.member("reporter", pb::Role::Reporter).await;
    for other in [reporter, site.http.with(site.api_key())] {
        let reply = other.get(&path).await;
        assert!(!reply.text.contains(CANARY), "{}", reply.text);
        let reply = reply.ok();
        assert_eq!(reply["mcpServers"][name("github")]["env"]["GITHUB_TOKEN"], "…");
        assert_eq!(
            reply["mcpServers"][name("analytics")]["url"],
            "https://analytics-mcp.example.com/sse"
        );
    }
    assert_eq!(revealed(site.actions().await), 2, "nothing was shown");
}

#[tokio::test]
async fn a_client_gets_a_key_of_its_own_once() {
    let site = with_servers().await;
    let path = site.at("/client-configs");
    for client in ["claude-desktop", "claude-code", "cursor", "cline", "vscode", "windsurf", "zed"]
    {
        let reply = site.http.post(&path, json!({ "client": client })).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        let text = reply.text.clone();
        let at = text.find("api_key_").unwrap();
        let key: String =
            text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let answer = reply.ok();
        assert_eq!(answer["api_key"]["suffix"], key[key.len() - 4..]);
        assert_eq!(site.http.with(&key).get(&site.at("/servers")).await.status, StatusCode::OK);
        let id = answer["api_key"]["id"].as_str().unwrap();
        let revoked = site.http.delete(&site.at(&format!("/api-keys/{id}"))).await;
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
        let refused = site.http.with(&key).get(&site.at("/servers")).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    }
    let keys = site.http.get(&site.at("/api-keys")).await;
    assert!(keys.text.contains("Claude Desktop") && keys.text.contains("VS Code"));
    let issued = site.actions().await.iter().filter(|a| *a == "api_key.issued").count();
    assert_eq!(issued, 8, "the first key and one for each client");
    let wrong = site.http.post(&path, json!({ "client": "emacs" })).await.refused();
    assert_eq!(wrong.2.as_deref(), Some("client"));
}

#[tokio::test]
async fn only_a_developers_session_gets_a_key() {
    let site = with_servers().await;
    let path = site.at("/client-configs");
    let body = json!({ "client": "cursor" });
    let reporter = site.member("reporter", pb::Role::Reporter).await;
    assert_eq!(reporter.post(&path, body.clone()).await.refused().0, 403);
    assert_eq!(site.http.with(site.api_key()).post(&path, body.clone()).await.refused().0, 403);
    let developer = site.member("dev", pb::Role::Developer).await;
    let answer = developer.post(&path, body).await.ok();
    assert_eq!(answer["api_key"]["role"], "developer");
    assert!(answer["deep_link"].as_str().unwrap().starts_with("cursor://"));
    let above = json!({ "client": "cursor", "role": "owner" });
    assert!(developer.post(&path, above).await.status.is_client_error());
}

#[tokio::test]
async fn the_bridge_for_claude_desktop_is_our_own_program() {
    let site = with_servers().await;
    let body = json!({ "client": "claude-desktop" });
    let answer = site.http.post(&site.at("/client-configs"), body).await.ok();
    let entry = unified(&site, &answer["config"]);
    assert_eq!(entry["command"], "mcp-orch");
    let url = format!("http://mcp.example.org/projects/{}/unified/mcp", site.project);
    assert_eq!(entry["args"], json!(["connect", url]));
    assert!(entry["env"]["MCP_ORCH_API_KEY"].as_str().unwrap().starts_with("api_key_"));
    let id: Result<ServerId, _> = answer["api_key"]["id"].as_str().unwrap().parse();
    assert!(id.is_ok(), "an id");
}
