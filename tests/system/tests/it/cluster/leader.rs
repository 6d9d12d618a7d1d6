//! The leading control-plane, stopped for longer than its lease, and continued.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Orch, Rest, eventually};

/// How long it is stopped: longer than any lease.
const STOPPED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn another_leads_while_the_leader_is_stopped_and_after_that() {
    let mut orch = super::with_fixture().await;
    let (first, epoch) = leader(&mut orch).expect("somebody leads");
    orch.cluster().instance("control-plane", first).unwrap().signal(Signal::SIGSTOP).unwrap();
    let stopped = tokio::time::Instant::now();
    eventually("the other leads", super::RECOVERY, async || match leader(&mut orch) {
        Some((now, later)) if now != first && later > epoch => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // Commands and calls go on, while the old leader does not know that it is none.
    let other = orch.cluster().address("control-plane", 8080, 1 - first).unwrap();
    let other = Rest::new(&format!("http://{other}"), Some(&orch.token));
    eventually("commands go on", super::RECOVERY, async || {
        let body = json!({ "name": "while it is stopped" });
        let path = orch.project("/api-keys");
        let made = other.try_send(reqwest::Method::POST, &path, Some(&body)).await;
        let made = made.map_err(|error| error.to_string())?;
        if made.status.is_success() { Ok(()) } else { Err(made.text) }
    })
    .await;
    super::answers(&orch, "fixture__echo").await;
    tokio::time::sleep_until(stopped + STOPPED).await;
    orch.cluster().instance("control-plane", first).unwrap().signal(Signal::SIGCONT).unwrap();
    super::all_say(&mut orch, &["control-plane"], "ok").await;
    let (now, later) = leader(&mut orch).expect("somebody leads");
    assert!(now != first && later > epoch, "the stale one took the lead back: {now} in {later}");
    super::answers(&orch, "fixture__echo").await;
    every_replica_is_at_the_same_point(&mut orch).await;
}

/// Which control-plane said last that it leads, and in which epoch.
fn leader(orch: &mut Orch) -> Option<(usize, u64)> {
    let epoch_of = |replica: usize| {
        let log = orch.cluster().instance("control-plane", replica).ok()?.log_file();
        let text = std::fs::read_to_string(log).ok()?;
        let line = text.lines().rfind(|line| line.contains("this replica leads"))?;
        let epoch = line.rsplit_once("epoch=")?.1.split_whitespace().next()?.parse().ok()?;
        Some((replica, epoch))
    };
    (0..2).filter_map(epoch_of).max_by_key(|(_, epoch)| *epoch)
}

async fn every_replica_is_at_the_same_point(orch: &mut Orch) {
    let mut read = Vec::new();
    for replica in 0..2 {
        let address = orch.cluster().address("control-plane", 8080, replica).unwrap();
        let rest = Rest::new(&format!("http://{address}"), Some(&orch.token));
        read.push(rest.get(&orch.project("/api-keys")).await.expect_status(200));
    }
    assert_eq!(read[0], read[1]);
    assert!(read[0].to_string().contains("while it is stopped"), "{}", read[0]);
}
