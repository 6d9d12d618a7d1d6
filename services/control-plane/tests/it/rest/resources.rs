//! Projects, members, keys, calls and the audit log.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Http, Site};

#[tokio::test]
async fn a_project_is_made_changed_and_ended() {
    let site = Site::new().await;
    let body = json!({ "name": "Team", "id": "abc123", "description": "ours" });
    let reply = site.http.post("/projects", body.clone()).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let made = reply.ok();
    assert_eq!(made["sse_url"], "http://mcp.example.org/projects/abc123/unified/sse");
    assert_eq!((&made["role"], &made["member_count"]), (&json!("owner"), &json!(1)));
    assert_eq!(site.http.post("/projects", body).await.refused().0, 409);
    let change = json!({ "audit_mode": "strict", "naming": "plain_when_single" }).to_string();
    let changed = site.http.send(Method::PATCH, "/projects/abc123", Some(change)).await.ok();
    assert_eq!((&changed["audit_mode"], &changed["name"]), (&json!("strict"), &json!("Team")));
    let wrong = json!({ "audit_mode": "sometimes" }).to_string();
    let wrong = site.http.send(Method::PATCH, "/projects/abc123", Some(wrong)).await.refused();
    assert_eq!(wrong.2.as_deref(), Some("audit_mode"));
    let again = json!({ "retry_policy": "read_only" }).to_string();
    let again = site.http.send(Method::PATCH, "/projects/abc123", Some(again)).await.ok();
    assert_eq!(
        (&changed["retry_policy"], &again["retry_policy"], &again["audit_mode"]),
        (&json!("never"), &json!("read_only"), &json!("strict"))
    );
    assert_eq!(site.http.delete("/projects/abc123").await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.http.get("/projects/abc123").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let site = Site::new().await;
    for n in 0..3 {
        site.http.post("/projects", json!({ "name": format!("p{n}") })).await.ok();
    }
    let (mut seen, mut token) = (0, String::new());
    loop {
        let path = format!("/projects?page_size=3&page_token={token}");
        let page = site.http.get(&path).await.ok();
        seen += page["projects"].as_array().unwrap().len();
        match page["next_page_token"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, 4);
    let wrong = site.http.get("/projects?page_size=501").await.refused();
    assert_eq!(wrong.2.as_deref(), Some("page_size"));
}

#[tokio::test]
async fn members_come_change_and_go() {
    let site = Site::new().await;
    let person = site.world.person(&site.owner, "kim").await;
    let by_mail = site.at("/members/kim@example.org");
    let member = site.http.put(&by_mail, json!({ "role": "reporter" })).await.ok();
    assert_eq!(
        (&member["role"], &member["user_id"]),
        (&json!("reporter"), &json!(person.user.to_string()))
    );
    let path = site.at(&format!("/members/{}", person.user));
    let member = site.http.put(&path, json!({ "role": "developer" })).await.ok();
    assert_eq!(member["role"], "developer");
    let list = site.http.get(&site.at("/members")).await.ok();
    assert_eq!(list["members"].as_array().unwrap().len(), 2);
    let wrong = site.http.put(&path, json!({ "role": "king" })).await.refused();
    assert_eq!(wrong.2.as_deref(), Some("role"));
    let owner = site.at(&format!("/members/{}", site.owner.caller.user));
    assert_eq!(site.http.delete(&owner).await.refused().0, 422, "the last owner stays");
    let leaving = Http::of(&site.world, &person);
    assert_eq!(leaving.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(leaving.get(&site.at("")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_key_is_shown_once() {
    let site = Site::new().await;
    let body = json!({ "name": "ci", "role": "reporter", "expires_at": "2099-01-01T00:00:00Z" });
    let made = site.http.post(&site.at("/api-keys"), body).await.ok();
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("api_key_") && secret.ends_with(made["suffix"].as_str().unwrap()));
    assert_eq!(made["expires_at"], "2099-01-01T00:00:00Z");
    let list = site.http.get(&site.at("/api-keys")).await;
    assert!(!list.text.contains(secret));
    let path = site.at(&format!("/api-keys/{}", made["id"].as_str().unwrap()));
    assert_eq!(site.http.delete(&path).await.status, StatusCode::NO_CONTENT);
    let keys = site.http.get(&site.at("/api-keys")).await.ok();
    let revoked: Vec<&Value> = keys["api_keys"].as_array().unwrap().iter().collect();
    assert!(revoked.iter().any(|key| key["name"] == "ci" && key["revoked"] == true));
    let wrong = json!({ "name": "x", "expires_at": "soon" });
    let wrong = site.http.post(&site.at("/api-keys"), wrong).await.refused();
    assert_eq!(wrong.2.as_deref(), Some("expires_at"));
}

#[tokio::test]
async fn what_was_done_is_in_the_audit_log() {
    let site = Site::new().await;
    let body = json!({ "name": "a", "type": "sse", "url": "http://h/sse" });
    let made = site.http.post(&site.at("/servers"), body).await.ok();
    let path = site.at("/audit?action=server.&page_size=10");
    let audit = site.http.get(&path).await.ok();
    let entry = &audit["entries"][0];
    assert_eq!(entry["action"], "server.registered");
    assert_eq!((&entry["target_id"], &entry["outcome"]), (&made["id"], &json!("ok")));
    assert_eq!(entry["actor_id"], site.owner.caller.user.to_string());
    assert!(entry["event"].is_object());
    let none = site.http.get(&site.at("/audit?from=2099-01-01T00:00:00Z")).await.ok();
    assert_eq!(none["entries"], json!([]));
}

#[tokio::test]
async fn calls_are_listed_and_filtered_by_valid_filters_only() {
    let site = Site::new().await;
    assert_eq!(site.http.get(&site.at("/calls")).await.ok(), json!({ "calls": [] }));
    let path = site.at("/calls?outcome=ok,tool_error&min_total_us=5&include_arguments=true");
    assert_eq!(site.http.get(&path).await.status, StatusCode::OK);
    for (query, field) in
        [("outcome=fine", "outcome"), ("from=x", "from"), ("server_id=x", "server_id")]
    {
        let refused = site.http.get(&site.at(&format!("/calls?{query}"))).await.refused();
        assert_eq!(refused.2.as_deref(), Some(field));
    }
    let unknown = site.http.get(&site.at("/calls/0197")).await.refused();
    assert_eq!(unknown.0, 404);
}
