//! Definitions of tools: changed, and approved.

use proto::control::v1::Role;
use reqwest::Method;
use serde_json::json;

use super::Site;
use crate::pinning::seen;

async fn changed_tool(site: &Site) -> String {
    let body = json!({ "name": "files", "command": "tool" });
    let made = site.http.post(&site.at("/servers"), body).await.ok();
    let id = made["id"].as_str().unwrap().to_owned();
    seen(&site.world, &site.owner, &id, &[("read file", "Reads"), ("write", "Writes")]).await;
    seen(&site.world, &site.owner, &id, &[("read file", "Mails"), ("write", "Writes")]).await;
    site.at(&format!("/servers/{id}"))
}

#[tokio::test]
async fn a_changed_definition_is_shown_and_approved_by_its_hash() {
    let site = Site::new().await;
    let server = changed_tool(&site).await;
    assert_eq!(site.http.get(&server).await.ok()["changed_tools_count"], 1);
    let tools = site.http.get(&format!("{server}/tools")).await.ok()["tools"].clone();
    assert_eq!(
        (&tools[0]["definition_changed"], &tools[1]["definition_changed"]),
        (&json!(true), &json!(false))
    );
    assert_ne!(tools[0]["definition_hash"], tools[0]["approved_hash"]);

    let approve = format!("{server}/tools/read%20file/approve");
    let stale = site.http.post(&approve, json!({ "hash": tools[0]["approved_hash"] })).await;
    let refusal = stale.refused();
    assert_eq!(
        (refusal.0, refusal.1.as_str(), refusal.2.as_deref()),
        (409, "CONFLICT", Some("hash"))
    );
    let developer = site.member("dave", Role::Developer).await;
    assert_eq!(developer.post(&approve, json!({})).await.refused().0, 403);
    let done = site.http.post(&approve, json!({ "hash": tools[0]["definition_hash"] })).await.ok();
    assert_eq!(done["approved"][0]["tool"], "read file");
    assert_eq!(site.http.get(&server).await.ok()["changed_tools_count"], 0);
    let unknown = site.http.post(&format!("{server}/tools/none/approve"), json!({})).await;
    assert_eq!(unknown.refused().0, 404);
    assert!(site.actions().await.contains(&"server.tool_approved".to_owned()));
}

#[tokio::test]
async fn all_changed_definitions_of_a_server_are_approved_at_once() {
    let site = Site::new().await;
    let server = changed_tool(&site).await;
    let approve = format!("{server}/tools/approve");
    let done = site.http.send(Method::POST, &approve, None).await.ok();
    assert_eq!(done["approved"].as_array().unwrap().len(), 1);
    assert_eq!(site.http.send(Method::POST, &approve, None).await.ok(), json!({ "approved": [] }));
}

#[tokio::test]
async fn what_a_change_leads_to_is_set_and_shown() {
    let site = Site::new().await;
    let path = site.at("");
    assert_eq!(site.http.get(&path).await.ok()["tool_pinning"], "off");
    let block = Some(json!({ "tool_pinning": "block" }).to_string());
    let changed = site.http.send(Method::PATCH, &path, block).await.ok();
    assert_eq!(changed["tool_pinning"], "block");
    let wrong = Some(json!({ "tool_pinning": "sometimes" }).to_string());
    let refusal = site.http.send(Method::PATCH, &path, wrong).await.refused();
    assert_eq!((refusal.0, refusal.2.as_deref()), (400, Some("tool_pinning")));
}
