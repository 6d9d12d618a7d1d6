//! Upstreams that go away, come back, or change what they offer.

use std::time::Duration;

use fixtures::Upstream;
use fixtures::process::{free_port, journal};
use serde_json::json;

use crate::harness::{Options, Orch, Streamable, eventually, stdio_fixture};

const LIMIT: Duration = Duration::from_secs(40);

/// A failed connection is tried again; what works afterwards is the same as before.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_late_and_one_that_comes_back_are_used() {
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let orch = Orch::start(Options::default()).await;
    for (name, kind, path) in [("sse", "sse", "sse"), ("http", "streamable_http", "mcp")] {
        let url = format!("http://{listen}/{path}");
        orch.register(&json!({ "name": name, "type": kind, "url": url, "timeout": 2 })).await;
    }
    eventually("both fail as long as nobody listens", LIMIT, async || {
        let servers = orch.servers().await;
        let failed = servers.iter().all(|server| server["status"] == "failed");
        if failed { Ok(()) } else { Err(format!("{servers:?}")) }
    })
    .await;
    let mut upstream = Upstream::start(["--listen", &listen]).unwrap();
    let mcp = orch.mcp().await;
    let works = async |what: &str| {
        for name in ["sse", "http"] {
            let call = json!({ "name": format!("{name}__echo"), "arguments": { "message": what } });
            eventually(&format!("{name} {what}"), LIMIT, async || {
                let answer = mcp.ask("tools/call", call.clone()).await;
                let echoed = answer["result"]["structuredContent"]["message"] == what;
                if echoed { Ok(()) } else { Err(answer.to_string()) }
            })
            .await;
        }
    };
    works("works, though it was late").await;
    upstream.process().kill().unwrap();
    let _upstream = Upstream::start(["--listen", &listen]).unwrap();
    works("works again").await;
}

/// A call that may have run is never run again, whatever becomes of its upstream.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_upstream_dies_is_answered_with_an_error_and_never_repeated() {
    let orch = Orch::start(Options::default()).await;
    let path = orch.directory().join("executions");
    let path_text = path.display().to_string();
    orch.register(&stdio_fixture("fixture", &["--journal", &path_text])).await;
    orch.active(&["fixture"]).await;
    let mcp = orch.mcp().await;
    let slow = json!({ "ms": 60_000, "steps": 1, "unique": "slow-one" });
    let slow = mcp.ask("tools/call", json!({ "name": "fixture__slow", "arguments": slow }));
    let crash = async {
        eventually("the slow call runs", LIMIT, async || match journal(&path) {
            Ok(lines) if lines.contains(&"slow-one".to_owned()) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        let arguments = json!({ "code": 7, "unique": "the-crash" });
        mcp.ask("tools/call", json!({ "name": "fixture__crash", "arguments": arguments })).await
    };
    let (slow, crashed) = tokio::join!(slow, crash);
    assert!(!slow["error"].is_null(), "{slow}");
    assert!(!crashed["error"].is_null(), "{crashed}");
    eventually("the server is back", LIMIT, async || {
        let call = json!({ "name": "fixture__echo", "arguments": { "message": "back" } });
        let answer = mcp.ask("tools/call", call).await;
        if answer["error"].is_null() { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    let executions = journal(&path).unwrap();
    for unique in ["slow-one", "the-crash"] {
        let times = executions.iter().filter(|line| *line == unique).count();
        assert_eq!(times, 1, "{unique}: {executions:?}");
    }
    let calls = orch.cli().rows(&["call", "list", "--outcome", "unknown"]).await;
    assert_eq!(calls.len(), 2, "they may have run, and nobody knows how it ended: {calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_when_the_tools_change() {
    let orch = Orch::start(Options::default()).await;
    orch.register(&stdio_fixture("fixture", &[])).await;
    orch.active(&["fixture"]).await;
    let sse = orch.sse().await;
    sse.call("fixture__set_tools", json!({ "count": 2 })).await;
    eventually("the client is told", LIMIT, async || {
        let notified = sse.notified();
        let told = notified.iter().any(|method| method == "notifications/tools/list_changed");
        if told { Ok(()) } else { Err(format!("{notified:?}")) }
    })
    .await;
    let listed = sse.result("tools/list", json!({})).await.to_string();
    assert!(listed.contains("fixture__extra_2"), "{listed}");
}

/// Only names change: every other byte of a list is the upstream's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_the_upstreams_own_but_for_the_names() {
    let upstream = Upstream::start::<&str>([]).unwrap();
    let orch = Orch::start(Options::default()).await;
    let server = json!({ "name": "up", "type": "streamable_http", "url": upstream.mcp_url() });
    orch.register(&server).await;
    orch.active(&["up"]).await;
    let message = json!({ "jsonrpc": "2.0", "id": "as-given", "method": "tools/list" });
    let direct = Streamable::open(&upstream.mcp_url(), "not-needed").await;
    let through = orch.mcp().await;
    let text = async |client: &Streamable| {
        let text = client.post(&message).await.unwrap().text().await.unwrap();
        assert!(text.contains(r#""id":"as-given""#), "{text}");
        let start = text.find(r#""tools":["#).expect("tools");
        text[start..].trim_end_matches('}').to_owned()
    };
    let mut expected = text(&direct).await;
    for name in direct.tools().await {
        let (own, exposed) = (format!(r#""name":"{name}""#), format!(r#""name":"up__{name}""#));
        expected = expected.replace(&own, &exposed);
    }
    assert!(expected.contains("x-fixture"), "a field that nobody knows is in it");
    assert_eq!(text(&through).await, expected);
    let big = through.call("up__big", json!({ "bytes": 3_000_000 })).await;
    assert_eq!(big["content"][0]["text"].as_str().map(str::len), Some(3_000_000));
}

/// `read_timeout` ends a call that takes too long, and the upstream is told to stop its work.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_ended_on_both_sides() {
    let upstream = Upstream::start::<&str>([]).unwrap();
    let orch = Orch::start(Options::default()).await;
    let server = json!({
        "name": "up", "type": "sse", "url": upstream.sse_url(), "timeout": 5, "read_timeout": 1,
    });
    orch.register(&server).await;
    orch.active(&["up"]).await;
    let mcp = orch.mcp().await;
    let slow = json!({ "name": "up__slow", "arguments": { "ms": 120_000, "steps": 1 } });
    let answer = mcp.ask("tools/call", slow).await;
    assert!(!answer["error"].is_null(), "{answer}");
    eventually("the upstream stops", LIMIT, async || {
        let stats = upstream.stats().unwrap();
        let stopped = stats.cancels_effective == 1 && stats.in_flight == 0;
        if stopped { Ok(()) } else { Err(format!("{stats:?}")) }
    })
    .await;
    let calls = orch.cli().rows(&["call", "list", "--outcome", "timeout"]).await;
    assert_eq!(calls.len(), 1, "{calls:?}");
    let echoed = mcp.call("up__echo", json!({ "message": "still connected" })).await;
    assert_eq!(echoed["structuredContent"]["message"], "still connected");
}
