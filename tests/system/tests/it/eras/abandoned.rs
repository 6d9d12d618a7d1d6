//! Clients that open a session and are never heard of again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use crate::harness::{Options, Orch, eventually, stdio_fixture};

/// How many sessions are opened and left.
const SESSIONS: usize = 10_000;
/// How many of them at once.
const AT_ONCE: usize = 32;
/// One of so many calls before it is left.
const CALLING: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_abandoned_sessions_leave_nothing_behind() {
    let options =
        Options::default().argument("--session-idle=2").argument("--sessions-per-key=20000");
    let orch = Orch::start(options).await;
    orch.register(&stdio_fixture("shared", &[])).await;
    let mut own = stdio_fixture("own", &[]);
    own["isolation"] = json!("session");
    orch.register(&own).await;
    orch.active(&["shared", "own"]).await;
    // What a first round of sessions leaves warm is no leak.
    abandon(&orch, 1_000).await;
    settled(&orch).await;
    let before = orch.memory_bytes();
    let children = orch.processes();
    abandon(&orch, SESSIONS).await;
    settled(&orch).await;
    let after = orch.memory_bytes();
    assert!(after <= before + before / 5, "{before} bytes before, {after} bytes after");
    eventually("no child is left that was not there before", Duration::from_secs(60), async || {
        let now = orch.processes();
        if now <= children { Ok(()) } else { Err(format!("{now} processes, {children} before")) }
    })
    .await;
}

/// Opens sessions and leaves each without a word. Some call both servers first, so that there are
/// children to leave behind.
async fn abandon(orch: &Orch, sessions: usize) {
    let (permits, url) = (Arc::new(Semaphore::new(AT_ONCE)), orch.ready.mcp_url.clone());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut opening = tokio::task::JoinSet::new();
    for number in 0..sessions {
        let permit = Arc::clone(&permits).acquire_owned().await.unwrap();
        let (client, url, key) = (client.clone(), url.clone(), orch.api_key.clone());
        opening.spawn(async move {
            let _permit = permit;
            let post = |session: Option<String>, body: serde_json::Value| {
                let mut request = client.post(&url).bearer_auth(&key);
                request = request.header("accept", "application/json, text/event-stream");
                request = request.header("content-type", "application/json");
                if let Some(session) = session {
                    request = request.header("mcp-session-id", session);
                }
                request.body(body.to_string()).send()
            };
            let params = json!({
                "protocolVersion": "2025-11-25", "capabilities": { "roots": {} },
                "clientInfo": { "name": "abandoning", "version": "1" },
            });
            let body =
                json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
            let opened = post(None, body).await.unwrap();
            assert_eq!(opened.status().as_u16(), 200);
            if number % CALLING == 0 {
                let session = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
                for server in ["shared", "own"] {
                    let params = json!({
                        "name": format!("{server}__echo"), "arguments": { "message": "bye" },
                    });
                    let body = json!({
                        "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params,
                    });
                    let called = post(Some(session.clone()), body).await.unwrap();
                    assert!(called.text().await.unwrap().contains("bye"));
                }
            }
        });
    }
    while let Some(opened) = opening.join_next().await {
        opened.unwrap();
    }
}

/// Waits until no session is open any more.
async fn settled(orch: &Orch) {
    eventually("all sessions have ended", Duration::from_secs(120), async || {
        let metrics = orch.metrics().await;
        let line = metrics.lines().find(|line| line.starts_with("mcp_orch_sessions "));
        match line {
            Some(line) if line.ends_with(" 0") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
