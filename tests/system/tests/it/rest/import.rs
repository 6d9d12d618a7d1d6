//! Configuration files: at the start, again by name with the difference, and followed.

use std::fs;
use std::time::Duration;

use fixtures::Upstream;
use serde_json::{Value, json};

use crate::harness::{Options, Orch, eventually, stdio_fixture};

/// The guide's files, with commands and addresses that exist here.
fn file(upstream: &Upstream) -> Value {
    let stdio = stdio_fixture("legacy-stdio", &[]);
    json!({ "mcpServers": {
        "remote-sse-server": {
            "type": "sse",
            "url": upstream.sse_url(),
            "timeout": 30,
            "headers": { "Authorization": "Bearer your-api-token", "X-Custom-Header": "value" },
            "autoApprove": ["safe_tool1", "safe_tool2"],
            "disabled": false
        },
        "legacy-stdio": { "type": "stdio", "command": stdio["command"], "args": stdio["args"] },
        "untyped": { "command": stdio["command"], "args": stdio["args"] },
        "probed": { "url": upstream.mcp_url() },
        "migrating": { "type": "stdio", "disabled": true }
    } })
}

fn text(orch: &Orch, name: &str, config: &Value) -> String {
    let path = orch.directory().join(name);
    fs::write(&path, serde_json::to_string_pretty(config).unwrap()).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_taken_over_at_the_start() {
    let upstream = Upstream::start::<&str>([]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.json");
    let commented = format!("// servers\n{}", file(&upstream));
    fs::write(&path, commented).unwrap();
    let orch =
        Orch::start(Options::default().argument("--config").argument(path.display().to_string()))
            .await;
    orch.active(&["remote-sse-server", "legacy-stdio", "untyped", "probed"]).await;
    let partial = orch.server("migrating").await;
    assert_eq!(partial["disabled"], true, "a partial entry is accepted: {partial}");
    let sse = orch.server("remote-sse-server").await;
    assert_eq!((&sse["transport_type"], &sse["headers_count"]), (&json!("sse"), &json!(2)));
    assert_eq!(orch.server("untyped").await["transport_type"], "stdio");
    let tools = orch.mcp().await.tools().await;
    for server in ["remote-sse-server", "legacy-stdio", "untyped", "probed"] {
        assert!(tools.contains(&format!("{server}__echo")), "{server}: {tools:?}");
    }
    let seen = orch.mcp().await.call("remote-sse-server__env", json!({})).await;
    let headers = &seen["structuredContent"]["headers"];
    assert_eq!(headers["authorization"], "Bearer your-api-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sse_url_is_never_taken_for_streamable_http() {
    let upstream = Upstream::start::<&str>([]).unwrap();
    let orch = Orch::start(Options::default()).await;
    // This path speaks Streamable HTTP only, and its name invites guessing.
    let body = json!({ "name": "strict", "type": "sse", "url": upstream.mcp_url(), "timeout": 2 });
    orch.register(&body).await;
    eventually("it fails as SSE", Duration::from_secs(30), async || {
        let server = orch.server("strict").await;
        if server["status"] == "failed" { Ok(()) } else { Err(server.to_string()) }
    })
    .await;
    let initialized = upstream.stats().unwrap().requests["initialize"];
    assert_eq!(initialized, 0, "it was initialized over another transport");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_shows_the_difference_by_name_and_no_secret() {
    let upstream = Upstream::start::<&str>([]).unwrap();
    let orch = Orch::start(Options::default()).await;
    let config = file(&upstream);
    let path = text(&orch, "mcp.json", &config);
    let rows = |json: Value| -> Vec<(String, String)> {
        let mut rows: Vec<_> = json
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| {
                let text = |field: &str| row[field].as_str().unwrap_or_default().to_lowercase();
                (text("name"), text("action"))
            })
            .collect();
        rows.sort();
        rows
    };
    let cli = orch.cli();
    let dry = cli.run(&["import", &path, "--dry-run", "--json"]).await.ok();
    assert!(rows(dry.json()).iter().all(|(_, action)| action == "created"), "{dry:?}");
    assert!(orch.servers().await.is_empty(), "a dry run changes nothing");
    cli.run(&["import", &path]).await.ok();
    assert_eq!(orch.servers().await.len(), 5);
    let again = cli.run(&["import", &path, "--json"]).await.ok();
    assert!(rows(again.json()).iter().all(|(_, action)| action == "unchanged"), "{again:?}");

    let mut changed = config.clone();
    let servers = changed["mcpServers"].as_object_mut().unwrap();
    servers["remote-sse-server"]["headers"]["Authorization"] = json!("Bearer another-api-token");
    servers.remove("probed");
    let path = text(&orch, "changed.json", &changed);
    let updated = cli.run(&["import", &path, "--prune", "--json"]).await.ok();
    let expected = [
        ("legacy-stdio", "unchanged"),
        ("migrating", "unchanged"),
        ("probed", "deleted"),
        ("remote-sse-server", "updated"),
        ("untyped", "unchanged"),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(rows(updated.json()), expected);
    assert!(updated.stdout.contains("headers"), "the field that changed: {updated:?}");
    assert!(!updated.stdout.contains("another-api-token"), "no secret: {updated:?}");
    orch.active(&["remote-sse-server"]).await;
    let mcp = orch.mcp().await;
    eventually("the new header is used", Duration::from_secs(20), async || {
        let seen = mcp.ask("tools/call", json!({ "name": "remote-sse-server__env" })).await;
        let used = seen["result"]["structuredContent"]["headers"]["authorization"]
            == "Bearer another-api-token";
        if used { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
}
