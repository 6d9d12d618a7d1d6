//! From registration to the end of a server, and of the worker.

use std::time::Duration;

use bus::BusError;
use domain::connection::ConnectionState;
use domain::event::ServerEvent;
use domain::server::ServerName;
use proto::events::v1::CallOutcome;
use serde_json::{Value, json};

use crate::stage::{self, Stage, failure, fixture, result, script, until_gone};

async fn surroundings(stage: &Stage, server: domain::ServerId) -> Value {
    result(&stage.call(server, "env", json!({})).await)["structuredContent"].clone()
}

#[tokio::test]
async fn a_crash_leaves_nothing_and_is_recovered_from() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Active).await;
    let before = surroundings(&stage, server).await["pid"].as_u64().unwrap();
    let mut grandchildren = Vec::new();
    for detach in [false, true] {
        let spawned = stage.call(server, "spawn_grandchild", json!({"detach": detach})).await;
        grandchildren.push(result(&spawned)["structuredContent"]["pid"].as_u64().unwrap());
    }
    let crashed = stage.call(server, "crash", json!({"code": 9})).await;
    assert_eq!(crashed.outcome(), CallOutcome::Unknown);
    assert_eq!(failure(&crashed).0, "OUTCOME_UNKNOWN");
    let seen = stage.until_state(server, ConnectionState::Failed).await;
    assert_eq!(seen.cause, "the process exited with status 9");
    for pid in grandchildren {
        until_gone(pid).await;
    }
    stage.until_state(server, ConnectionState::Active).await;
    let after = surroundings(&stage, server).await["pid"].as_u64().unwrap();
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_call_after_a_crash_starts_the_server_at_once() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Active).await;
    for _ in 0..3 {
        stage.call(server, "crash", json!({"code": 1})).await;
        let echo = stage.call(server, "echo", json!({"message": "back"})).await;
        assert_eq!(echo.outcome(), CallOutcome::Ok, "{echo:?}");
    }
}

#[tokio::test]
async fn who_waits_for_a_connection_does_so_until_its_deadline() {
    let stage = Stage::new().await;
    let (transport, launch) = script("exec sleep 1000");
    let server = stage.register(transport, launch).await;
    let mut open = stage::open(server, "echo", json!({"message": "x"}));
    open.deadline_ms = 200;
    let exchange = stage.open(server, &open).await;
    let (_, finished) = stage::finish(&exchange).await;
    assert_eq!(failure(&finished), ("UPSTREAM_UNAVAILABLE", "no connection in time"));
}

#[tokio::test]
async fn what_is_measured_has_project_server_and_outcome() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let numbers = recorder.handle();
    metrics::set_global_recorder(recorder).unwrap();
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    stage.call(server, "echo", json!({"message": "x"})).await;
    stage.call(server, "fail", json!({"message": "x"})).await;
    let text = numbers.render();
    for line in [
        "mcp_orch_requests_total{project=\"project\",server=\"server-1\",outcome=\"ok\"} 1",
        "mcp_orch_requests_total{project=\"project\",server=\"server-1\",outcome=\"tool_error\"} 1",
        "mcp_orch_response_seconds_count{project=\"project\",server=\"server-1\"} 2",
        "mcp_orch_connection_setup_seconds_count{project=\"project\",server=\"server-1\"} 1",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
}

#[tokio::test]
async fn what_the_record_did_not_take_comes_again_under_its_own_id() {
    let stage = Stage::new().await;
    // The first entries are recorded, but their writer is told that they may not be.
    stage.record.doubt(3);
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Active).await;
    assert_eq!(stage.record.repeated(), 3);
    let states: Vec<_> = stage.record.observations(server);
    let active = states.iter().filter(|seen| seen.state == ConnectionState::Active);
    assert_eq!(active.count(), 1);
}

#[tokio::test]
async fn disabling_stops_and_enabling_starts() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Active).await;
    let pid = surroundings(&stage, server).await["pid"].as_u64().unwrap();
    stage.change(server, ServerEvent::Disabled).await;
    stage.until_state(server, ConnectionState::Disabled).await;
    until_gone(pid).await;
    let open = stage::open(server, "echo", json!({"message": "x"}));
    let refused = backplane::exchange::Exchange::open(&*stage.bus, server, &open).await;
    assert_eq!(refused.err(), Some(BusError::NoResponders));
    stage.change(server, ServerEvent::Enabled).await;
    stage.until_state(server, ConnectionState::Active).await;
    assert_eq!(
        stage.call(server, "echo", json!({"message": "x"})).await.outcome(),
        CallOutcome::Ok
    );
}

