//! The first tour: `up --demo --json`, and everything that its output points at.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::harness::{Options, Orch, Program, Rest, SseClient, Streamable, eventually};

const DEMO_TOOLS: [&str; 5] =
    ["demo__add", "demo__big_result", "demo__countdown", "demo__echo", "demo__fail"];

async fn demo() -> Orch {
    let orch = Orch::start(Options::demo()).await;
    orch.active(&["demo"]).await;
    orch
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().expect("a text")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readiness_line_is_all_that_a_script_needs() {
    let orch = demo().await;
    let (ready, project) = (&orch.ready, &orch.ready.project_id);
    assert_eq!(ready.mcp_url, format!("{}/projects/{project}/unified/mcp", ready.url));
    assert_eq!(ready.sse_url, format!("{}/projects/{project}/unified/sse", ready.url));
    assert!(orch.api_key.starts_with("api_key_"), "the key has the documented form");
    for path in ["/healthz", "/readyz"] {
        let answer = Rest::new(&orch.admin_url(), None).get(path).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_listed_and_called_over_streamable_http() {
    let orch = demo().await;
    let mcp = orch.mcp().await;
    assert_eq!(mcp.initialized["protocolVersion"], "2025-06-18");
    let mut tools = mcp.tools().await;
    tools.sort();
    assert_eq!(tools, DEMO_TOOLS);
    let echoed = mcp.call("demo__echo", json!({ "message": "grüße \u{1F30D}" })).await;
    assert!(text(&echoed).contains("grüße \u{1F30D}"), "{echoed}");
    let sum = mcp.call("demo.add", json!({ "a": 2, "b": 40 })).await;
    assert!(text(&sum).contains("42"), "the dotted name is accepted: {sum}");
    let failed = mcp.call("demo__fail", json!({})).await;
    assert_eq!(failed["isError"], true, "a tool's failure is a result: {failed}");
    let unknown = mcp.ask("tools/call", json!({ "name": "demo__nothing" })).await;
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    let pong = mcp.ask("ping", json!({})).await;
    assert_eq!(pong["result"], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_listed_and_called_over_sse() {
    let orch = demo().await;
    let sse = orch.sse().await;
    let listed = sse.result("tools/list", json!({})).await;
    let mut tools: Vec<&str> = listed["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    tools.sort_unstable();
    assert_eq!(tools, DEMO_TOOLS);
    let echoed = sse.call("demo__echo", json!({ "message": "over sse" })).await;
    assert!(text(&echoed).contains("over sse"), "{echoed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_server_has_endpoints_of_its_own() {
    let orch = demo().await;
    let own = format!("{}{}", orch.ready.url, orch.project("/servers/demo"));
    let mcp = Streamable::open(&format!("{own}/mcp"), &orch.api_key).await;
    let tools = mcp.tools().await;
    let echo = tools.iter().find(|name| name.ends_with("echo")).expect("echo").clone();
    let echoed = mcp.call(&echo, json!({ "message": "alone" })).await;
    assert!(text(&echoed).contains("alone"), "{echoed}");
    let sse = SseClient::open(&format!("{own}/sse"), &orch.api_key).await;
    let echoed = sse.call(&echo, json!({ "message": "alone, over sse" })).await;
    assert!(text(&echoed).contains("alone, over sse"), "{echoed}");
}

/// As in the guide to SSE servers, with the very program that it names.
#[tokio::test(flavor = "multi_thread")]
async fn curl_opens_the_stream_and_lists_before_initialize() {
    let orch = demo().await;
    let authorization = format!("Authorization: Bearer {}", orch.api_key);
    let mut curl = Command::new("curl")
        .args(["-sN", "-H", "Accept: text/event-stream", "-H", &authorization])
        .arg(&orch.ready.sse_url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("curl is installed");
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    let endpoint = data_of(&mut lines, "endpoint").await;
    assert!(endpoint.contains("session_id="), "{endpoint}");
    let endpoint =
        if endpoint.starts_with('/') { format!("{}{endpoint}", orch.ready.url) } else { endpoint };
    let body = r#"{"jsonrpc": "2.0", "method": "tools/list", "id": 1}"#;
    let posted = Program::run(
        "curl",
        ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", &endpoint, "-d", body]
            .into_iter()
            .chain(["-H", "Content-Type: application/json", "-H", &authorization]),
        &[],
    );
    assert_eq!(posted.await.ok().stdout, "202");
    let answer: Value = serde_json::from_str(&data_of(&mut lines, "message").await).unwrap();
    assert_eq!(answer["id"], 1, "{answer}");
    assert_eq!(answer["result"]["tools"].as_array().expect("tools").len(), DEMO_TOOLS.len());
    curl.kill().await.unwrap();
}

/// The data of the next event, which must have this name.
async fn data_of<R: AsyncReadExt + Unpin>(
    lines: &mut tokio::io::Lines<BufReader<R>>,
    name: &str,
) -> String {
    let mut found = false;
    let read = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(event) = line.strip_prefix("event:") {
                assert_eq!(event.trim(), name);
                found = true;
            }
            if let (true, Some(data)) = (found, line.strip_prefix("data:")) {
                return data.trim().to_owned();
            }
        }
        panic!("the stream ended")
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("an event comes")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_servers_tools_and_calls() {
    let orch = demo().await;
    let mcp = orch.mcp().await;
    mcp.call("demo__echo", json!({ "message": "recorded" })).await;
    mcp.call("demo__fail", json!({})).await;
    let cli = orch.cli();
    let servers = cli.rows(&["server", "list"]).await;
    assert_eq!(servers.len(), 1);
    assert_eq!((&servers[0]["name"], &servers[0]["status"]), (&json!("demo"), &json!("active")));
    let tools = cli.rows(&["server", "tools", "demo"]).await;
    assert_eq!(tools.len(), DEMO_TOOLS.len());
    let calls = cli.rows(&["call", "list"]).await;
    assert_eq!(calls.len(), 2, "an answered call is on record at once: {calls:?}");
    assert_eq!((&calls[0]["tool"], &calls[0]["outcome"]), (&json!("fail"), &json!("tool_error")));
    assert_eq!((&calls[1]["tool"], &calls[1]["outcome"]), (&json!("echo"), &json!("ok")));
    assert_eq!(calls[1]["arguments"], json!({ "message": "recorded" }));
    assert_eq!(calls[1]["client"], "system-test 1");
    assert!(calls[1]["total_us"].as_u64() >= calls[1]["upstream_us"].as_u64(), "{calls:?}");
    assert_eq!(cli.rows(&["call", "list", "--tool", "echo"]).await.len(), 1);
    assert_eq!(cli.rows(&["call", "list", "--outcome", "tool_error"]).await.len(), 1);
    assert_eq!(cli.rows(&["call", "list", "--limit", "1"]).await.len(), 1);
    let tested = cli.run(&["server", "test", "demo"]).await.ok();
    assert!(tested.stdout.contains("initialize"), "{tested:?}");
    let table = cli.run(&["server", "list"]).await.ok();
    assert!(table.stdout.contains("demo") && table.stdout.contains("active"), "{table:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let mut orch = demo().await;
    let mcp = orch.mcp().await;
    mcp.call("demo__echo", json!({ "message": "before" })).await;
    let listed = mcp.tools().await;
    let before = orch.server("demo").await;
    drop(mcp);
    orch.stop().await;

    orch.start_again().await;
    assert!(orch.ready.api_key.is_none(), "the key is given once");
    let after = orch.server("demo").await;
    assert_eq!(before["id"], after["id"]);
    let mcp = orch.mcp().await;
    assert_eq!(mcp.tools().await, listed, "the catalogue is there at once");
    mcp.call("demo__echo", json!({ "message": "after" })).await;
    let calls = orch.cli().rows(&["call", "list"]).await;
    let messages: Vec<_> = calls.iter().map(|call| &call["arguments"]["message"]).collect();
    assert_eq!(messages, ["after", "before"]);
    drop(mcp);
    orch.stop().await;
    let data = orch.data().display().to_string();
    orch.cli().run(&["replay", "--verify", "--data", &data]).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_and_the_log_tell_of_calls_and_of_sse() {
    let orch = Orch::start(Options::demo().variable("MCP_LOG_LEVEL", "DEBUG")).await;
    orch.active(&["demo"]).await;
    orch.mcp().await.call("demo__echo", json!({ "message": "measured" })).await;
    let sse = orch.sse().await;
    sse.call("demo__echo", json!({ "message": "measured too" })).await;
    let metrics = orch.metrics().await;
    for name in [
        "mcp_orch_connection_setup_seconds",
        "mcp_orch_response_seconds",
        "mcp_orch_requests_total",
    ] {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {metrics}"));
        assert!(line.contains("server=\"demo\"") && line.contains("project="), "{line}");
    }
    eventually("the log has lines on SSE", Duration::from_secs(10), async || {
        let log = std::fs::read_to_string(orch.logs().join("mcp-orch.log"));
        let log = log.map_err(|error| error.to_string())?;
        if log.lines().any(|line| line.contains("SSE")) { Ok(()) } else { Err(log) }
    })
    .await;
}
