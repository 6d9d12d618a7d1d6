//! The SDKs' clients: list, call, progress, cancel, resources and prompts over both transports.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::fleet::Fleet;
use crate::harness::{Client, Orch, Sdk, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn python_clients_use_the_whole_fleet() {
    let fleet = Fleet::start().await;
    for transport in ["sse", "http"] {
        everything_works(&fleet, Sdk::Python, transport).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_clients_use_the_whole_fleet() {
    let fleet = Fleet::start().await;
    for transport in ["sse", "http"] {
        everything_works(&fleet, Sdk::TypeScript, transport).await;
    }
}

async fn everything_works(fleet: &Fleet, sdk: Sdk, transport: &str) {
    let mut client = Client::connect(sdk, &fleet.connection(transport)).await;
    let tools = client.tools().await;
    let listed: BTreeSet<String> = tools.iter().cloned().collect();
    assert_eq!(listed, fleet.tools, "{sdk:?} over {transport}");
    assert_eq!(listed.len(), tools.len(), "no name twice");
    calls(&mut client).await;
    progress(&mut client).await;
    cancel(&fleet.orch, &mut client).await;
    resources_and_prompts(&mut client).await;
    client.close().await;
}

/// A call to each server is answered by that server.
async fn calls(client: &mut Client) {
    for server in ["all-stdio", "all-sse", "all-http"] {
        let message = format!("hello, {server}");
        let echoed = client.call(&format!("{server}__echo"), json!({ "message": message })).await;
        assert_eq!(echoed["content"][0]["text"], format!("Echo: {message}"), "{server}");
        let sum = client.call(&format!("{server}__get-sum"), json!({ "a": 19, "b": 23 })).await;
        assert!(sum["content"][0]["text"].as_str().unwrap().contains("42"), "{sum}");
    }
    let time = client.call("time__get_current_time", json!({ "timezone": "UTC" })).await;
    assert!(time["content"][0]["text"].as_str().unwrap().contains("UTC"), "{time}");
    let echoed = client.call("fixture__echo", json!({ "message": "structured" })).await;
    assert_eq!(echoed["structuredContent"], json!({ "message": "structured" }));
    let failed = client.call("fixture__fail", json!({ "message": "on purpose" })).await;
    assert_eq!(failed["isError"], true);
    assert_eq!(failed["content"][0]["text"], "on purpose");
    let refused =
        json!({ "op": "call", "name": "fixture__rpc_error", "arguments": { "message": "no" } });
    let refused = client.try_ask(&refused).await;
    assert!(refused["error"].as_str().is_some_and(|text| text.contains("no")), "{refused}");
}

async fn progress(client: &mut Client) {
    let command = json!({
        "op": "progress", "name": "fixture__slow", "arguments": { "ms": 400, "steps": 4 },
    });
    let answer = client.ask(&command).await;
    let seen: Vec<f64> = answer["progress"]
        .as_array()
        .unwrap()
        .iter()
        .map(|note| note["progress"].as_f64().unwrap())
        .collect();
    // The last note and the answer leave together, and an SDK may drop the note then.
    assert_eq!(seen[..3], [1.0, 2.0, 3.0], "{answer}");
    assert_eq!(answer["progress"][0]["message"], "step 1 of 4");
    assert_eq!(answer["result"]["content"][0]["text"], "waited 400 ms in 4 steps");
}

/// The upstream counts a cancel as effective only if it came under the id that the upstream
/// knows, and stopped work that was running.
async fn cancel(orch: &Orch, client: &mut Client) {
    let before = stats(client).await;
    let command = json!({
        "op": "cancel", "name": "fixture__slow", "arguments": { "ms": 120_000, "steps": 1200 },
    });
    client.ask(&command).await;
    eventually("the upstream stops its work", Duration::from_secs(10), async || {
        let now = stats(client).await;
        let stopped = now["cancels_effective"].as_u64() > before["cancels_effective"].as_u64()
            && now["in_flight"] == 0;
        if stopped { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    eventually("the cancelled call is on record", Duration::from_secs(10), async || {
        let rows = orch.cli().rows(&["call", "list", "--outcome", "cancelled"]).await;
        if rows.iter().any(|row| row["tool"] == "slow") { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
}

pub(super) async fn stats(client: &mut Client) -> Value {
    client.call("fixture__stats", json!({})).await["structuredContent"].clone()
}

async fn resources_and_prompts(client: &mut Client) {
    let resources = client.ask(&json!({ "op": "list_resources" })).await;
    let uris: Vec<&str> =
        resources.as_array().unwrap().iter().map(|uri| uri.as_str().unwrap()).collect();
    let text = uris.iter().find(|uri| uri.ends_with("text/2")).expect("the fixture's resource");
    let read = client.ask(&json!({ "op": "read", "uri": text })).await;
    assert_eq!(read["contents"][0]["text"], "text number 2", "{read}");
    let distinct: BTreeSet<_> = uris.iter().collect();
    assert_eq!(distinct.len(), uris.len(), "no URI twice: {uris:?}");
    let prompts = client.ask(&json!({ "op": "list_prompts" })).await;
    assert!(prompts.as_array().unwrap().contains(&json!("fixture__greet")), "{prompts}");
    let prompt =
        json!({ "op": "prompt", "name": "fixture__greet", "arguments": { "name": "Ada" } });
    let prompt = client.ask(&prompt).await;
    assert_eq!(prompt["messages"][0]["content"]["text"], "Say hello to Ada.");
}