#[tokio::test]
async fn another_configuration_is_another_process_and_another_name_is_not() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport.clone(), launch.clone()).await;
    stage.until_state(server, ConnectionState::Active).await;
    let first = surroundings(&stage, server).await["pid"].as_u64().unwrap();

    let name = ServerName::parse("name", "renamed").unwrap();
    stage.change(server, ServerEvent::Renamed { name }).await;
    assert_eq!(surroundings(&stage, server).await["pid"], first);

    let mut launch = launch;
    launch["env"] = json!({"VERSION": "2"});
    let config = stage.config(server, transport, launch).await;
    stage.change(server, ServerEvent::Reconfigured { config }).await;
    until_gone(first).await;
    let second = surroundings(&stage, server).await;
    assert_eq!(second["env"]["VERSION"], "2");

    stage.change(server, ServerEvent::Deleted).await;
    until_gone(second["pid"].as_u64().unwrap()).await;
}

#[tokio::test]
async fn a_changed_list_is_learned_again() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    let view = stage.until(server, |view| view.catalogue.is_some()).await;
    let before = view.catalogue.clone().unwrap();
    stage.call(server, "set_tools", json!({"count": 5})).await;
    let view = stage
        .until(server, |view| view.catalogue.as_ref().is_some_and(|c| c.hash != before.hash))
        .await;
    assert_eq!(view.catalogue.as_ref().unwrap().tools, before.tools + 5);
}

#[tokio::test]
async fn a_list_that_fails_keeps_what_is_in_the_record() {
    let stage = Stage::with(|config| config.list_timeout = Duration::from_secs(1)).await;
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    let view = stage.until(server, |view| view.catalogue.is_some()).await;
    let before = view.catalogue.clone().unwrap();
    let (transport, launch) = fixture(&["--hang-in", "tools/list", "--resources", "1"]);
    let config = stage.config(server, transport, launch).await;
    stage.change(server, ServerEvent::Reconfigured { config }).await;
    stage.until_state(server, ConnectionState::Degraded).await;
    let view = stage
        .until(server, |view| {
            view.catalogue.as_ref().is_some_and(|c| c.resources < before.resources)
        })
        .await;
    assert_eq!(view.catalogue.as_ref().unwrap().tools, before.tools);
}

#[tokio::test]
async fn a_shutdown_lets_calls_finish_and_leaves_no_process() {
    let mut stage = Stage::new().await;
    let (transport, launch) = fixture(&["--stubborn"]);
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Active).await;
    let pid = surroundings(&stage, server).await["pid"].as_u64().unwrap();
    let open = stage::open(server, "slow", json!({"ms": 1_000}));
    let running = stage.open(server, &open).await;
    let (finished, ()) = tokio::join!(stage::finish(&running), async {
        // It is under way as soon as it counts as a request that came after it.
        stage.call(server, "echo", json!({"message": "x"})).await;
    });
    assert_eq!(finished.1.outcome(), CallOutcome::Ok);

    let running = stage.open(server, &open).await;
    stage.call(server, "echo", json!({"message": "x"})).await;
    stage.stop().await;
    let (_, finished) = stage::finish(&running).await;
    assert_eq!(finished.outcome(), CallOutcome::Ok);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn while_the_secret_store_is_away_what_runs_goes_on_and_what_is_new_waits() {
    let stage = Stage::new().await;
    let (transport, launch) = fixture(&[]);
    let running = stage.register(transport.clone(), launch.clone()).await;
    stage.until_state(running, ConnectionState::Active).await;
    stage.secrets.go_away();
    let waiting = stage.register(transport, launch).await;
    let seen = stage.until_state(waiting, ConnectionState::Failed).await;
    assert_eq!(seen.cause, "the secret store is unavailable");
    let echo = |server| stage.call(server, "echo", json!({"message": "x"}));
    assert_eq!(echo(running).await.outcome(), CallOutcome::Ok);
    let refused = echo(waiting).await;
    assert_eq!(refused.outcome(), CallOutcome::NotStarted);
    assert_eq!(failure(&refused), ("UPSTREAM_UNAVAILABLE", "the secret store is unavailable"));
    // It needs no hand, and no call either.
    stage.secrets.come_back();
    stage.until_state(waiting, ConnectionState::Active).await;
    assert_eq!(echo(waiting).await.outcome(), CallOutcome::Ok);
}
