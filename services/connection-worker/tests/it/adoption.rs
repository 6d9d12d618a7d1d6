//! A call whose edge is gone goes on, and another edge has it.

use std::time::Duration;

use backplane::exchange::{Exchange, Frame, OUTCOME_UNKNOWN};
use bus::BusError;
use domain::connection::ConnectionState;
use domain::server::Transport;
use domain::{ServerId, TenantId};
use fixtures::Upstream;
use proto::events::v1::CallOutcome;
use proto::internal::v1::{ExchangeOpen, Finished, ServerRequest};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::stage::{
    self, LIMIT, Stage, at, failure, finish, fixture, next, of_peer, peer, question, result, tenant,
};

/// A server of its own, that counts what it ran.
async fn counting(stage: &Stage) -> ServerId {
    let (transport, launch) = fixture(&[]);
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Active).await;
    server
}

/// A call that says something in each of `steps` steps over `ms` milliseconds.
fn kept(server: ServerId, ms: u64, steps: u64) -> ExchangeOpen {
    let mut open = stage::open(server, "slow", json!({}));
    let params = json!({
        "name": "slow",
        "arguments": {"ms": ms, "steps": steps, "argument": open.call_id},
        "_meta": {"progressToken": "token"},
    });
    open.params = params.to_string().into();
    open.progress_token = "\"token\"".into();
    open.orphan_ms = 20_000;
    open
}

async fn adopt(stage: &Stage, open: &ExchangeOpen, after: u64) -> Exchange {
    let server = open.server.parse().unwrap();
    Exchange::adopt(&*stage.bus, server, tenant(), &open.call_id, after).await.unwrap()
}

async fn executions(stage: &Stage, server: ServerId) -> u64 {
    let stats = stage.call(server, "stats", json!({})).await;
    result(&stats)["structuredContent"]["executions"].as_u64().unwrap()
}

async fn cancels(stage: &Stage, server: ServerId) -> u64 {
    let stats = stage.call(server, "stats", json!({})).await;
    result(&stats)["structuredContent"]["cancels_received"].as_u64().unwrap()
}

fn step(frame: Frame) -> u64 {
    let Frame::Notification(said) = frame else { panic!("no notification but {frame:?}") };
    let params: Value = serde_json::from_slice(&said.params).unwrap();
    params["progress"].as_u64().unwrap()
}

fn refused(finished: &Finished) -> bool {
    finished.outcome() == CallOutcome::Unknown && failure(finished).0 == OUTCOME_UNKNOWN
}

#[tokio::test]
async fn another_edge_goes_on_where_the_first_one_left() {
    let stage = Stage::new().await;
    let server = counting(&stage).await;
    let open = kept(server, 2_000, 8);
    let first = stage.open(server, &open).await;
    for number in 1..=3 {
        assert_eq!(step(next(&first).await), number);
        assert_eq!(first.last_number(), number);
    }
    drop(first);
    let second = adopt(&stage, &open, 3).await;
    for number in 4..=5 {
        assert_eq!(step(next(&second).await), number);
        assert_eq!(second.last_number(), number);
    }
    drop(second);
    // It knows less than was said by now.
    let third = adopt(&stage, &open, 2).await;
    for number in 3..=8 {
        assert_eq!(step(next(&third).await), number);
        assert_eq!(third.last_number(), number);
    }
    let (_, finished) = finish(&third).await;
    assert_eq!(finished.outcome(), CallOutcome::Ok);
    assert_eq!(third.last_number(), 9);
    assert_eq!((executions(&stage, server).await, cancels(&stage, server).await), (1, 0));
}

#[tokio::test]
async fn an_answer_that_nobody_took_is_kept_until_somebody_has_it() {
    let stage = Stage::new().await;
    let server = counting(&stage).await;
    let open = kept(server, 50, 1);
    let first = stage.open(server, &open).await;
    step(next(&first).await);
    // It dies before it reads the end.
    drop(first);
    let second = adopt(&stage, &open, 1).await;
    let (_, finished) = finish(&second).await;
    assert_eq!((finished.outcome(), second.last_number()), (CallOutcome::Ok, 2));
    // It dies, too, with the answer in its hands: the next one has it again.
    second.leave();
    let third = adopt(&stage, &open, 2).await;
    assert_eq!(finish(&third).await, (vec![], finished));
    assert_eq!(executions(&stage, server).await, 1);
}

