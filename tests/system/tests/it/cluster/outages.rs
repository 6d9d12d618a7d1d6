//! The bus, the database or the store of secrets away for a while: what is said to work meanwhile
//! does, and all is well again without a hand.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{RECOVERY, all_say, answers, recorded, with_fixture};
use crate::harness::{Orch, eventually, stdio_fixture};

/// How long a server may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(20);

async fn start_again(orch: &mut Orch, service: &str) {
    orch.cluster().instance(service, 0).unwrap().start().unwrap();
    orch.cluster().healthy(service, 0).await.unwrap();
}

async fn make_key(orch: &Orch, name: &str) -> Result<(), String> {
    let body = json!({ "name": name });
    let made = orch.rest().post(&orch.project("/api-keys"), &body).await;
    if made.status.is_success() { Ok(()) } else { Err(format!("{}: {}", made.status, made.text)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_bus_commands_and_lists_go_on() {
    let mut orch = with_fixture().await;
    let mcp = answers(&orch, "fixture__echo").await;
    orch.cluster().instance("nats", 0).unwrap().kill().await.unwrap();
    all_say(&mut orch, &["control-plane", "edge", "worker"], "degraded: bus").await;
    make_key(&orch, "without a bus").await.unwrap();
    // The session's edge may be the other one, which cannot be asked now.
    let tools = mcp.try_ask("tools/list", json!({})).await;
    if let Ok(listed) = &tools
        && listed["error"].is_null()
    {
        assert!(listed.to_string().contains("fixture__echo"), "{listed}");
    }
    let refused = mcp
        .try_ask("tools/call", json!({ "name": "fixture__echo", "arguments": { "message": "no" } }))
        .await;
    assert!(refused.is_err() || !refused.as_ref().unwrap()["error"].is_null(), "{refused:?}");
    start_again(&mut orch, "nats").await;
    all_say(&mut orch, &["control-plane", "edge", "worker"], "ok").await;
    answers(&orch, "fixture__echo").await;
    let fine = mcp.call("fixture__echo", json!({ "message": "the session is there" })).await;
    assert_eq!(fine["structuredContent"]["message"], "the session is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_reads_go_on_and_calls_fail_closed() {
    let mut orch = with_fixture().await;
    let mcp = answers(&orch, "fixture__echo").await;
    let before = recorded(&orch, "echo").await.len();
    let postgres = orch.cluster().instance("postgres", 0).unwrap();
    postgres.end(Signal::SIGQUIT, STOP_LIMIT).await.unwrap();
    all_say(&mut orch, &["control-plane"], "degraded: store").await;
    let servers = orch.servers().await;
    assert_eq!(servers.len(), 1, "reads go on");
    assert!(mcp.tools().await.contains(&"fixture__echo".to_owned()), "lists go on");
    let refused = make_key(&orch, "without a database").await.unwrap_err();
    assert!(refused.starts_with("503"), "{refused}");
    let call = mcp.ask("tools/call", json!({ "name": "fixture__echo", "arguments": {} })).await;
    assert!(!call["error"].is_null(), "nothing is answered that cannot be recorded: {call}");
    start_again(&mut orch, "postgres").await;
    all_say(&mut orch, &["control-plane"], "ok").await;
    let again = answers(&orch, "fixture__echo").await;
    let params = json!({ "name": "fixture__echo", "arguments": { "message": "recorded" } });
    eventually("a call is answered", RECOVERY, async || {
        let answer = again.try_ask("tools/call", params.clone()).await?;
        if answer["error"].is_null() { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    eventually("what was answered is on record", RECOVERY, async || {
        let now = recorded(&orch, "echo").await;
        let last = now.first().map(|call| call["arguments"]["message"].clone());
        if now.len() > before && last == Some(json!("recorded")) {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    make_key(&orch, "with a database").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_vault_what_runs_goes_on_and_what_is_new_waits() {
    let mut orch = with_fixture().await;
    let mcp = answers(&orch, "fixture__echo").await;
    // Each control-plane has recorded something of this organization before: it knows its keys.
    for _ in 0..20 {
        mcp.call("fixture__echo", json!({ "message": "with vault" })).await;
    }
    orch.cluster().instance("openbao", 0).unwrap().kill().await.unwrap();
    for turn in 0..5 {
        let message = format!("without vault {turn}");
        let echoed = mcp.call("fixture__echo", json!({ "message": message })).await;
        assert_eq!(echoed["structuredContent"]["message"], message);
    }
    let mut secret = stdio_fixture("second", &[]);
    secret["env"] = json!({ "TOKEN": "only for this server" });
    let refused = orch.rest().post(&orch.project("/servers"), &secret).await;
    assert_eq!(refused.status.as_u16(), 503, "{}", refused.text);
    start_again(&mut orch, "openbao").await;
    eventually("a server with a secret is taken", RECOVERY, async || {
        let made = orch.rest().post(&orch.project("/servers"), &secret).await;
        if made.status.is_success() { Ok(()) } else { Err(made.text) }
    })
    .await;
    orch.active(&["second"]).await;
    answers(&orch, "second__echo").await;
    all_say(&mut orch, &["control-plane"], "ok").await;
}
