//! Servers that are child processes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::connection::ConnectionState;
use domain::server::Transport;
use prost::Message;
use proto::events::v1::CallOutcome;
use proto::internal::v1::{StderrReply, StderrRequest, finished};
use serde_json::{Value, json};

use crate::stage::{self, LIMIT, Stage, failure, fixture, result, script};

#[tokio::test]
async fn a_registered_server_is_connected_learned_and_called() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&["--page-size", "2"]);
    let server = stage.register(transport, launch).await;

    let seen = stage.until_state(server, ConnectionState::Active).await;
    assert_eq!((seen.revision.as_str(), seen.cause.as_str()), ("2025-11-25", ""));
    assert!(seen.response_time_ms > 0 && seen.setup_time_ms > 0, "{seen:?}");
    let view = stage.until(server, |view| view.catalogue.is_some()).await;
    let summary = view.catalogue.clone().unwrap();
    let body: Value =
        serde_json::from_slice(&stage.record.catalogue(&summary.hash).unwrap()).unwrap();
    assert_eq!(body["tools"].as_array().unwrap().len(), summary.tools as usize);
    assert!(summary.tools > 2 && summary.resources > 0 && summary.prompts > 0, "{summary:?}");

    let finished = stage.call(server, "echo", json!({"message": "hällo"})).await;
    assert_eq!(finished.outcome(), CallOutcome::Ok);
    let Some(finished::Answer::Result(raw)) = &finished.answer else { panic!("{finished:?}") };
    assert_eq!(
        std::str::from_utf8(raw).unwrap(),
        r#"{"content":[{"type":"text","text":"hällo"}],"structuredContent":{"message":"hällo"}}"#
    );
    assert!(finished.upstream_us > 0);
    assert_eq!((finished.stored_arguments, finished.stored_result), (None, None));
}

#[tokio::test]
async fn the_environment_of_a_child_is_clean() {
    let stage = Stage::new().await;
    let (transport, mut launch) = fixture(&[]);
    launch["env"] = json!({"OWN_VALUE": "12", "LANG": "C"});
    let server = stage.register(transport, launch).await;
    let finished = stage.call(server, "env", json!({})).await;
    let surroundings = &result(&finished)["structuredContent"];
    let names: BTreeSet<&str> =
        surroundings["env"].as_object().unwrap().keys().map(String::as_str).collect();
    let allowed = BTreeSet::from(["PATH", "HOME", "LANG", "OWN_VALUE"]);
    assert!(names.is_subset(&allowed), "{names:?}");
    assert!(names.contains("PATH"), "{names:?}");
    assert_eq!(surroundings["env"]["OWN_VALUE"], "12");
    assert_eq!(surroundings["env"]["LANG"], "C");
}

