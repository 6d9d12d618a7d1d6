//! A worker or an edge that is killed, in the midst of calls.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use super::processes::{descendants, runs};
use super::resumption::Session;
use crate::harness::{Client, Options, Orch, Sdk, Streamable, eventually, stdio_fixture};

/// Servers over stdio, with a call in flight each.
const SERVERS: usize = 20;
/// Within this every call in flight has an outcome, once its worker died.
const OUTCOME_LIMIT: Duration = Duration::from_secs(5);
/// Within this every server answers from another worker.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(10);
/// How long the calls in flight would take.
const SLOW_MS: u64 = 8_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_leaves_no_call_without_outcome_and_no_server_behind() {
    let mut orch = Orch::start_cluster(Options::default()).await;
    let journal = orch.directory().join("executions");
    let names: Vec<String> = (0..SERVERS).map(|number| format!("s{number}")).collect();
    for name in &names {
        let journal = journal.display().to_string();
        orch.register(&stdio_fixture(name, &["--journal", &journal])).await;
    }
    orch.active(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let victim = busiest_worker(&mut orch).await;
    let mcp = orch.mcp().await;
    eventually("all servers are listed", super::RECOVERY, async || {
        let tools = mcp.tools().await;
        let missing = names.iter().find(|name| !tools.contains(&format!("{name}__slow")));
        missing.map_or(Ok(()), |name| Err(format!("{name} is missing")))
    })
    .await;
    let calls = join_all(names.iter().map(|name| slow(&mcp, name)));
    let death = async {
        eventually("all calls run", Duration::from_secs(20), async || {
            let executed = fixtures::process::journal(&journal).map_err(|e| e.to_string())?;
            if executed.len() == SERVERS { Ok(()) } else { Err(format!("{executed:?}")) }
        })
        .await;
        let worker = orch.cluster().instance("worker", victim).unwrap();
        let children = descendants(worker.pid().unwrap());
        worker.kill().await.unwrap();
        (Instant::now(), children)
    };
    let (outcomes, (killed, children)) = tokio::join!(calls, death);
    assert!(children.len() >= SERVERS / 4, "the killed worker had {} processes", children.len());
    let failed = check_outcomes(&outcomes, killed);
    assert!(failed > 0, "no call was at the worker that died");
    eventually("no process of the dead worker is left", Duration::from_secs(5), async || {
        let left: Vec<i32> = children.iter().copied().filter(|id| runs(*id)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    join_all(names.iter().map(|name| answers_again(&mcp, name, killed))).await;
    let mut counted = BTreeMap::<String, usize>::new();
    for unique in fixtures::process::journal(&journal).unwrap() {
        *counted.entry(unique).or_default() += 1;
    }
    let twice: Vec<_> = counted.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "ran more than once: {twice:?}");
    eventually("each call is on record", Duration::from_secs(10), async || {
        let calls = super::recorded(&orch, "slow").await;
        if calls.len() == SERVERS { Ok(()) } else { Err(format!("{} calls", calls.len())) }
    })
    .await;
}

/// The worker with most processes, once both have some.
async fn busiest_worker(orch: &mut Orch) -> usize {
    let mut processes = Vec::new();
    eventually("both workers have servers", super::RECOVERY, async || {
        processes.clear();
        for replica in 0..2 {
            let pid = orch.cluster().instance("worker", replica).unwrap().pid().unwrap();
            processes.push(descendants(pid).len());
        }
        if processes.iter().all(|count| *count > 0) {
            Ok(())
        } else {
            Err(format!("{processes:?}"))
        }
    })
    .await;
    usize::from(processes[1] > processes[0])
}

/// What became of a call, and when.
async fn slow(mcp: &Streamable, server: &str) -> (Value, Instant) {
    let arguments = json!({ "ms": SLOW_MS, "steps": 1, "unique": server });
    let params = json!({ "name": format!("{server}__slow"), "arguments": arguments });
    let answer = mcp.ask("tools/call", params).await;
    (answer, Instant::now())
}

/// Each call has its answer, or a stated outcome in time. Gives how many have no answer.
fn check_outcomes(outcomes: &[(Value, Instant)], killed: Instant) -> usize {
    let mut failed = 0;
    for (answer, at) in outcomes {
        if answer["error"].is_null() {
            assert!(answer["result"]["content"].is_array(), "{answer}");
            continue;
        }
        failed += 1;
        let reason = answer["error"]["data"]["reason"].as_str();
        assert_eq!(reason, Some("OUTCOME_UNKNOWN"), "a stable reason: {answer}");
        let took = at.saturating_duration_since(killed);
        assert!(took < OUTCOME_LIMIT, "told after {took:?}");
    }
    failed
}

async fn answers_again(mcp: &Streamable, server: &str, killed: Instant) {
    eventually(&format!("{server} answers again"), super::RECOVERY, async || {
        let arguments = json!({ "message": format!("{server} again {:?}", Instant::now()) });
        let params = json!({ "name": format!("{server}__echo"), "arguments": arguments });
        let answer = mcp.try_ask("tools/call", params).await?;
        if answer["result"].is_null() { Err(answer.to_string()) } else { Ok(()) }
    })
    .await;
    let took = killed.elapsed();
    assert!(took < TAKEOVER_LIMIT, "{server} answered again after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_killed_edge_go_on_at_the_other() {
    let mut orch = super::with_fixture().await;
    let authorization = format!("Bearer {}", orch.api_key);
    let connection = json!({
        "transport": "http", "url": orch.ready.mcp_url,
        "headers": { "Authorization": authorization },
    });
    let mut python = Client::connect(Sdk::Python, &connection).await;
    python.call("fixture__echo", json!({ "message": "before" })).await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(Session::open(&orch).await);
    }
    let running = join_all(sessions.iter().map(|session| session.begin_slow(4_000))).await;
    orch.cluster().instance("edge", 0).unwrap().kill().await.unwrap();
    let ended = running.into_iter().zip(&sessions).map(async |(mut call, session)| {
        let resumed = call.read_to_the_end(session).await;
        assert_eq!(call.progress(), [1.0, 2.0, 3.0, 4.0], "each once, in order");
        resumed
    });
    let resumed = join_all(ended).await.into_iter().filter(|resumed| *resumed).count();
    assert!(resumed > 0, "no call was at the edge that died");
    let executions = sessions[0].executions().await;
    assert_eq!(executions, 21, "20 slow calls and one echo, none twice");
    for session in &sessions {
        session.echo("after").await;
    }
    let echoed = python.call("fixture__echo", json!({ "message": "after" })).await;
    assert_eq!(echoed["structuredContent"]["message"], "after");
    python.close().await;
}
