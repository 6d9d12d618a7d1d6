//! Every client against a mixed fleet: what one era or transport can, all can.

use std::time::Duration;

use serde_json::{Value, json};

use super::fleet::Fleet;
use crate::harness::{Client, Mode, Sdk, eventually, inspect};

#[tokio::test(flavor = "multi_thread")]
async fn python_1() {
    over_both_transports(Sdk::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_2_of_the_older_era() {
    over_both_transports(Sdk::Python2(Mode::Legacy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_2_stateless() {
    over_both_transports(Sdk::Python2(Mode::Auto)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_1() {
    over_both_transports(Sdk::TypeScript).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_2_of_the_older_era() {
    over_both_transports(Sdk::TypeScript2(Mode::Legacy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_2_stateless() {
    over_both_transports(Sdk::TypeScript2(Mode::Auto)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector() {
    let fleet = Fleet::start().await;
    let ready = fleet.orch.ready.clone();
    for (transport, url) in [("http", &ready.mcp_url), ("sse", &ready.sse_url)] {
        let ask = async |arguments: &[&str]| {
            inspect(&fleet.orch, url, transport, arguments).await.to_string()
        };
        let tools = ask(&["--method", "tools/list"]).await;
        for tool in ["npm__echo", "time__get_current_time", "sse__echo", "fixture__test_sampling"] {
            assert!(tools.contains(tool), "{tool} over {transport}: {tools}");
        }
        for (tool, argument, expected) in [
            ("npm__echo", "message=hi", "Echo: hi"),
            ("sse__echo", "message=hi", "Echo: hi"),
            ("time__get_current_time", "timezone=UTC", "UTC"),
            ("fixture__test_simple_text", "unused=1", "This is a simple text response"),
        ] {
            let call = ["--method", "tools/call", "--tool-name", tool, "--tool-arg", argument];
            let said = ask(&call).await;
            assert!(said.contains(expected), "{tool} over {transport}: {said}");
        }
        let uri = "mcp+fixture+test://static-text";
        let read = ask(&["--method", "resources/read", "--uri", uri]).await;
        assert!(read.contains("the content of the static text resource"), "{read}");
        let prompt = "fixture__test_simple_prompt";
        let got = ask(&["--method", "prompts/get", "--prompt-name", prompt]).await;
        assert!(got.contains("This is a simple prompt for testing."), "{got}");
        ask(&["--method", "logging/setLevel", "--log-level", "debug"]).await;
    }
}

async fn over_both_transports(sdk: Sdk) {
    let fleet = Fleet::start().await;
    for transport in ["http", "sse"] {
        let mut row = Row { client: fleet.connect(sdk, transport).await, sdk, transport };
        let version = row.client.ask(&json!({ "op": "version" })).await;
        if sdk.is_stateless() {
            assert_eq!(version, "2026-07-28", "{sdk:?} over {transport}");
        }
        row.lists_and_calls().await;
        row.progress_and_cancel().await;
        row.logs().await;
        row.resources().await;
        row.prompts().await;
        row.asked_by_servers().await;
        row.client.close().await;
    }
}

/// One client over one transport.
struct Row {
    client: Client,
    sdk: Sdk,
    transport: &'static str,
}

impl Row {
    /// A call's first text, or the whole result where it is another one.
    async fn text(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.client.call(tool, arguments).await;
        assert_ne!(result["isError"], true, "{:?} {}: {result}", self.sdk, self.transport);
        result["content"][0]["text"].as_str().map_or_else(|| result.to_string(), str::to_owned)
    }

    async fn lists_and_calls(&mut self) {
        let tools = self.client.tools().await;
        for tool in ["npm__echo", "time__get_current_time", "sse__echo", "fixture__test_sampling"] {
            assert!(tools.contains(&tool.to_owned()), "{tool} is not among {tools:?}");
        }
        // What a server shows only to clients that can be asked.
        let asking = "npm__trigger-sampling-request".to_owned();
        assert!(tools.contains(&asking), "{:?} {}: {tools:?}", self.sdk, self.transport);
        for server in ["npm", "sse"] {
            let said = self.text(&format!("{server}__echo"), json!({ "message": "hello" })).await;
            assert_eq!(said, "Echo: hello");
        }
        let time = self.text("time__get_current_time", json!({ "timezone": "UTC" })).await;
        assert!(time.contains("UTC"), "{time}");
        let text = self.text("fixture__test_simple_text", json!({})).await;
        assert_eq!(text, "This is a simple text response for testing.");
        let failed = self.client.call("fixture__test_error_handling", json!({})).await;
        assert_eq!(failed["isError"], true, "{failed}");
    }

    async fn progress_and_cancel(&mut self) {
        let command = json!({
            "op": "progress", "name": "child__slow", "arguments": { "ms": 600, "steps": 3 },
        });
        let answer = self.client.ask(&command).await;
        let seen: Vec<_> = answer["progress"].as_array().unwrap().iter().collect();
        assert!(seen.len() >= 2, "{answer}");
        let before = self.stats().await;
        let command = json!({
            "op": "cancel", "name": "fixture__slow", "arguments": { "ms": 60_000, "steps": 600 },
        });
        self.client.ask(&command).await;
        eventually("the upstream stops its work", Duration::from_secs(15), async || {
            let now = self.stats().await;
            let stopped = now["cancels_effective"].as_u64() > before["cancels_effective"].as_u64();
            if stopped { Ok(()) } else { Err(now.to_string()) }
        })
        .await;
    }

    async fn stats(&mut self) -> Value {
        let result = self.client.call("fixture__stats", json!({})).await;
        result["structuredContent"].clone()
    }

    async fn logs(&mut self) {
        for server in ["fixture", "child"] {
            let command = json!({
                "op": "log", "level": "info",
                "name": format!("{server}__test_tool_with_logging"), "arguments": {},
            });
            let logs = self.client.ask(&command).await.to_string();
            assert!(logs.contains("Tool execution started"), "{server}: {logs}");
            assert!(!logs.contains("A detail"), "less severe than asked for: {logs}");
        }
    }

    async fn resources(&mut self) {
        let listed = self.client.ask(&json!({ "op": "list_resources" })).await;
        let uri = |end: &str| {
            let mut uris = listed.as_array().unwrap().iter().map(|uri| uri.as_str().unwrap());
            let found = uris.find(|uri| uri.starts_with("mcp+fixture+") && uri.ends_with(end));
            found.unwrap_or_else(|| panic!("no {end} in {listed}")).to_owned()
        };
        let static_text = uri("test://static-text");
        let read = self.client.ask(&json!({ "op": "read", "uri": static_text })).await;
        assert_eq!(read["contents"][0]["uri"], static_text, "{read}");
        assert_eq!(read["contents"][0]["text"], "This is the content of the static text resource.");
        let templates = self.client.ask(&json!({ "op": "list_templates" })).await.to_string();
        assert!(templates.contains("mcp+fixture+test://template/{id}/data"), "{templates}");
        let watched = uri("test://watched-resource");
        let command = json!({
            "op": "subscribe", "uri": watched, "name": "fixture__test_update_resource",
            "arguments": { "uri": "test://watched-resource" },
        });
        let updated = self.client.ask(&command).await;
        assert_eq!(updated[0], watched, "{updated}");
    }

    async fn prompts(&mut self) {
        let prompts = self.client.ask(&json!({ "op": "list_prompts" })).await.to_string();
        assert!(prompts.contains("fixture__test_simple_prompt"), "{prompts}");
        let got = json!({ "op": "prompt", "name": "fixture__test_simple_prompt" });
        let got = self.client.ask(&got).await;
        assert_eq!(
            got["messages"][0]["content"]["text"], "This is a simple prompt for testing.",
            "{got}"
        );
        let command = json!({
            "op": "complete",
            "ref": { "type": "ref/prompt", "name": "npm__completable-prompt" },
            "argument": { "name": "department", "value": "S" },
        });
        assert_eq!(self.client.ask(&command).await, json!(["Sales", "Support"]));
    }

    /// Sampling, elicitation and roots: over stdio by a connection of the client's own, over
    /// Streamable HTTP by the stream of the call, in whichever era the server speaks.
    async fn asked_by_servers(&mut self) {
        for server in ["fixture", "child"] {
            let tool = |name: &str| format!("{server}__{name}");
            let said = self.text(&tool("test_sampling"), json!({ "prompt": "hi" })).await;
            assert!(said.contains("sampled: hi"), "{server}: {said}");
            let said = self.text(&tool("test_elicitation"), json!({ "message": "who?" })).await;
            assert!(said.contains("accept"), "{server}: {said}");
            let said = self.text(&tool("test_list_roots"), json!({})).await;
            assert!(said.contains("file:///work"), "{server}: {said}");
        }
        let arguments = json!({ "prompt": "hello", "maxTokens": 10 });
        let said = self.text("npm__trigger-sampling-request", arguments).await;
        assert!(said.contains("sampled: ") && said.contains("hello"), "{said}");
        let said = self.text("npm__trigger-elicitation-request", json!({})).await;
        assert!(said.contains("provided the requested information"), "{said}");
        let asked = self.client.ask(&json!({ "op": "asked" })).await;
        let methods: Vec<_> =
            asked.as_array().unwrap().iter().map(|one| one["method"].as_str().unwrap()).collect();
        for method in ["sampling/createMessage", "elicitation/create", "roots/list"] {
            assert!(methods.contains(&method), "{methods:?}");
        }
    }
}