#[tokio::test]
async fn a_hundred_concurrent_calls_are_all_right() {
    let stage = Arc::new(Stage::new().await);
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Active).await;
    let calls = (0..100).map(|number| {
        let stage = Arc::clone(&stage);
        tokio::spawn(async move {
            let slow = json!({"ms": 500, "unique": format!("slow {number}")});
            let echo = json!({"message": format!("echo {number}")});
            let (slow, echo) =
                tokio::join!(stage.call(server, "slow", slow), stage.call(server, "echo", echo));
            assert_eq!(slow.outcome(), CallOutcome::Ok);
            assert_eq!(result(&echo)["structuredContent"]["message"], format!("echo {number}"));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let stats = result(&stage.call(server, "stats", json!({})).await)["structuredContent"].clone();
    assert_eq!((&stats["executions"], &stats["repeated"]), (&json!(200), &json!(0)), "{stats}");
    assert!(stats["in_flight_max"].as_u64().unwrap() >= 50, "{stats}");
}

#[tokio::test]
async fn a_flood_of_stderr_blocks_nothing_and_its_end_is_kept() {
    let stage = Stage::with(|config| {
        config.ping_interval = Duration::from_millis(100);
        config.flood_quiet = Duration::from_secs(2);
    })
    .await;
    let (transport, launch) = fixture(&["--flood-stderr", "1000000"]);
    let server = stage.register(transport, launch).await;
    let seen = stage.until_state(server, ConnectionState::Degraded).await;
    assert_eq!(seen.cause, "wrote more than 256 KiB to stderr within 10 s");
    let seen = stage.until_state(server, ConnectionState::Active).await;
    assert_eq!(seen.cause, "");
    let finished = stage.call(server, "stderr_flood", json!({"bytes": 1_000_000})).await;
    assert_eq!(finished.outcome(), CallOutcome::Ok);

    let request = StderrRequest {
        tenant: stage::tenant().to_string(),
        server: server.to_string(),
        max_lines: 10_000,
    };
    let subject = backplane::subject::worker_stderr(server);
    let reply = stage.bus.request(&subject, request.encode_to_vec().into(), LIMIT).await.unwrap();
    let lines = StderrReply::decode(reply).unwrap().lines;
    assert!(!lines.is_empty() && lines.len() <= 200, "{}", lines.len());
    assert!(lines.iter().map(String::len).sum::<usize>() <= 256 * 1024);

    // It is seen again, and no further byte of it is news.
    let floods = || {
        let mut states: Vec<_> =
            stage.record.observations(server).into_iter().map(|seen| seen.state).collect();
        states.dedup();
        states.iter().filter(|state| **state == ConnectionState::Degraded).count()
    };
    stage.until(server, |_| floods() >= 2).await;
    stage.until_state(server, ConnectionState::Active).await;
    assert_eq!(floods(), 2, "{:?}", stage.record.observations(server));
}

#[tokio::test]
async fn a_list_that_hangs_degrades_and_holds_up_nothing() {
    let stage = Stage::with(|config| config.list_timeout = Duration::from_secs(1)).await;
    let (transport, launch) = fixture(&["--hang-in", "tools/list"]);
    let hanging = stage.register(transport, launch).await;
    let (transport, launch) = fixture(&[]);
    let healthy = stage.register(transport, launch).await;
    stage.until_state(healthy, ConnectionState::Active).await;
    let finished = stage.call(hanging, "echo", json!({"message": "works"})).await;
    assert_eq!(finished.outcome(), CallOutcome::Ok);
    let seen = stage.until_state(hanging, ConnectionState::Degraded).await;
    assert_eq!(seen.cause, "tools/list did not answer within 1 s");
    let view = stage.until(hanging, |view| view.catalogue.is_some()).await;
    let summary = view.catalogue.clone().unwrap();
    assert!(summary.tools == 0 && summary.prompts > 0, "{summary:?}");
}

#[tokio::test]
async fn a_cause_keeps_our_own_words_though_an_argument_is_one_of_them() {
    let stage = Stage::with(|config| config.list_timeout = Duration::from_secs(1)).await;
    let (_, launch) = fixture(&["--hang-in", "tools/list"]);
    let transport = hidden(&["…", "…", "…"]);
    let hanging = stage.register(transport, launch).await;
    let seen = stage.until_state(hanging, ConnectionState::Degraded).await;
    assert_eq!(seen.cause, "tools/list did not answer within 1 s");

    let transport = hidden(&["…"]);
    let launch = json!({"args": ["stdio", "--exit-at-start", "3"], "env": {"MODE": "initialize"}});
    let exiting = stage.register(transport, launch).await;
    let seen = stage.until_state(exiting, ConnectionState::Failed).await;
    assert_eq!(seen.cause, "exited with status 3 before initialize");
}

/// The fixture over stdio, whose arguments are secret as far as nothing is shown of them.
fn hidden(shown_args: &[&str]) -> Transport {
    match fixture(&[]).0 {
        Transport::Stdio { command, env_names, cwd, .. } => {
            let shown_args = shown_args.iter().map(|arg| (*arg).to_owned()).collect();
            Transport::Stdio { command, shown_args, env_names, cwd }
        }
        other => other,
    }
}

#[tokio::test]
async fn a_server_that_no_longer_answers_pings_is_connected_again() {
    let stage = Stage::with(|config| {
        config.ping_interval = Duration::from_millis(100);
        config.ping_timeout = Duration::from_millis(500);
    })
    .await;
    let (transport, launch) = fixture(&["--hang-in", "ping"]);
    let server = stage.register(transport, launch).await;
    let seen = stage.until_state(server, ConnectionState::Degraded).await;
    assert_eq!(seen.cause, "ping did not answer within 0.5 s");
    let seen = stage.until_state(server, ConnectionState::Failed).await;
    assert_eq!(seen.cause, "pings were not answered");
    stage.until_state(server, ConnectionState::Active).await;
}

#[tokio::test]
async fn causes_say_why_a_process_does_not_serve() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&["--exit-at-start", "3"]);
    let exiting = stage.register(transport, launch).await;
    let missing = Transport::Stdio {
        command: "no-such-program".to_owned(),
        shown_args: vec![],
        env_names: vec![],
        cwd: None,
    };
    let missing = stage.register(missing, json!({})).await;
    let (transport, launch) = script(
        "echo not json; n=1; while read line; do echo '{\"jsonrpc\":\"2.0\",\"id\":'$n'}'; n=$((n+1)); done",
    );
    let confused = stage.register_with(transport, launch, |config| config.timeout_s = 5).await;

    let seen = stage.until_state(exiting, ConnectionState::Failed).await;
    assert_eq!(seen.cause, "exited with status 3 before initialize");
    let seen = stage.until_state(missing, ConnectionState::Failed).await;
    assert_eq!(seen.cause, "`no-such-program` not found");
    let seen = stage.until_state(confused, ConnectionState::Failed).await;
    assert_eq!(seen.cause, "Invalid JSON-RPC 2.0 response");

    // A call starts it on demand, and says why it does not work.
    let finished = stage.call(exiting, "echo", json!({"message": "x"})).await;
    assert_eq!(finished.outcome(), CallOutcome::NotStarted);
    assert_eq!(
        failure(&finished),
        ("UPSTREAM_UNAVAILABLE", "exited with status 3 before initialize")
    );
    // However often it is tried, the record has each state once.
    let states: Vec<_> = stage.record.observations(exiting).iter().map(|o| o.state).collect();
    assert_eq!(states.last(), Some(&ConnectionState::Failed));
    assert!(states.len() <= 2, "{states:?}");
}

#[tokio::test]
async fn progress_arrives_with_the_callers_own_token() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    let mut open = stage::open(server, "slow", json!({"ms": 100, "steps": 4}));
    let params = json!({
        "name": "slow",
        "arguments": {"ms": 100, "steps": 4},
        "_meta": {"progressToken": "own \u{e9} token"},
    });
    open.params = params.to_string().into();
    let exchange = stage.open(server, &open).await;
    let (notifications, finished) = stage::finish(&exchange).await;
    assert_eq!(finished.outcome(), CallOutcome::Ok);
    assert!(!notifications.is_empty());
    for notification in notifications {
        assert_eq!(notification.method, "notifications/progress");
        let params: Value = serde_json::from_slice(&notification.params).unwrap();
        assert_eq!(params["progressToken"], "own \u{e9} token");
    }
}

