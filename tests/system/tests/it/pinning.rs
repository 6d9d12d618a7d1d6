//! A server whose tools become others: what clients get of them, and how an Owner approves.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Options, Orch, Streamable, eventually, stdio_fixture};

const LIMIT: Duration = Duration::from_secs(40);

/// Waits until clients see, or do not see, the tool.
async fn sees(mcp: &Streamable, tool: &str, wanted: bool) {
    eventually(&format!("{tool} is listed: {wanted}"), LIMIT, async || {
        let tools = mcp.tools().await;
        if tools.contains(&tool.to_owned()) == wanted { Ok(()) } else { Err(format!("{tools:?}")) }
    })
    .await;
}

/// Another program takes the server's place. It has a tool of the same name, which is another.
async fn replace(orch: &Orch) {
    let id = orch.server("files").await["id"].as_str().unwrap().to_owned();
    let program = std::env::var("MCP_ORCH_BIN").unwrap();
    let body = json!({
        "type": "stdio", "command": program, "args": ["demo-server"], "env": {},
    });
    let path = orch.project(&format!("/servers/{id}"));
    orch.rest().put(&path, &body).await.expect_status(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_became_another_is_blocked_until_an_owner_approves() {
    let orch = Orch::start(Options::default()).await;
    let cli = orch.cli();
    cli.run(&["project", "set", "--tool-pinning", "block"]).await.ok();
    orch.register(&stdio_fixture("files", &[])).await;
    orch.active(&["files"]).await;
    let mcp = orch.mcp().await;
    sees(&mcp, "files__echo", true).await;
    let before = cli.rows(&["server", "tools", "files"]).await;
    assert!(before.iter().all(|tool| tool["definition"] == "approved"), "{before:?}");

    replace(&orch).await;
    sees(&mcp, "files__countdown", true).await;
    sees(&mcp, "files__echo", false).await;
    let call = json!({ "name": "files__echo", "arguments": { "message": "no" } });
    let refused = mcp.ask("tools/call", call.clone()).await;
    let unknown = mcp.ask("tools/call", json!({ "name": "files__nothing", "arguments": {} })).await;
    assert_eq!(refused["error"]["code"], unknown["error"]["code"], "{refused} {unknown}");

    let tools = cli.rows(&["server", "tools", "files"]).await;
    let echo = tools.iter().find(|tool| tool["name"] == "echo").unwrap();
    assert_eq!(echo["definition"], "changed");
    let hash = |name: &str| echo[name].as_str().unwrap().to_owned();
    let approve = ["tool", "approve", "files", "echo", "--hash"];
    let stale = cli.run(&[&approve[..], &[&hash("approved_hash")]].concat()).await;
    assert!(!stale.success && stale.stderr.contains("another definition"), "{stale:?}");
    cli.run(&[&approve[..], &[&hash("definition_hash")]].concat()).await.ok();
    sees(&mcp, "files__echo", true).await;
    let called = mcp.call("files__echo", json!({ "message": "yes" })).await;
    assert_ne!(called["isError"], true, "{called}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_warning_clients_keep_the_tool_and_all_are_approved_at_once() {
    let orch = Orch::start(Options::default()).await;
    let cli = orch.cli();
    cli.run(&["project", "set", "--tool-pinning", "warn"]).await.ok();
    orch.register(&stdio_fixture("files", &[])).await;
    orch.active(&["files"]).await;
    let mcp = orch.mcp().await;
    sees(&mcp, "files__echo", true).await;
    replace(&orch).await;
    sees(&mcp, "files__countdown", true).await;
    mcp.call("files__echo", json!({ "message": "still there" })).await;
    let server = cli.rows(&["server", "list"]).await.remove(0);
    assert!(server["changed_tools"].as_u64() > Some(0), "{server}");
    let approved = cli.rows(&["tool", "approve", "files", "--all"]).await;
    assert!(approved.iter().any(|tool| tool["tool"] == "echo"), "{approved:?}");
    assert_eq!(cli.rows(&["server", "list"]).await[0]["changed_tools"], 0);
}
