//! The Inspector's command line.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fleet::Fleet;
use crate::harness::{Program, node_modules};

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_lists_and_calls() {
    let fleet = Fleet::start().await;
    for (transport, url) in
        [("sse", &fleet.orch.ready.sse_url), ("http", &fleet.orch.ready.mcp_url)]
    {
        let listed = inspect(&fleet, url, transport, &["--method", "tools/list"]).await;
        let names: BTreeSet<String> = listed["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, fleet.tools, "over {transport}");
        let call = ["--method", "tools/call", "--tool-name", "all-stdio__echo"];
        let call = [&call[..], &["--tool-arg", "message=inspected"]].concat();
        let answer = inspect(&fleet, url, transport, &call).await;
        assert_eq!(answer["content"][0]["text"], "Echo: inspected");
        let prompts = inspect(&fleet, url, transport, &["--method", "prompts/list"]).await;
        assert!(prompts.to_string().contains("fixture__greet"), "{prompts}");
        let resources = inspect(&fleet, url, transport, &["--method", "resources/list"]).await;
        assert!(resources.to_string().contains("text/1"), "{resources}");
    }
}

async fn inspect(fleet: &Fleet, url: &str, transport: &str, arguments: &[&str]) -> Value {
    let inspector = node_modules().join("@modelcontextprotocol/inspector/cli/build/cli.js");
    let inspector = inspector.display().to_string();
    let header = format!("Authorization: Bearer {}", fleet.orch.api_key);
    let common = [&inspector, "--cli", url, "--transport", transport, "--header", &header];
    Program::run("node", common.into_iter().chain(arguments.iter().copied()), &[]).await.ok().json()
}
