//! The Inspector's command line.

use std::collections::BTreeSet;

use super::fleet::Fleet;
use crate::harness::inspect;

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector_lists_and_calls() {
    let fleet = Fleet::start().await;
    for (transport, url) in
        [("sse", &fleet.orch.ready.sse_url), ("http", &fleet.orch.ready.mcp_url)]
    {
        let listed = inspect(&fleet.orch, url, transport, &["--method", "tools/list"]).await;
        let names: BTreeSet<String> = listed["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, fleet.tools, "over {transport}");
        let call = ["--method", "tools/call", "--tool-name", "all-stdio__echo"];
        let call = [&call[..], &["--tool-arg", "message=inspected"]].concat();
        let answer = inspect(&fleet.orch, url, transport, &call).await;
        assert_eq!(answer["content"][0]["text"], "Echo: inspected");
        let prompts = inspect(&fleet.orch, url, transport, &["--method", "prompts/list"]).await;
        assert!(prompts.to_string().contains("fixture__greet"), "{prompts}");
        let resources = inspect(&fleet.orch, url, transport, &["--method", "resources/list"]).await;
        assert!(resources.to_string().contains("text/1"), "{resources}");
    }
}
