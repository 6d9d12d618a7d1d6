//! Taking servers over from a file.

use proto::control::v1 as pb;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{CANARY, Site};

/// The guide's two files in one, with a comment and a bad entry.
fn file() -> String {
    format!(
        r#"{{
  // as the guide has it
  "mcpServers": {{
    "remote-sse-server": {{
      "type": "sse",
      "url": "http://10.150.0.36:8000/mcp",
      "timeout": 30,
      "headers": {{ "Authorization": "Bearer {CANARY}", "X-Custom-Header": "value" }},
      "autoApprove": ["safe_tool1", "safe_tool2"],
      "disabled": false
    }},
    "legacy-stdio": {{ "type": "stdio", "command": "npx", "env": {{ "K": "{CANARY}" }} }},
    "new-sse": {{ "type": "sse", "url": "https://h.example.com/sse?key={CANARY}" }},
    "migrating": {{ "type": "stdio", "disabled": true }},
    "broken": {{ "type": "carrier-pigeon" }},
  }}
}}"#
    )
}

async fn import(site: &Site, query: &str, file: String) -> Vec<(String, String, Value)> {
    let path = site.at(&format!("/servers/import{query}"));
    let reply = site.http.send(Method::POST, &path, Some(file)).await;
    assert!(!reply.text.contains(CANARY), "{}", reply.text);
    let answer = reply.ok();
    let servers = answer["servers"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    servers.map(|s| (text(&s["name"]), text(&s["action"]), s["changes"].clone())).collect()
}

fn actions(imported: &[(String, String, Value)]) -> Vec<(&str, &str)> {
    imported.iter().map(|(name, action, _)| (name.as_str(), action.as_str())).collect()
}

#[tokio::test]
async fn a_file_is_taken_over_and_again_changes_nothing() {
    let site = Site::new().await;
    let created = [
        ("broken", "refused"),
        ("legacy-stdio", "created"),
        ("migrating", "created"),
        ("new-sse", "created"),
        ("remote-sse-server", "created"),
    ];
    let planned = import(&site, "?dry_run=true", file()).await;
    assert_eq!(actions(&planned), created);
    assert_eq!(site.http.get(&site.at("/servers")).await.ok(), json!([]), "only planned");
    assert_eq!(actions(&import(&site, "", file()).await), created);
    let list = site.http.get(&site.at("/servers")).await.ok();
    assert_eq!(list.as_array().unwrap().len(), 4);
    assert_eq!(list[3]["transport_type"], "sse", "never guessed to be anything else");
    let again = import(&site, "", file()).await;
    assert!(again.iter().skip(1).all(|(_, action, _)| action == "unchanged"), "{again:?}");
}

#[tokio::test]
async fn a_migration_goes_on_by_name() {
    let site = Site::new().await;
    import(&site, "", file()).await;
    let before = site.http.get(&site.at("/servers")).await.ok();
    let changed = file()
        .replace(r#""type": "stdio", "disabled": true"#, r#""type": "sse", "url": "http://h/sse""#)
        .replace(r#""command": "npx""#, r#""command": "uvx""#);
    let imported = import(&site, "", changed.clone()).await;
    assert_eq!(imported[1].1, "updated");
    assert_eq!(imported[1].2, json!(["command: npx → uvx"]));
    assert_eq!(imported[2].2[0], "type: stdio → sse");
    let after = site.http.get(&site.at("/servers")).await.ok();
    assert_eq!(after[1]["id"], before[1]["id"], "the same server");
    assert_eq!(after[1]["transport_type"], "sse");
    let again = import(&site, "", changed).await;
    assert!(again.iter().skip(1).all(|(_, action, _)| action == "unchanged"), "{again:?}");
}

#[tokio::test]
async fn pruning_deletes_what_the_file_does_not_name() {
    let site = Site::new().await;
    import(&site, "", file()).await;
    let one = json!({ "mcpServers": { "legacy-stdio": { "command": "npx" } } }).to_string();
    let kept = import(&site, "", one.clone()).await;
    assert_eq!(actions(&kept), [("legacy-stdio", "updated")]);
    let pruned = import(&site, "?prune=true", one).await;
    assert_eq!(
        actions(&pruned)[1..],
        [("migrating", "deleted"), ("new-sse", "deleted"), ("remote-sse-server", "deleted"),]
    );
    assert_eq!(site.http.get(&site.at("/servers")).await.ok().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_whole() {
    let site = Site::new().await;
    let path = site.at("/servers/import");
    for text in ["{", "[]", "{}", &format!("{{\"mcpServers\": {CANARY}}}")] {
        let reply = site.http.send(Method::POST, &path, Some(text.to_owned())).await;
        assert!(!reply.text.contains(CANARY), "{}", reply.text);
        assert_eq!(reply.refused().0, 400, "{text}");
    }
    let large = site.http.send(Method::POST, &path, Some(" ".repeat(1024 * 1024 + 1))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    let developer = site.member("dev", pb::Role::Developer).await;
    assert_eq!(developer.send(Method::POST, &path, Some(file())).await.refused().0, 403);
}

#[tokio::test]
async fn an_isolation_may_stand_in_a_file_and_stays_when_it_does_not() {
    let site = Site::new().await;
    let file = |extra: &str| format!(r#"{{"mcpServers":{{"a":{{"command":"x"{extra}}}}}}}"#);
    import(&site, "", file(r#","isolation":"session""#)).await;
    let list = site.http.get(&site.at("/servers")).await.ok();
    assert_eq!(list[0]["isolation"], "session");
    let silent = import(&site, "", file("")).await;
    assert_eq!(actions(&silent), [("a", "unchanged")]);
    let changed = import(&site, "", file(r#","isolation":"shared""#)).await;
    assert_eq!(changed[0].2, json!(["isolation: session → shared"]));
    let refused = import(&site, "", file(r#","isolation":"alone""#)).await;
    assert_eq!(actions(&refused), [("a", "refused")]);
}

#[tokio::test]
async fn placement_labels_may_stand_in_a_file_and_stay_when_they_do_not() {
    let site = Site::new().await;
    let file = |extra: &str| format!(r#"{{"mcpServers":{{"a":{{"command":"x"{extra}}}}}}}"#);
    import(&site, "", file(r#","placementLabels":["gpu","docker"]"#)).await;
    let list = site.http.get(&site.at("/servers")).await.ok();
    assert_eq!(list[0]["placement_labels"], json!(["docker", "gpu"]));
    assert_eq!(actions(&import(&site, "", file("")).await), [("a", "unchanged")]);
    let changed = import(&site, "", file(r#","placement_labels":["gpu"]"#)).await;
    assert_eq!(changed[0].2, json!(["placement_labels: docker, gpu → gpu"]));
    let refused = import(&site, "", file(r#","placement_labels":["A"]"#)).await;
    assert_eq!(actions(&refused), [("a", "refused")]);
}
