//! The replica: what it holds is what the log says, whatever the bus loses.

use std::sync::Arc;
use std::time::Duration;

use backplane::{Notice, Replica, ReplicaHandle, Stopped};
use domain::event::AccessEvent;
use domain::{Event, StreamKind};
use events::ChangeKind;
use proto::internal::v1::StoredEvent;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::outage::Outage;
use crate::wait::{soon, until};
use crate::world::{World, project, server};

fn start(world: &World) -> ReplicaHandle {
    let bus = Arc::new(world.bus.clone());
    Replica::start(bus, "edge", world.clock(), CancellationToken::new())
}

async fn started(world: &World) -> ReplicaHandle {
    world.serve_snapshots().await;
    let replica = start(world);
    soon("ready", replica.ready()).await.unwrap();
    replica
}

fn names(replica: &ReplicaHandle) -> Vec<String> {
    let servers = replica.read().servers_of(&project());
    servers.iter().map(|entry| entry.server.name.to_string()).collect()
}

/// Time passes until the condition is true: the replica starts its own count when it sees a gap.
async fn until_later(world: &World, what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || {
        world.pass_millis(50);
        condition()
    })
    .await;
}

#[tokio::test]
async fn it_starts_from_a_snapshot_and_follows() {
    let world = World::new();
    world.append_server(1, "files");
    world.append_server(2, "web");
    let replica = started(&world).await;
    assert_eq!(names(&replica), ["files", "web"]);
    assert_eq!(replica.position(), 3);

    let mut changes = replica.changes();
    world.publish(world.append_server(3, "docs")).await;
    let Some(Notice::Changed(change)) = soon("a change", changes.next()).await else {
        panic!("no change")
    };
    assert_eq!((change.server, change.kind), (Some(server(3)), ChangeKind::Server));
    assert_eq!(names(&replica), ["docs", "files", "web"], "what is told of can be read");
    assert_eq!((replica.position(), world.snapshots()), (4, 1));
}

#[tokio::test]
async fn it_waits_for_the_control_plane() {
    let world = World::new();
    let replica = start(&world);
    assert!(!replica.is_ready());
    assert_eq!(replica.freshness(world.now()), None);
    world.serve_snapshots().await;
    soon("ready", replica.ready()).await.unwrap();
    assert!(replica.read().project(&project()).is_some());
}

#[tokio::test]
async fn a_snapshot_that_breaks_off_is_asked_for_again() {
    let world = World::new();
    world.break_snapshots(2);
    let replica = started(&world).await;
    assert_eq!(world.snapshots(), 3);
    assert!(replica.read().project(&project()).is_some());
}

#[tokio::test]
async fn what_is_published_while_the_snapshot_is_read_is_applied_once() {
    let mut world = World::new();
    world.gate = Arc::new(Semaphore::new(0));
    world.serve_snapshots().await;
    // In the snapshot, and published again.
    let early = world.append_server(1, "files");
    let replica = start(&world);
    until("the snapshot is asked for", || world.snapshots() == 1).await;
    world.publish(early).await;
    world.publish(world.append_server(2, "web")).await;
    world.gate.add_permits(1);
    soon("ready", replica.ready()).await.unwrap();
    until("both are there", || names(&replica) == ["files", "web"]).await;
    assert_eq!(world.snapshots(), 1, "nothing was missing");
}

#[tokio::test]
async fn events_of_different_kinds_may_overtake_each_other() {
    let world = World::new();
    let replica = started(&world).await;
    let first = world.append_server(1, "files");
    let second = world.append_toggle(1);
    let third = world.append_server(2, "web");
    for event in [third, second, first] {
        world.publish(event).await;
    }
    until("all are there", || names(&replica) == ["files", "web"]).await;
    assert!(replica.read().server(&server(1)).unwrap().server.disabled_tools.contains("read"));
    assert_eq!(world.snapshots(), 1);
}

#[tokio::test]
async fn calls_and_denials_between_are_no_gap() {
    let world = World::new();
    let replica = started(&world).await;
    let denied = AccessEvent::Denied {
        project: None,
        action: "mcp.call".to_owned(),
        reason: "NOT_FOUND".to_owned(),
        target: String::new(),
    };
    for _ in 0..5 {
        world.append(StreamKind::Access, project(), &Event::Access(denied.clone()));
    }
    world.beat().await;
    world.publish(world.append_server(1, "files")).await;
    until("it is there", || names(&replica) == ["files"]).await;
    world.pass_millis(5_000);
    world.beat().await;
    until("the beat is heard", || replica.freshness(world.now()) == Some(Duration::ZERO)).await;
    assert_eq!(world.snapshots(), 1);
}

