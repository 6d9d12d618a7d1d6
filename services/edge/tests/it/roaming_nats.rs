//! The same over a real NATS server: there an edge that is killed is one whose connection is gone.

use std::time::{Duration, Instant};

use domain::call::CallOutcome;
use edge::EdgeLimits;
use serde_json::{Value, json};

use crate::client::{Client, SseClient, Stream, message};
use crate::fleet::{Fleet, eventually};
use crate::keeper::{Call, Keeper};
use crate::stage::until;
use crate::worker::ok;

const CALL: &str = "tools/call";

fn find() -> Value {
    json!({"name": "docs__find", "_meta": {"progressToken": "t"}})
}

async fn kept(edges: usize) -> (Fleet, Keeper) {
    let limits = EdgeLimits { early_stream: Duration::ZERO, ..EdgeLimits::default() };
    let fleet = Fleet::over_nats(edges, limits).await;
    fleet.world.add(1, "docs", &["find"]).await;
    let keeper = Keeper::start(&fleet.world, 1).await;
    fleet.settled().await;
    (fleet, keeper)
}

async fn opened(fleet: &Fleet, edge: usize) -> Client {
    let mut client = fleet.client(edge);
    client.initialize("2025-11-25").await;
    client
}

#[tokio::test]
async fn sessions_are_found_streamed_and_ended_from_any_edge() {
    let (fleet, mut keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    let there = fleet.moved(&here, 1);
    assert_eq!(there.tools().await, ["docs__find"]);
    let mut listening = there.listen().await;
    listening.next().await;
    let mut stream = there.stream(3, CALL, find()).await;
    let call = keeper.next().await;
    call.progress(1).await;
    assert_eq!(stream.message().await["params"]["progress"], 1);
    call.finish(ok(r#"{"n":1}"#)).await;
    assert_eq!(stream.message().await["result"], json!({"n": 1}));
    stream.end().await;
    fleet.world.observe_catalogue(1, &[r#"{"name":"one"}"#.to_owned()]).await;
    assert_eq!(listening.message().await["method"], "notifications/tools/list_changed");
    let deleted = crate::stage::soon(there.builder(reqwest::Method::DELETE).send()).await.unwrap();
    assert_eq!(deleted.status(), 200);
    listening.end().await;
    eventually("its record is gone", async || !fleet.is_shared(&here).await).await;
    assert_eq!(here.send(message(1, "ping", &json!({}))).await.status(), 404);
}

#[tokio::test]
async fn clients_of_a_killed_edge_go_on_with_nothing_lost_or_said_twice() {
    let (mut fleet, mut keeper) = kept(3).await;
    let mut sessions = Vec::new();
    for _ in 0..40 {
        let here = opened(&fleet, 0).await;
        let mut stream = here.stream(3, CALL, find()).await;
        stream.next().await;
        let call = keeper.next().await;
        call.progress(1).await;
        call.progress(2).await;
        assert_eq!(stream.message().await["params"]["progress"], 1);
        sessions.push((here, stream, call));
    }
    let mut sse = SseClient::open(&fleet.client(0), &fleet.edges[0].url).await;
    sse.messages_url = sse.messages_url.replace(&fleet.edges[0].url, &fleet.edges[1].url);
    assert_eq!(sse.post(message(4, "ping", &json!({}))).await.status(), 202);
    assert_eq!(sse.stream.message().await["id"], 4);
    let killed = Instant::now();
    fleet.edges[0].kill();
    let going_on = sessions.into_iter().enumerate().map(async |(number, (here, stream, call))| {
        goes_on(&fleet, number, (here, stream.last_id.clone().unwrap()), &call).await;
    });
    futures::future::join_all(going_on).await;
    assert!(killed.elapsed() < Duration::from_secs(12), "{:?}", killed.elapsed());
    assert_eq!(sse.post(message(5, "ping", &json!({}))).await.status(), 404);
    assert_eq!((keeper.begun(), keeper.adopted()), (40, 40));
    until("all are recorded", || fleet.world.finished().len() == 40).await;
    let is_ok = |outcome| outcome == CallOutcome::Ok;
    assert!(fleet.world.finished().iter().all(|(call, ..)| is_ok(call.outcome)));
}

/// A client whose edge is gone is sent to either of the others.
async fn goes_on(fleet: &Fleet, number: usize, (here, last): (Client, String), call: &Call) {
    call.edge_is_gone().await;
    let (one, two) = (fleet.moved(&here, 1 + number % 2), fleet.moved(&here, 2 - number % 2));
    let (response, ping) =
        tokio::join!(one.resume(&last), two.send(message(9, "ping", &json!({}))));
    assert_eq!((response.status().as_u16(), ping.status().as_u16()), (200, 200));
    let mut stream = Stream::new(response);
    assert_eq!(stream.message().await["params"]["progress"], 2);
    call.progress(3).await;
    assert_eq!(stream.message().await["params"]["progress"], 3);
    call.finish(ok(r#"{"n":1}"#)).await;
    assert_eq!(stream.message().await["result"], json!({"n": 1}));
    stream.end().await;
}

#[tokio::test]
async fn a_draining_edge_hands_its_sessions_over_at_once() {
    let (mut fleet, mut keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    let mut stream = here.stream(3, CALL, find()).await;
    stream.next().await;
    let last = stream.last_id.clone().unwrap();
    let call = keeper.next().await;
    fleet.edges[0].terminate();
    stream.end().await;
    call.edge_is_gone().await;
    let there = fleet.moved(&here, 1);
    let mut stream = Stream::new(there.resume(&last).await);
    call.finish(ok(r#"{"n":1}"#)).await;
    assert_eq!(stream.message().await["result"], json!({"n": 1}));
    stream.end().await;
    fleet.edges[0].ended().await;
    assert_eq!((keeper.begun(), fleet.world.finished().len()), (1, 1));
}
