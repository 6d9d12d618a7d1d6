//! A cluster of processes, as it is deployed: what its users see of it, and what they do not see
//! when parts of it die.
//!
//! Each test has a cluster of its own, made from the compose file.

mod deaths;
mod leader;
mod outages;
mod processes;
mod resumption;
mod tour;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Options, Orch, Rest, Streamable, eventually, stdio_fixture};

/// How long recovery may take, on a busy machine.
const RECOVERY: Duration = Duration::from_secs(60);

/// A cluster with a server over stdio.
async fn with_fixture() -> Orch {
    let orch = Orch::start_cluster(Options::default()).await;
    orch.register(&stdio_fixture("fixture", &[])).await;
    orch.active(&["fixture"]).await;
    orch
}

/// Waits until a call is answered with its result, and gives its session.
async fn answers(orch: &Orch, tool: &str) -> Streamable {
    eventually(&format!("{tool} answers"), RECOVERY, async || {
        let mcp = Streamable::try_open(&orch.ready.mcp_url, &orch.api_key).await?;
        let params = json!({ "name": tool, "arguments": { "message": "there?" } });
        let answer = mcp.try_ask("tools/call", params).await?;
        if answer["result"]["structuredContent"]["message"] == "there?" {
            return Ok(mcp);
        }
        Err(answer.to_string())
    })
    .await
}

/// What a process says of itself: `summary` of `/healthz`.
async fn summary(orch: &mut Orch, service: &str, replica: usize) -> String {
    let admin = orch.cluster().address(service, 9464, replica).unwrap();
    let answer = Rest::new(&format!("http://{admin}"), None).get("/healthz").await;
    answer.body["summary"].as_str().unwrap_or_default().to_owned()
}

/// Waits until every process says of itself what it should.
async fn all_say(orch: &mut Orch, services: &[&str], expected: &str) {
    for service in services {
        for replica in 0..2 {
            eventually(&format!("{service} {replica} is {expected}"), RECOVERY, async || {
                let said = summary(orch, service, replica).await;
                if said == expected { Ok(()) } else { Err(said) }
            })
            .await;
        }
    }
}

/// What is on record of the calls of a tool.
async fn recorded(orch: &Orch, tool: &str) -> Vec<Value> {
    orch.cli().rows(&["call", "list", "--limit", "500", "--tool", tool]).await
}
