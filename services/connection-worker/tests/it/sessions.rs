//! Connections of single clients.

use std::time::Duration;

use backplane::exchange::{Exchange, Frame};
use domain::ServerId;
use domain::connection::ConnectionState;
use domain::event::ServerEvent;
use domain::server::{Isolation, Transport};
use fixtures::Upstream;
use proto::events::v1::CallOutcome;
use proto::internal::v1::{Finished, Peer};
use serde_json::{Value, json};

use crate::stage::{
    self, Stage, at, attachment, conformance, failure, finish, fixture, next, of_peer, peer,
    result, until_gone,
};

async fn isolated(stage: &Stage, transport: Transport, launch: Value) -> ServerId {
    let server = stage
        .register_with(transport, launch, |config| config.isolation = Isolation::Session)
        .await;
    stage.until_state(server, ConnectionState::Active).await;
    server
}

async fn own(stage: &Stage) -> ServerId {
    let (transport, launch) = fixture(&[]);
    isolated(stage, transport, launch).await
}

async fn begin(stage: &Stage, server: ServerId, peer: &Peer, tool: &str, with: Value) -> Exchange {
    stage.open(server, &of_peer(stage::open(server, tool, with), peer)).await
}

async fn call(stage: &Stage, server: ServerId, peer: &Peer, tool: &str) -> Finished {
    finish(&begin(stage, server, peer, tool, json!({})).await).await.1
}

async fn pid(stage: &Stage, server: ServerId, peer: &Peer) -> u64 {
    let finished = call(stage, server, peer, "env").await;
    result(&finished)["structuredContent"]["pid"].as_u64().unwrap()
}

fn exclusive(name: &str) -> Peer {
    Peer { exclusive: true, ..peer(name, &json!({})) }
}

#[tokio::test]
async fn each_session_has_a_process_of_its_own_with_its_clients_capabilities() {
    let stage = Stage::new().await;
    let (transport, launch) = conformance(&["--era", "sessions"]);
    let server = isolated(&stage, transport, launch).await;
    let mut pids = Vec::new();
    for (session, capabilities) in [
        ("one", json!({"roots": {"listChanged": true}})),
        ("two", json!({"sampling": {}})),
        ("three", json!({})),
    ] {
        let client = peer(session, &capabilities);
        for _ in 0..2 {
            let finished = call(&stage, server, &client, "test_client").await;
            let known = result(&finished)["structuredContent"].clone();
            assert_eq!(known["capabilities"], capabilities, "{session}");
            pids.push(known["pid"].as_u64().unwrap());
        }
    }
    assert!(pids[0] == pids[1] && pids[2] == pids[3] && pids[4] == pids[5], "{pids:?}");
    pids.dedup();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 3, "{pids:?}");
}

