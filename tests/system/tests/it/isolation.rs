//! Broken servers beside a healthy one: they neither delay nor hide it, and each says why.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Options, Orch, eventually, stdio_fixture};

/// What one call to a healthy local server may take at the very most, with a debug build on a
/// busy machine; a call that waited for a broken neighbour takes ten seconds and more.
const CALL_LIMIT: Duration = Duration::from_secs(3);

async fn register_broken(orch: &Orch) {
    orch.register(&stdio_fixture("hangs", &["--hang-in", "tools/list"])).await;
    orch.register(&stdio_fixture("exits", &["--exit-at-start", "3"])).await;
    orch.register(&stdio_fixture("floods", &["--flood-stderr", "1048576"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_neighbours_do_not_touch_a_healthy_server() {
    let orch = Orch::start(Options::default()).await;
    orch.register(&stdio_fixture("healthy", &[])).await;
    orch.active(&["healthy"]).await;
    register_broken(&orch).await;
    // All the while that the neighbours are started, hang and fall, the healthy one is called.
    let mcp = orch.mcp().await;
    let mut calls = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(12) {
        let called = Instant::now();
        let message = format!("call {calls}");
        let echoed = mcp.call("healthy__echo", json!({ "message": message })).await;
        assert_eq!(echoed["structuredContent"]["message"], message);
        assert!(called.elapsed() < CALL_LIMIT, "call {calls} took {:?}", called.elapsed());
        let listed = Instant::now();
        let tools = mcp.tools().await;
        assert!(tools.contains(&"healthy__echo".to_owned()), "{tools:?}");
        assert!(listed.elapsed() < CALL_LIMIT, "list {calls} took {:?}", listed.elapsed());
        calls += 1;
    }
    assert!(calls > 20, "only {calls} calls in 12 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_list_does_not_wait_for_a_server_that_hangs() {
    let orch = Orch::start(Options::default()).await;
    register_broken(&orch).await;
    orch.register(&stdio_fixture("healthy", &[])).await;
    let start = Instant::now();
    let mcp = orch.mcp().await;
    mcp.tools().await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(6), "the first list took {took:?}");
    eventually("the healthy server is listed", Duration::from_secs(20), async || {
        let tools = mcp.tools().await;
        let listed = tools.contains(&"healthy__echo".to_owned());
        if listed { Ok(()) } else { Err(format!("{tools:?}")) }
    })
    .await;
    mcp.call("healthy__echo", json!({ "message": "well" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_list_names_each_cause() {
    let orch = Orch::start(Options::default()).await;
    register_broken(&orch).await;
    let missing = json!({ "name": "missing", "type": "stdio", "command": "no-such-program-here" });
    orch.register(&missing).await;
    orch.register(&stdio_fixture("healthy", &[])).await;
    let cli = orch.cli();
    let expected = [
        ("hangs", "degraded", "tools/list did not answer"),
        ("exits", "failed", "exited with status 3"),
        ("missing", "failed", "no-such-program-here"),
        // Its flood is drained, so it works.
        ("floods", "degraded", "wrote more than 256 KiB to stderr within 10 s"),
        ("healthy", "active", ""),
    ];
    eventually("`server list` names each cause", Duration::from_secs(60), async || {
        let rows = cli.rows(&["server", "list"]).await;
        for (name, status, cause) in expected {
            let row = rows.iter().find(|row| row["name"] == name).expect("it is listed");
            let is_as_expected = row["status"] == status
                && row["cause"].as_str().is_some_and(|text| text.contains(cause));
            if !is_as_expected {
                return Err(format!("{name}: {row}"));
            }
        }
        Ok(())
    })
    .await;
    let mcp = orch.mcp().await;
    let echoed = mcp.call("floods__echo", json!({ "message": "still here" })).await;
    assert_eq!(echoed["structuredContent"]["message"], "still here");
    let log = cli.run(&["server", "log", "exits"]).await.ok();
    assert!(log.stdout.contains("exiting with code 3"), "{log:?}");
    let refused = mcp.ask("tools/call", json!({ "name": "exits__echo" })).await;
    assert!(!refused["error"].is_null(), "{refused}");
}
