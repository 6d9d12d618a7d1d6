//! The tour: one URL for everything, whichever replica answers.

use std::time::{Duration, Instant};

use fixtures::Upstream;
use serde_json::{Value, json};

use crate::harness::{Client, Options, Orch, Rest, Sdk, eventually, stdio_fixture};

/// Within this a revoked key is refused everywhere.
const REVOCATION_LIMIT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_all_transports_are_used_through_the_balancer() {
    let upstream = Upstream::start::<&str>([]).unwrap();
    let mut orch = Orch::start_cluster(Options::demo()).await;
    orch.register(&stdio_fixture("stdio", &[])).await;
    let sse = json!({ "name": "sse", "type": "sse", "url": upstream.sse_url() });
    orch.register(&sse).await;
    let http = json!({ "name": "http", "type": "streamable_http", "url": upstream.mcp_url() });
    orch.register(&http).await;
    orch.active(&["demo", "stdio", "sse", "http"]).await;
    every_replica_knows(&mut orch).await;
    for (transport, url) in [("http", &orch.ready.mcp_url), ("sse", &orch.ready.sse_url)] {
        let authorization = format!("Bearer {}", orch.api_key);
        let mut client = Client::connect(
            Sdk::Python,
            &json!({
                "transport": transport, "url": url,
                "headers": { "Authorization": authorization },
            }),
        )
        .await;
        let tools = client.tools().await;
        for server in ["stdio", "sse", "http"] {
            let tool = format!("{server}__echo");
            assert!(tools.contains(&tool), "{transport}: no {tool} in {tools:?}");
            // More than once, so that more than one edge carries them.
            for turn in 0..3 {
                let message = format!("{transport} {turn}");
                let echoed = client.call(&tool, json!({ "message": message })).await;
                assert_eq!(echoed["structuredContent"]["message"], message, "{echoed}");
            }
        }
        client.close().await;
    }
    eventually("each call is on record, once", Duration::from_secs(10), async || {
        let calls = super::recorded(&orch, "echo").await;
        let fine = calls.len() == 18 && calls.iter().all(|call| call["outcome"] == "ok");
        if fine { Ok(()) } else { Err(format!("{calls:?}")) }
    })
    .await;
    orch.stop().await;
}

/// What was written through one control-plane is read from each of them at once.
async fn every_replica_knows(orch: &mut Orch) {
    for turn in 0..6 {
        let name = format!("key {turn}");
        let made = orch.rest().post(&orch.project("/api-keys"), &json!({ "name": name })).await;
        assert!(made.status.is_success(), "{made:?}");
        for replica in 0..2 {
            let address = orch.cluster().address("control-plane", 8080, replica).unwrap();
            let rest = Rest::new(&format!("http://{address}"), Some(&orch.token));
            let keys = rest.get(&orch.project("/api-keys")).await.expect_status(200);
            assert!(keys.to_string().contains(&name), "replica {replica}: {keys}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_at_every_edge() {
    let mut orch = super::with_fixture().await;
    let made = orch.rest().post(&orch.project("/api-keys"), &json!({ "name": "short" })).await;
    let made: Value = made.body;
    let (id, key) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap().to_owned());
    let edges: Vec<String> = (0..2)
        .map(|replica| {
            let address = orch.cluster().address("edge", 8080, replica).unwrap();
            format!("http://{address}{}", orch.project("/unified/mcp"))
        })
        .collect();
    for url in &edges {
        eventually("the new key opens", Duration::from_secs(10), async || {
            let status = knock(url, &key).await;
            if status == 200 { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }
    let revoked = orch.rest().delete(&orch.project(&format!("/api-keys/{id}"))).await;
    let since = Instant::now();
    assert!(revoked.status.is_success(), "{revoked:?}");
    for url in &edges {
        eventually("the key is refused", Duration::from_secs(10), async || {
            let status = knock(url, &key).await;
            if status == 401 { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }
    let took = since.elapsed();
    assert!(took < REVOCATION_LIMIT, "revoked everywhere after {took:?}");
}

async fn knock(url: &str, key: &str) -> u16 {
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "system-test", "version": "1" },
    } });
    Rest::new("", Some(key)).post(url, &initialize).await.status.as_u16()
}