#[tokio::test]
async fn a_gap_is_closed_by_another_snapshot() {
    let world = World::new();
    let replica = started(&world).await;
    let mut changes = replica.changes();
    world.append_server(1, "lost");
    world.publish(world.append_server(2, "web")).await;
    // Not at once: it may still come.
    assert!(names(&replica).is_empty() && world.snapshots() == 1);
    until_later(&world, "both are there", || names(&replica) == ["lost", "web"]).await;
    assert_eq!(world.snapshots(), 2);
    assert_eq!(soon("a notice", changes.next()).await, Some(Notice::Everything));
}

#[tokio::test]
async fn a_beat_tells_of_what_never_came() {
    let world = World::new();
    let replica = started(&world).await;
    world.append_server(1, "lost");
    world.beat().await;
    until_later(&world, "it is there", || names(&replica) == ["lost"]).await;
    assert_eq!(world.snapshots(), 2);
}

#[tokio::test]
async fn a_lost_notice_asks_again() {
    let mut world = World::new();
    world.gate = Arc::new(Semaphore::new(0));
    world.append_server(1, "files");
    world.serve_snapshots().await;
    let replica = start(&world);
    until("the snapshot is asked for", || world.snapshots() == 1).await;
    // More than wait for one replica.
    for _ in 0..17_000 {
        world.publish(world.append_toggle(1)).await;
    }
    let last = world.append_server(2, "web");
    world.publish(last).await;
    world.gate.add_permits(2);
    until("all are there", || names(&replica) == ["files", "web"]).await;
    assert_eq!(world.snapshots(), 2);
}

#[tokio::test]
async fn freshness_counts_from_the_last_beat() {
    let world = World::new();
    let replica = started(&world).await;
    let fresh = || replica.freshness(world.now());
    assert_eq!(fresh(), Some(Duration::ZERO));
    world.pass_millis(70_000);
    assert_eq!(fresh(), Some(Duration::from_secs(70)), "no beat came");
    world.beat().await;
    until("the beat is heard", || fresh() == Some(Duration::ZERO)).await;
}

#[tokio::test]
async fn an_event_of_a_later_version_is_passed_over() {
    let world = World::new();
    let replica = started(&world).await;
    let mut unknown = world.append_server(1, "files");
    unknown.r#type = "server.exploded".to_owned();
    world.publish(unknown).await;
    let garbage = StoredEvent { payload: vec![0xFF].into(), ..world.append_server(2, "docs") };
    world.publish(garbage).await;
    world.publish(world.append_server(3, "web")).await;
    until("the readable one is there", || names(&replica) == ["web"]).await;
    assert_eq!((replica.position(), world.snapshots()), (4, 1));
}

#[tokio::test]
async fn a_slow_listener_is_told_to_look_at_everything() {
    let world = World::new();
    let replica = started(&world).await;
    let mut changes = replica.changes();
    for number in 0..1_100 {
        world.publish(world.append_server(number, &format!("s{number}"))).await;
    }
    until("all are applied", || replica.position() == 1_101).await;
    assert_eq!(soon("a notice", changes.next()).await, Some(Notice::Everything));
    world.publish(world.append_server(5_000, "last")).await;
    let Some(Notice::Changed(change)) = soon("a notice", changes.next()).await else {
        panic!("what came before is part of everything")
    };
    assert_eq!(change.server, Some(server(5_000)));
}

#[tokio::test]
async fn a_stop_is_told_to_who_waits() {
    let (world, shutdown) = (World::new(), CancellationToken::new());
    let bus = Arc::new(world.bus.clone());
    let replica = Replica::start(bus, "edge", world.clock(), shutdown.clone());
    shutdown.cancel();
    assert_eq!(soon("the stop", replica.ready()).await, Err(Stopped));
}

#[tokio::test]
async fn a_bus_that_is_away_is_waited_for() {
    let world = World::new();
    world.append_server(1, "files");
    world.serve_snapshots().await;
    let outage = Outage::over(world.bus.clone());
    outage.begin();
    let bus = Arc::new(outage.clone());
    let replica = Replica::start(bus, "edge", world.clock(), CancellationToken::new());
    tokio::task::yield_now().await;
    assert!(!replica.is_ready() && world.snapshots() == 0);
    outage.end();
    soon("ready", replica.ready()).await.unwrap();
    assert_eq!(names(&replica), ["files"]);
}