#[tokio::test]
async fn a_request_of_no_session_gets_no_connection_that_others_get_too() {
    let stage = Stage::new().await;
    let server = own(&stage).await;
    let refused = stage.call(server, "env", json!({})).await;
    assert_eq!(refused.outcome(), CallOutcome::NotStarted);
    assert_eq!(failure(&refused).0, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn over_http_each_session_has_one_upstream() {
    let stage = Stage::new().await;
    let upstream = Upstream::conformance(["--era", "sessions"]).unwrap();
    for transport in [
        Transport::StreamableHttp(at(&upstream.mcp_url())),
        Transport::Sse(at(&upstream.sse_url())),
    ] {
        let server = isolated(&stage, transport, json!({})).await;
        let session = async |peer: &Peer| {
            let finished = call(&stage, server, peer, "test_client").await;
            let known = result(&finished)["structuredContent"].clone();
            assert_eq!(known["capabilities"], json!({"roots": {}}));
            known["session"].as_str().unwrap().to_owned()
        };
        let (one, other) =
            (peer("one", &json!({"roots": {}})), peer("other", &json!({"roots": {}})));
        let first = session(&one).await;
        assert_eq!(session(&one).await, first);
        assert_ne!(session(&other).await, first);
    }
}

#[tokio::test]
async fn requests_that_must_be_alone_are_and_an_idle_connection_is_used_again() {
    let stage = Stage::new().await;
    let server = own(&stage).await;
    let client = exclusive("key");
    let idle = pid(&stage, server, &client).await;
    assert_eq!(pid(&stage, server, &client).await, idle);
    let busy = begin(&stage, server, &client, "slow", json!({"ms": 60_000})).await;
    let second = pid(&stage, server, &client).await;
    assert_ne!(pid(&stage, server, &exclusive("other key")).await, second);
    busy.cancel("enough").await.unwrap();
    finish(&busy).await;
    assert!([idle, second].contains(&pid(&stage, server, &client).await));
    // One session's requests share a connection, even at the same time.
    let session = peer("session", &json!({}));
    let running = begin(&stage, server, &session, "slow", json!({"ms": 60_000})).await;
    let first = pid(&stage, server, &session).await;
    assert_eq!(pid(&stage, server, &session).await, first);
    drop(running);
}

#[tokio::test]
async fn a_process_waits_for_the_next_session() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    let program = fixtures::binary("fixture-upstream").unwrap();
    let (transport, script) =
        stage::script(&format!("echo $$ >> {}; exec {} stdio", notes.display(), program.display()));
    let server = isolated(&stage, transport, script).await;
    let started = || -> Vec<u64> {
        let notes = std::fs::read_to_string(&notes).unwrap_or_default();
        notes.lines().map(|line| line.parse().unwrap()).collect()
    };
    let until = async |count: usize| {
        let started = async {
            while started().len() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(stage::LIMIT, started).await.unwrap();
    };
    // The shared one and the spare one.
    until(2).await;
    let mut number = 0;
    // A session that comes while the spare one is being started gets one of its own.
    let warm = loop {
        number += 1;
        let before = started();
        let own = pid(&stage, server, &peer(&number.to_string(), &json!({}))).await;
        if before.contains(&own) {
            break own;
        }
    };
    let mut known = started().len();
    assert!(number < 10 && started().contains(&warm), "{number}");
    until(known + usize::from(started().last() == Some(&warm))).await;
    known = started().len();
    let spare = started()[known - 1];
    // One that died meanwhile is not used.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(spare).unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    until_gone(spare).await;
    let second = pid(&stage, server, &peer("another", &json!({}))).await;
    assert!(second != spare && started().contains(&second));
    stage.change(server, ServerEvent::Disabled).await;
    for pid in started() {
        until_gone(pid).await;
    }
}

#[tokio::test]
async fn at_the_limit_the_longest_idle_makes_room_and_busy_ones_do_not() {
    let stage = Stage::with(|config| config.max_sessions_per_server = 2).await;
    let server = own(&stage).await;
    let first = pid(&stage, server, &peer("one", &json!({}))).await;
    let second = pid(&stage, server, &peer("two", &json!({}))).await;
    let third = pid(&stage, server, &peer("three", &json!({}))).await;
    until_gone(first).await;
    assert_eq!(pid(&stage, server, &peer("two", &json!({}))).await, second);
    assert_eq!(pid(&stage, server, &peer("three", &json!({}))).await, third);

    let slow = json!({"ms": 60_000});
    let busy = [
        begin(&stage, server, &peer("two", &json!({})), "slow", slow.clone()).await,
        begin(&stage, server, &peer("three", &json!({})), "slow", slow).await,
    ];
    // Both are under way as soon as they answer something else.
    pid(&stage, server, &peer("two", &json!({}))).await;
    pid(&stage, server, &peer("three", &json!({}))).await;
    let refused = call(&stage, server, &peer("four", &json!({})), "env").await;
    assert_eq!(refused.outcome(), CallOutcome::NotStarted);
    let (reason, message) = failure(&refused);
    assert_eq!(reason, "RESOURCE_EXHAUSTED");
    assert!(message.contains("the server has 2 connections"), "{message}");
    drop(busy);
}

#[tokio::test]
async fn a_projects_servers_share_its_limit() {
    let stage = Stage::with(|config| config.max_sessions_per_project = 1).await;
    let (one, other) = (own(&stage).await, own(&stage).await);
    let running = begin(&stage, one, &peer("one", &json!({})), "slow", json!({"ms": 60_000})).await;
    pid(&stage, one, &peer("one", &json!({}))).await;
    let refused = call(&stage, other, &peer("one", &json!({})), "env").await;
    let (reason, message) = failure(&refused);
    assert_eq!(reason, "RESOURCE_EXHAUSTED");
    assert!(message.contains("the project has 1 connections"), "{message}");
    drop(running);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_ends_sooner_when_its_session_did() {
    let stage = Stage::with(|config| {
        config.session_idle = Duration::from_secs(3600);
        config.session_left_idle = Duration::from_millis(50);
    })
    .await;
    let server = own(&stage).await;
    let (kept, left) = (peer("kept", &json!({})), peer("left", &json!({})));
    let kept_pid = pid(&stage, server, &kept).await;
    let attached = stage.open(server, &attachment(server, &left)).await;
    assert!(matches!(next(&attached).await, Frame::Catalogue(_)));
    let left_pid = pid(&stage, server, &left).await;
    assert_eq!(pid(&stage, server, &left).await, left_pid);
    drop(attached);
    until_gone(left_pid).await;
    assert_eq!(pid(&stage, server, &kept).await, kept_pid);
    // It comes back as another one.
    assert_ne!(pid(&stage, server, &left).await, left_pid);
}

#[tokio::test]
async fn idle_and_old_connections_end() {
    let stage = Stage::with(|config| config.session_idle = Duration::from_millis(50)).await;
    let server = own(&stage).await;
    let first = pid(&stage, server, &peer("one", &json!({}))).await;
    until_gone(first).await;

    let stage = Stage::with(|config| config.session_max_age = Duration::from_millis(300)).await;
    let server = own(&stage).await;
    let client = peer("one", &json!({}));
    let first = pid(&stage, server, &client).await;
    let running = begin(&stage, server, &client, "slow", json!({"ms": 1_000})).await;
    // What is under way has its time.
    assert_eq!(finish(&running).await.1.outcome(), CallOutcome::Ok);
    until_gone(first).await;
}

#[tokio::test]
async fn no_process_of_a_session_survives_its_server_or_its_worker() {
    let mut stage = Stage::new().await;
    let server = own(&stage).await;
    let client = peer("one", &json!({}));
    let first = pid(&stage, server, &client).await;
    let (transport, mut launch) = fixture(&[]);
    launch["env"] = json!({"VERSION": "2"});
    let mut config = stage.config(server, transport, launch).await;
    config.isolation = Isolation::Session;
    stage.change(server, ServerEvent::Reconfigured { config }).await;
    until_gone(first).await;
    stage.until_state(server, ConnectionState::Active).await;
    let second = pid(&stage, server, &client).await;
    let running = begin(&stage, server, &client, "slow", json!({"ms": 500})).await;
    pid(&stage, server, &client).await;
    let (ended, ()) = tokio::join!(finish(&running), stage.stop());
    assert_eq!(ended.1.outcome(), CallOutcome::Ok);
    until_gone(second).await;
}

#[tokio::test]
async fn a_session_whose_process_died_gets_another_one() {
    let stage = Stage::new().await;
    let server = own(&stage).await;
    let client = peer("one", &json!({}));
    let first = pid(&stage, server, &client).await;
    let crashed = call(&stage, server, &client, "crash").await;
    assert_eq!(crashed.outcome(), CallOutcome::Unknown);
    assert_ne!(pid(&stage, server, &client).await, first);
    // Nobody else noticed.
    let seen = stage.until_state(server, ConnectionState::Active).await;
    assert_eq!(seen.cause, "");
}

#[tokio::test]
async fn a_session_that_cannot_be_set_up_says_why() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let once = folder.path().join("once");
    let program = fixtures::binary("fixture-upstream").unwrap();
    let (transport, launch) = stage::script(&format!(
        "mkdir {} || exit 7; exec {} stdio",
        once.display(),
        program.display()
    ));
    let server = isolated(&stage, transport, launch).await;
    let refused = call(&stage, server, &peer("one", &json!({})), "env").await;
    assert_eq!(
        failure(&refused),
        ("UPSTREAM_UNAVAILABLE", "exited with status 7 before initialize")
    );
    let too_long = peer(&"x".repeat(600), &json!({}));
    let refused = call(&stage, server, &too_long, "env").await;
    assert_eq!(failure(&refused).0, "INVALID_ARGUMENT");
}
