//! The audit modes: what is durable when.

use std::sync::atomic::Ordering;

use backplane::JournalConfig;
use bus::Bus;
use domain::project::{AuditMode, ProjectSettings};
use edge::EdgeLimits;
use serde_json::json;

use crate::stage::{Stage, soon, until};
use crate::worker::{Worker, ok};

async fn stage(audit_mode: AuditMode) -> Stage {
    stage_with(audit_mode, JournalConfig::default()).await
}

async fn stage_with(audit_mode: AuditMode, journal: JournalConfig) -> Stage {
    let stage = Stage::with_journal(EdgeLimits::default(), journal).await;
    stage.world.set(ProjectSettings { audit_mode, ..ProjectSettings::default() }).await;
    stage.world.add(1, "docs", &["find"]).await;
    stage
}

/// Takes all permits: the journal answers nothing until some are given back.
fn hold(stage: &Stage) {
    let gate = &stage.world.journal_gate;
    gate.forget_permits(usize::MAX);
    assert_eq!(gate.available_permits(), 0);
}

#[tokio::test]
async fn buffered_answers_before_the_record() {
    let stage = stage(AuditMode::Buffered).await;
    let _worker = Worker::echo(&stage.world, 1).await;
    let client = stage.opened().await;
    hold(&stage);
    let answer = client.call("docs__find", json!({})).await;
    assert!(answer["result"].is_object());
    assert!(stage.world.finished().is_empty());
    stage.world.journal_gate.add_permits(100);
    until("the record", || stage.world.finished().len() == 1).await;
}

#[tokio::test]
async fn acknowledged_answers_after_the_record() {
    let stage = stage(AuditMode::Acknowledged).await;
    let worker = Worker::echo(&stage.world, 1).await;
    let client = stage.opened().await;
    hold(&stage);
    let calling = tokio::spawn(async move { client.call("docs__find", json!({})).await });
    until("it ran", || worker.seen() == 1).await;
    assert!(!calling.is_finished());
    stage.world.journal_gate.add_permits(1);
    assert!(soon(calling).await.unwrap()["result"].is_object());
    assert_eq!((stage.world.started(), stage.world.finished().len()), (0, 1));
}

#[tokio::test]
async fn a_call_that_ran_and_cannot_be_recorded_says_so_and_runs_once() {
    for mode in [AuditMode::Acknowledged, AuditMode::Strict] {
        let stage = stage(mode).await;
        let (worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
        let client = stage.opened().await;
        let calling = tokio::spawn(async move { client.call("docs__find", json!({})).await });
        let (_, answering) = exchanges.next().await;
        stage.world.journal_refuses.store(true, Ordering::SeqCst);
        answering.finish(ok("{}")).await.unwrap();
        let answer = soon(calling).await.unwrap();
        assert_eq!(answer["error"]["data"]["reason"], "OUTCOME_UNRECORDED", "{mode:?}");
        assert_eq!(worker.seen(), 1);
    }
}

#[tokio::test]
async fn strict_forwards_nothing_whose_start_is_not_recorded() {
    let stage = stage(AuditMode::Strict).await;
    let worker = Worker::echo(&stage.world, 1).await;
    let client = stage.opened().await;
    stage.world.journal_refuses.store(true, Ordering::SeqCst);
    let answer = client.call("docs__find", json!({})).await;
    assert_eq!(answer["error"]["data"]["reason"], "UNAVAILABLE");
    assert_eq!(worker.seen(), 0);
    stage.world.journal_refuses.store(false, Ordering::SeqCst);
    assert!(client.call("docs__find", json!({})).await["result"].is_object());
    assert_eq!((stage.world.started(), stage.world.finished().len()), (1, 1));
    // When this edge is gone, the call is over.
    assert_eq!(stage.world.started_at(), [stage.world.bus.instance()]);
}

#[tokio::test]
async fn strict_finishes_what_it_started_when_the_client_leaves() {
    let stage = stage(AuditMode::Strict).await;
    let worker = Worker::echo(&stage.world, 1).await;
    let client = stage.opened().await;
    hold(&stage);
    let gate = &stage.world.journal_gate;
    let leaving = client.clone();
    let calling = tokio::spawn(async move { leaving.call("docs__find", json!({})).await });
    // The connection is up and the request sent once another one on the same edge was answered.
    assert_eq!(client.request("ping", json!({})).await["result"], json!({}));
    until("the start is on its way", || stage.world.pending.load(Ordering::SeqCst) == 1).await;
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    assert_eq!(client.request("ping", json!({})).await["result"], json!({}));
    gate.add_permits(100);
    until("start and end", || stage.world.started() == 1 && stage.world.finished().len() == 1)
        .await;
    assert_eq!(worker.seen(), 1);
}

#[tokio::test]
async fn a_journal_without_room_refuses_before_anything_runs() {
    let journal = JournalConfig { tenant_entries: 4, ..JournalConfig::default() };
    let stage = stage_with(AuditMode::Buffered, journal).await;
    let worker = Worker::echo(&stage.world, 1).await;
    let client = stage.opened().await;
    hold(&stage);
    for _ in 0..3 {
        assert!(client.call("docs__find", json!({})).await["result"].is_object());
    }
    let refused = client.call("docs__find", json!({})).await;
    assert_eq!(refused["error"]["data"]["reason"], "RESOURCE_EXHAUSTED");
    assert_eq!(worker.seen(), 3);
    stage.world.journal_gate.add_permits(100);
    until("all that ran is recorded", || stage.world.finished().len() == 3).await;
    assert!(client.call("docs__find", json!({})).await["result"].is_object());
}
