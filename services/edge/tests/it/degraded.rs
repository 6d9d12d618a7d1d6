//! What goes on while a part is away, what is refused, and that all comes back by itself.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use backplane::JournalConfig;
use domain::project::{AuditMode, ProjectSettings};
use edge::EdgeLimits;
use serde_json::{Value, json};

use crate::client::Client;
use crate::stage::{Setup, Stage, until};
use crate::worker::Worker;
use crate::world::KEY;

async fn staged(audit_mode: AuditMode, setup: Setup) -> (Stage, Worker, Client) {
    let stage = Stage::of(setup).await;
    stage.world.set(ProjectSettings { audit_mode, ..ProjectSettings::default() }).await;
    stage.world.add(1, "docs", &["find"]).await;
    let worker = Worker::echo(&stage.world, 1).await;
    let client = stage.opened().await;
    (stage, worker, client)
}

async fn call(client: &Client) -> Value {
    client.call("docs__find", json!({})).await
}

fn reason(answer: &Value) -> &str {
    answer["error"]["data"]["reason"].as_str().unwrap_or_default()
}

/// Calls until one is answered: what was away is back without a hand.
async fn until_answered(client: &Client) {
    let calling = async { while !call(client).await["result"].is_object() {} };
    tokio::time::timeout(Duration::from_secs(15), calling).await.expect("it stays away");
}

/// Calls until nothing is forwarded any more.
async fn until_refused(client: &Client, worker: &Worker) {
    let calling = async {
        loop {
            let before = worker.seen();
            if reason(&call(client).await) == "UNAVAILABLE" && worker.seen() == before {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(15), calling).await.expect("it is not noticed");
}

#[tokio::test]
async fn without_a_store_nothing_is_forwarded_whose_record_is_waited_for() {
    for mode in [AuditMode::Acknowledged, AuditMode::Strict] {
        let (stage, worker, client) = staged(mode, Setup::default()).await;
        stage.world.store_away.store(true, Ordering::SeqCst);
        let answer = call(&client).await;
        // The first one finds out.
        let (expected, ran) = match mode {
            AuditMode::Strict => ("UNAVAILABLE", 0),
            _ => ("OUTCOME_UNRECORDED", 1),
        };
        assert_eq!((reason(&answer), worker.seen()), (expected, ran), "{mode:?}");
        // However often it is tried whether the store is back, nothing runs for it.
        let tried = stage.world.refused.load(Ordering::SeqCst);
        while stage.world.refused.load(Ordering::SeqCst) < tried + 2 {
            assert_eq!(reason(&call(&client).await), "UNAVAILABLE", "{mode:?}");
        }
        assert_eq!(worker.seen(), ran, "{mode:?}");
        // Lists are no concern of the record.
        assert_eq!(client.tools().await, ["docs__find"]);
        stage.world.store_away.store(false, Ordering::SeqCst);
        until_answered(&client).await;
        // What ran while nobody could record it is on record by then, too.
        until("all that ran is recorded", || stage.world.finished().len() == ran + 1).await;
    }
}

#[tokio::test]
async fn a_journal_that_vanishes_is_noticed_and_one_that_is_back_too() {
    for mode in [AuditMode::Acknowledged, AuditMode::Strict] {
        let (stage, worker, client) = staged(mode, Setup::default()).await;
        assert!(call(&client).await["result"].is_object());
        stage.world.stop_journal();
        until_refused(&client, &worker).await;
        let ran = worker.seen();
        assert_eq!(reason(&call(&client).await), "UNAVAILABLE", "{mode:?}");
        assert_eq!((client.tools().await, worker.seen()), (vec!["docs__find".to_owned()], ran));
        stage.world.serve_journal().await;
        until_answered(&client).await;
    }
}

#[tokio::test]
async fn buffered_goes_on_until_its_memory_is_full_and_says_so() {
    let journal = JournalConfig { tenant_entries: 8, ..JournalConfig::default() };
    let setup = Setup { journal, ..Setup::default() };
    let (stage, worker, client) = staged(AuditMode::Buffered, setup).await;
    stage.world.stop_journal();
    let mut ran = 0;
    let refused = loop {
        let answer = call(&client).await;
        if !answer["result"].is_object() {
            break answer;
        }
        ran += 1;
    };
    assert_eq!(reason(&refused), "RESOURCE_EXHAUSTED");
    assert!((4..=8).contains(&ran), "{ran}");
    assert_eq!(worker.seen(), ran);
    stage.world.serve_journal().await;
    until("all that ran is recorded", || stage.world.finished().len() == ran).await;
    until_answered(&client).await;
}

#[tokio::test]
async fn without_the_bus_lists_are_served_and_calls_are_refused_soon() {
    for cluster in [false, true] {
        for mode in AuditMode::ALL {
            let limits =
                EdgeLimits { takeover_wait: Duration::from_secs(600), ..EdgeLimits::default() };
            let setup = Setup { cluster, limits, ..Setup::default() };
            let (stage, worker, client) = staged(mode, setup).await;
            stage.line.cut();
            let since = Instant::now();
            assert_eq!(reason(&call(&client).await), "UNAVAILABLE", "{mode:?}");
            assert!(since.elapsed() < Duration::from_secs(10));
            assert_eq!(client.tools().await, ["docs__find"]);
            until_refused(&client, &worker).await;
            assert_eq!(worker.seen(), 0, "{mode:?}");
            stage.line.mend();
            until_answered(&client).await;
        }
    }
}

#[tokio::test]
async fn without_beats_nobody_gets_in_after_a_minute_and_after_one_they_do() {
    let (stage, _worker, client) = staged(AuditMode::Acknowledged, Setup::default()).await;
    let fresh = || stage.replica.freshness(stage.world.now()).unwrap() < Duration::from_secs(1);
    // After this beat no other one is on its way.
    stage.world.pass_seconds(1);
    stage.world.beat().await;
    until("it is fresh", fresh).await;
    let status = async || {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        client.send(body).await.status().as_u16()
    };
    stage.world.pass_seconds(59);
    assert_eq!(status().await, 200);
    stage.world.pass_seconds(2);
    assert_eq!(status().await, 503);
    stage.world.beat().await;
    until("it is fresh", fresh).await;
    assert_eq!(status().await, 200);
}

#[tokio::test]
async fn a_key_that_was_revoked_while_the_bus_was_away_is_refused_after() {
    let (stage, _worker, client) = staged(AuditMode::Acknowledged, Setup::default()).await;
    let stream = client.listen().await;
    stage.world.revoke_unheard(KEY);
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(client.send(body).await.status(), 200);
    stage.world.pass_seconds(61);
    assert_eq!(client.send(body).await.status(), 503);
    // The beat tells of an event that did not come; after a while it is asked for.
    stage.world.beat().await;
    let position = stage.world.position();
    until("it knows what it missed", || {
        stage.world.pass_seconds(1);
        stage.replica.position() >= position
    })
    .await;
    stream.end().await;
    stage.world.beat().await;
    until("it is fresh", || {
        stage.replica.freshness(stage.world.now()).unwrap() < Duration::from_secs(1)
    })
    .await;
    assert_eq!(client.send(body).await.status(), 401);
}