#[tokio::test]
async fn a_cancel_and_a_client_that_leaves_reach_the_upstream() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Active).await;
    let slow = |unique: &str| stage::open(server, "slow", json!({"ms": 60_000, "unique": unique}));
    let cancelled = stage.open(server, &slow("cancelled")).await;
    let left = stage.open(server, &slow("left")).await;
    let stats = async |wanted: fn(&Value) -> bool| {
        let stats = async {
            loop {
                let finished = stage.call(server, "stats", json!({})).await;
                let stats = result(&finished)["structuredContent"].clone();
                if wanted(&stats) {
                    return stats;
                }
            }
        };
        tokio::time::timeout(LIMIT, stats).await.unwrap()
    };
    stats(|stats| stats["in_flight"] == 2).await;
    cancelled.cancel("no longer wanted").await.unwrap();
    let (_, finished) = stage::finish(&cancelled).await;
    assert_eq!(finished.outcome(), CallOutcome::Cancelled);
    drop(left);
    let stats = stats(|stats| stats["in_flight"] == 0).await;
    assert_eq!(stats["cancels_effective"], 2, "{stats}");
}

#[tokio::test]
async fn outcomes_tell_errors_apart() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    let failed = stage.call(server, "fail", json!({"message": "told"})).await;
    assert_eq!(failed.outcome(), CallOutcome::ToolError);
    assert_eq!(result(&failed)["isError"], true);
    let refused = stage.call(server, "rpc_error", json!({"message": "told"})).await;
    assert_eq!(refused.outcome(), CallOutcome::UpstreamError);
    assert_ne!(refused.error_code, 0);
    let Some(finished::Answer::Error(error)) = &refused.answer else { panic!("{refused:?}") };
    assert_eq!(serde_json::from_slice::<Value>(error).unwrap()["message"], "told");

    let mut foreign = stage::open(server, "echo", json!({"message": "x"}));
    foreign.tenant = uuid::Uuid::from_u128(8).to_string();
    let exchange = stage.open(server, &foreign).await;
    let (_, finished) = stage::finish(&exchange).await;
    assert_eq!(failure(&finished).0, "NOT_FOUND");
}

#[tokio::test]
async fn beyond_its_limit_a_server_refuses_at_once() {
    let stage = Stage::with(|config| config.max_in_flight = 2).await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Active).await;
    let slow = stage::open(server, "slow", json!({"ms": 60_000}));
    let running = [stage.open(server, &slow).await, stage.open(server, &slow).await];
    let refused = stage.call(server, "echo", json!({"message": "x"})).await;
    assert_eq!(failure(&refused).0, "RESOURCE_EXHAUSTED");
    assert_eq!(refused.outcome(), CallOutcome::NotStarted);
    drop(running);
}
