//! A hundred calls at once to one stdio server.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::sdk::stats;
use crate::harness::{Client, Options, Orch, Sdk, stdio_fixture};

const CALLS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_concurrent_calls_to_one_stdio_server_are_all_right() {
    let orch = Orch::start(Options::default()).await;
    orch.register(&stdio_fixture("fixture", &[])).await;
    orch.active(&["fixture"]).await;
    let authorization = format!("Bearer {}", orch.api_key);
    for (sdk, transport) in [
        (Sdk::Python, "http"),
        (Sdk::Python, "sse"),
        (Sdk::TypeScript, "http"),
        (Sdk::TypeScript, "sse"),
    ] {
        let url = if transport == "sse" { &orch.ready.sse_url } else { &orch.ready.mcp_url };
        let connection = json!({
            "transport": transport, "url": url,
            "headers": { "Authorization": authorization },
        });
        let mut client = Client::connect(sdk, &connection).await;
        // The wait is told in the answer, so that each answer is that of its own call.
        let calls: Vec<Value> = (0..CALLS)
            .map(|index| {
                let unique = format!("{sdk:?}-{transport}-{index}");
                let arguments = json!({ "ms": 1_500 + index, "steps": 1, "unique": unique });
                json!({ "name": "fixture__slow", "arguments": arguments })
            })
            .collect();
        let answers = client.ask(&json!({ "op": "call_many", "calls": calls })).await;
        let answers = answers.as_array().unwrap();
        assert_eq!(answers.len(), CALLS);
        for (index, answer) in answers.iter().enumerate() {
            let expected = format!("waited {} ms in 1 steps", 1_500 + index);
            assert_eq!(answer["content"][0]["text"], expected);
        }
        client.close().await;
    }
    let connection = json!({
        "transport": "http", "url": orch.ready.mcp_url,
        "headers": { "Authorization": authorization },
    });
    let mut client = Client::connect(Sdk::Python, &connection).await;
    let stats = stats(&mut client).await;
    assert_eq!(stats["executions"], 4 * CALLS, "each ran once: {stats}");
    assert_eq!((&stats["distinct"], &stats["repeated"]), (&json!(4 * CALLS), &json!(0)));
    assert!(stats["in_flight_max"].as_u64() >= Some(50), "not at once: {stats}");
    client.close().await;
    let recorded = orch.cli().rows(&["call", "list", "--tool", "slow", "--limit", "1000"]).await;
    let unique: BTreeSet<String> =
        recorded.iter().map(|call| call["arguments"]["unique"].to_string()).collect();
    assert_eq!((recorded.len(), unique.len()), (4 * CALLS, 4 * CALLS), "each is recorded once");
}
