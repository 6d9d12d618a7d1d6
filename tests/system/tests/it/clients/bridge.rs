//! What the system hands out for clients works as it is: generated configurations, and the bridge
//! for clients that only speak stdio.

use serde_json::{Value, json};

use crate::harness::{Client, Options, Orch, Sdk, stdio_fixture};

async fn orch() -> Orch {
    let orch = Orch::start(Options::default()).await;
    orch.register(&stdio_fixture("fixture", &[])).await;
    orch.active(&["fixture"]).await;
    orch
}

async fn works(sdk: Sdk, connection: &Value) {
    let mut client = Client::connect(sdk, connection).await;
    assert!(client.tools().await.contains(&"fixture__echo".to_owned()));
    let echoed = client.call("fixture__echo", json!({ "message": "as it is" })).await;
    assert_eq!(echoed["structuredContent"]["message"], "as it is");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_unified_config_works_in_a_client_as_it_is() {
    let orch = orch().await;
    let path = orch.project("/cline-config?unified=true");
    let config = orch.rest_as(&orch.api_key).get(&path).await.expect_status(200);
    let servers = config["mcpServers"].as_object().expect("mcpServers");
    assert_eq!(servers.len(), 1, "{config}");
    for entry in servers.values() {
        works(Sdk::Python, entry).await;
        works(Sdk::TypeScript, entry).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_config_for_a_stdio_only_client_works_as_it_is() {
    let orch = orch().await;
    let path = orch.project("/client-configs");
    let answer = orch.rest().post(&path, &json!({ "client": "claude-desktop" })).await;
    assert!(answer.status.is_success(), "{}", answer.text);
    let entry = find_entry(&answer.body).expect("an entry with a command").clone();
    works(Sdk::Python, &entry).await;
    works(Sdk::TypeScript, &entry).await;
}

/// The first entry of the configuration inside an answer.
fn find_entry(value: &Value) -> Option<&Value> {
    let object = value.as_object()?;
    if let Some(servers) = object.get("mcpServers").and_then(Value::as_object) {
        return servers.values().next();
    }
    object.values().find_map(find_entry)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_works_in_a_stdio_client_over_both_transports() {
    let orch = orch().await;
    let binary = std::env::var("MCP_ORCH_BIN").unwrap();
    for url in [&orch.ready.mcp_url, &orch.ready.sse_url] {
        let connection = json!({
            "transport": "stdio", "command": binary, "args": ["connect", url],
            "env": { "MCP_ORCH_API_KEY": orch.api_key },
        });
        works(Sdk::Python, &connection).await;
        let mut client = Client::connect(Sdk::TypeScript, &connection).await;
        let command = json!({
            "op": "progress", "name": "fixture__slow", "arguments": { "ms": 400, "steps": 4 },
        });
        let answer = client.ask(&command).await;
        assert_eq!(answer["progress"][0]["progress"], 1, "{answer}");
        client.close().await;
    }
}
