//! Lists: merged, paged, never asked of an upstream, and told when they change.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::connection::ConnectionState;
use domain::event::ServerEvent;
use domain::project::{Naming, ProjectSettings};
use edge::EdgeLimits;
use serde_json::json;

use crate::client::{SseClient, names};
use crate::stage::Stage;
use crate::worker::Worker;
use crate::world::KEY;

#[tokio::test]
async fn all_servers_are_merged_and_none_is_asked() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.world.add(2, "time", &["now", "zone"]).await;
    let workers = [Worker::echo(&stage.world, 1).await, Worker::echo(&stage.world, 2).await];
    let client = stage.opened().await;
    assert_eq!(client.tools().await, ["docs__find", "time__now", "time__zone"]);
    let prompts = client.request("prompts/list", json!({})).await;
    let expected = json!([{"name": "docs__greet"}, {"name": "time__greet"}]);
    assert_eq!(prompts["result"]["prompts"], expected);
    let resources = client.request("resources/list", json!({})).await;
    assert_eq!(resources["result"]["resources"][1]["uri"], "mcp+time+file:///a");
    let templates = client.request("resources/templates/list", json!({})).await;
    let template = &templates["result"]["resourceTemplates"][0]["uriTemplate"];
    assert_eq!(template, "mcp+docs+file:///{x}");
    assert!(workers.iter().all(|worker| worker.seen() == 0));
}

#[tokio::test]
async fn a_single_server_keeps_its_names_where_the_project_says_so() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let naming = Naming::PlainWhenSingle;
    stage.world.set(ProjectSettings { naming, ..ProjectSettings::default() }).await;
    let client = stage.opened().await;
    assert_eq!(client.tools().await, ["find"]);
    stage.world.add(2, "time", &["now"]).await;
    stage.settled().await;
    until_tools(&client, &["docs__find", "time__now"]).await;
    // A server's own endpoint is always plain.
    let mut own = stage.client_of("/projects/search/servers/time", KEY);
    own.initialize("2025-06-18").await;
    assert_eq!(own.tools().await, ["now"]);
}

/// Waits for the merge to follow the replica.
async fn until_tools(client: &crate::client::Client, expected: &[&str]) {
    for _ in 0..5_000 {
        if client.tools().await == expected {
            return;
        }
    }
    panic!("never listed: {expected:?}");
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let stage = Stage::start().await;
    stage.world.register(1, "docs").await;
    let tools: Vec<_> = (0..2_500).map(|n| format!(r#"{{"name":"t{n}"}}"#)).collect();
    stage.world.observe_catalogue(1, &tools).await;
    let client = stage.opened().await;
    let (mut all, mut params, mut pages) = (Vec::new(), json!({"cursor": null}), 0);
    loop {
        let page = client.request("tools/list", params).await;
        all.extend(names(&page));
        pages += 1;
        let next = &page["result"]["nextCursor"];
        if next.is_null() {
            break;
        }
        params = json!({"cursor": next});
    }
    assert_eq!((pages, all.len()), (3, 2_500));
    assert_eq!(all[2_499], "docs__t2499");
    for cursor in [json!("nonsense"), json!(7)] {
        let refused = client.request("tools/list", json!({"cursor": cursor})).await;
        assert_eq!(refused["error"]["code"], -32602);
    }
}

#[tokio::test]
async fn clients_of_both_transports_are_told_when_a_list_changed() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let client = stage.opened().await;
    let mut stream = client.listen().await;
    assert_eq!(client.tools().await, ["docs__find"]);
    let mut sse = SseClient::open(&stage.client(), &stage.url).await;
    let hello = json!({"protocolVersion": "2024-11-05"});
    sse.post(crate::client::message(1, "initialize", &hello)).await;
    assert_eq!(sse.stream.message().await["result"]["protocolVersion"], "2024-11-05");
    // A change that no client sees, then one that they do.
    stage.world.observe_catalogue(1, &[r#"{"name":"find"}"#.to_owned()]).await;
    stage.world.observe_catalogue(1, &[r#"{"name":"seek"}"#.to_owned()]).await;
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    assert_eq!(stream.message().await, changed);
    assert_eq!(sse.stream.message().await, changed);
    assert_eq!(client.tools().await, ["docs__seek"]);
    let tool = "seek".to_owned();
    stage.world.change_server(1, ServerEvent::ToolDisabled { tool }).await;
    assert_eq!(stream.message().await, changed);
    assert_eq!(client.tools().await, [""; 0]);
}

#[tokio::test]
async fn the_first_list_waits_for_a_server_that_was_never_seen() {
    let stage = Stage::with(EdgeLimits {
        first_list_wait: Duration::from_secs(10),
        ..EdgeLimits::default()
    })
    .await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.world.register(2, "slow").await;
    let client = stage.opened().await;
    let listing = tokio::spawn(async move { client.tools().await });
    stage.world.observe_catalogue(2, &[r#"{"name":"x"}"#.to_owned()]).await;
    assert_eq!(crate::stage::soon(listing).await.unwrap(), ["docs__find", "slow__x"]);
}

#[tokio::test]
async fn a_server_that_never_shows_delays_one_list_and_a_failed_one_none() {
    let wait = Duration::from_millis(300);
    let limits = EdgeLimits { first_list_wait: wait, ..EdgeLimits::default() };
    let stage = Stage::with(limits).await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.world.register(2, "failed").await;
    stage.world.observe_state(2, ConnectionState::Failed, "no").await;
    let client = stage.opened().await;
    let begun = std::time::Instant::now();
    assert_eq!(client.tools().await, ["docs__find"]);
    let failed = begun.elapsed();
    stage.world.register(3, "hangs").await;
    stage.settled().await;
    until_delayed(&client, wait).await;
    let begun = std::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(client.tools().await, ["docs__find"]);
    }
    assert!(failed < wait, "{failed:?}");
    assert!(begun.elapsed() < wait, "{:?}", begun.elapsed());
}

/// Lists until one of them had to wait: then the edge knows the new server.
async fn until_delayed(client: &crate::client::Client, wait: Duration) {
    for _ in 0..5_000 {
        let begun = std::time::Instant::now();
        client.tools().await;
        if begun.elapsed() >= wait / 2 {
            return;
        }
    }
    panic!("no list waited");
}

#[tokio::test]
async fn what_cannot_be_fetched_stays_as_it_was_and_comes_later() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let client = stage.opened().await;
    assert_eq!(client.tools().await, ["docs__find"]);
    stage.world.catalogues_away.store(true, Ordering::SeqCst);
    stage.world.observe_catalogue(1, &[r#"{"name":"seek"}"#.to_owned()]).await;
    stage.settled().await;
    for _ in 0..20 {
        assert_eq!(client.tools().await, ["docs__find"]);
    }
    let mut stream = client.listen().await;
    stage.world.catalogues_away.store(false, Ordering::SeqCst);
    assert_eq!(stream.message().await["method"], "notifications/tools/list_changed");
    assert_eq!(client.tools().await, ["docs__seek"]);
}