#[tokio::test]
async fn what_was_taken_is_kept_no_longer() {
    let stage = Stage::new().await;
    let server = counting(&stage).await;
    let open = kept(server, 50, 1);
    let first = stage.open(server, &open).await;
    step(next(&first).await);
    finish(&first).await;
    drop(first);
    let gone = async {
        loop {
            // Until then the end is there for whoever asks: it is left without being read.
            let late = adopt(&stage, &open, 0).await;
            if let Frame::Finished(finished) = next(&late).await
                && refused(&finished)
            {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, gone).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_call_is_not_adopted() {
    let stage = Stage::new().await;
    let server = counting(&stage).await;
    let open = kept(server, 60_000, 1);
    let first = stage.open(server, &open).await;
    stage.call(server, "echo", json!({"message": "x"})).await;
    first.cancel("the user said so").await.unwrap();
    drop(first);
    let asked = Instant::now();
    let late = adopt(&stage, &open, 0).await;
    assert!(refused(&finish(&late).await.1));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    let told = async { while cancels(&stage, server).await == 0 {} };
    tokio::time::timeout(LIMIT, told).await.unwrap();
}

#[tokio::test]
async fn a_call_that_nobody_wants_is_cancelled_in_the_end() {
    let stage = Stage::new().await;
    let server = counting(&stage).await;
    for orphan_ms in [0, 300] {
        let before = cancels(&stage, server).await;
        let open = ExchangeOpen { orphan_ms, ..kept(server, 60_000, 1) };
        let first = stage.open(server, &open).await;
        stage.call(server, "echo", json!({"message": "x"})).await;
        let left = Instant::now();
        drop(first);
        let told = async { while cancels(&stage, server).await == before {} };
        tokio::time::timeout(LIMIT, told).await.unwrap();
        assert!(left.elapsed() >= Duration::from_millis(orphan_ms));
        assert!(refused(&finish(&adopt(&stage, &open, 0).await).await.1));
    }
}

#[tokio::test]
async fn nobody_adopts_what_is_not_theirs() {
    let stage = Stage::with(|config| config.adoption_patience = Duration::from_millis(200)).await;
    let (server, other) = (counting(&stage).await, counting(&stage).await);
    let open = kept(server, 60_000, 1);
    let first = stage.open(server, &open).await;
    stage.call(server, "echo", json!({"message": "x"})).await;
    // Its edge lives.
    assert!(refused(&finish(&adopt(&stage, &open, 0).await).await.1));
    drop(first);
    let foreign = TenantId::from_uuid(Uuid::from_u128(8));
    let call = open.call_id.as_str();
    for (server, tenant, call) in
        [(server, foreign, call), (other, tenant(), call), (server, tenant(), "another")]
    {
        let refusal = Exchange::adopt(&*stage.bus, server, tenant, call, 0).await.unwrap();
        assert!(refused(&finish(&refusal).await.1), "{tenant} {call}");
    }
    let second = adopt(&stage, &open, 0).await;
    second.cancel("enough").await.unwrap();
    assert_eq!(finish(&second).await.1.outcome(), CallOutcome::Cancelled);
}

#[tokio::test]
async fn who_comes_before_the_first_one_is_seen_to_be_gone_waits_for_that() {
    let stage = Stage::new().await;
    let server = counting(&stage).await;
    let open = kept(server, 1_000, 2);
    let first = stage.open(server, &open).await;
    step(next(&first).await);
    let second = adopt(&stage, &open, 1).await;
    let waits = tokio::time::timeout(Duration::from_millis(100), second.next()).await;
    assert!(waits.is_err(), "{waits:?}");
    drop(first);
    assert_eq!(step(next(&second).await), 2);
    assert_eq!(finish(&second).await.1.outcome(), CallOutcome::Ok);
}

#[tokio::test]
async fn of_many_frames_the_last_ones_are_kept() {
    let stage = Stage::new().await;
    let server = counting(&stage).await;
    let open = kept(server, 1_000, 400);
    let first = stage.open(server, &open).await;
    step(next(&first).await);
    drop(first);
    // The end comes without anybody listening.
    tokio::time::timeout(LIMIT, async { while executions_in_flight(&stage, server).await > 0 {} })
        .await
        .unwrap();
    let second = adopt(&stage, &open, 1).await;
    let (notifications, finished) = finish(&second).await;
    assert_eq!(finished.outcome(), CallOutcome::Ok);
    assert_eq!((notifications.len(), second.last_number()), (255, 401));
}

async fn executions_in_flight(stage: &Stage, server: ServerId) -> u64 {
    let stats = stage.call(server, "stats", json!({})).await;
    result(&stats)["structuredContent"]["in_flight"].as_u64().unwrap()
}

#[tokio::test]
async fn at_the_limits_a_call_ends_with_its_edge() {
    for (calls, bytes) in [(1, 1024 * 1024), (16, 8)] {
        let stage = Stage::with(|config| {
            config.max_adoptable_calls = calls;
            config.max_adoptable_bytes = bytes;
        })
        .await;
        let server = counting(&stage).await;
        let first = stage.open(server, &kept(server, 60_000, 60_000)).await;
        let open = kept(server, 60_000, 60_000);
        let second = stage.open(server, &open).await;
        step(next(&first).await);
        step(next(&second).await);
        drop(second);
        let told = async { while cancels(&stage, server).await == 0 {} };
        tokio::time::timeout(LIMIT, told).await.unwrap();
        assert!(refused(&finish(&adopt(&stage, &open, 0).await).await.1));
    }
}

async fn over_http(stage: &Stage) -> (Upstream, ServerId) {
    let upstream = Upstream::conformance(["--era", "sessions"]).unwrap();
    let transport = Transport::StreamableHttp(at(&upstream.mcp_url()));
    let server = stage.register(transport, json!({})).await;
    stage.until_state(server, ConnectionState::Active).await;
    (upstream, server)
}

#[tokio::test]
async fn what_the_upstream_asked_is_asked_again_and_answered_once() {
    let stage = Stage::new().await;
    let (_upstream, server) = over_http(&stage).await;
    let client = peer("", &json!({"roots": {}}));
    let mut open = of_peer(stage::open(server, "test_list_roots", json!({})), &client);
    open.orphan_ms = 20_000;
    let first = stage.open(server, &open).await;
    let asked: ServerRequest = question(&first).await;
    let known = first.last_number();
    drop(first);
    let second = adopt(&stage, &open, known).await;
    let again = question(&second).await;
    assert_eq!(again, asked);
    let roots = |name: &str| {
        let roots = json!({"roots": [{"uri": format!("file:///{name}"), "name": name}]});
        Ok(roots.to_string().into())
    };
    second.answer(&again.id, roots("second")).await.unwrap();
    second.answer(&again.id, roots("too-late")).await.unwrap();
    let finished = finish(&second).await.1;
    let said = result(&finished).to_string();
    assert!(said.contains("file:///second") && !said.contains("too-late"), "{said}");
}

#[tokio::test]
async fn a_call_id_that_is_taken_is_a_call_of_its_own_that_nobody_adopts() {
    let stage = Stage::new().await;
    let server = counting(&stage).await;
    let open = kept(server, 2_000, 2);
    let first = stage.open(server, &open).await;
    step(next(&first).await);
    let same = stage.open(server, &open).await;
    step(next(&same).await);
    drop(same);
    drop(first);
    let second = adopt(&stage, &open, 1).await;
    assert_eq!(step(next(&second).await), 2);
    assert_eq!(finish(&second).await.1.outcome(), CallOutcome::Ok);
}

#[tokio::test]
async fn nobody_owns_the_server_of_the_call() {
    let stage = Stage::empty().await;
    let server = ServerId::from_uuid(Uuid::from_u128(99));
    let refusal = Exchange::adopt(&*stage.bus, server, tenant(), "call", 0).await;
    assert_eq!(refusal.err(), Some(BusError::NoResponders));
}
