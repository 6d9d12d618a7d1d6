//! Streams that break, and go on.

use std::time::Duration;

use backplane::exchange::Answering;
use edge::EdgeLimits;
use proto::internal::v1::Paused;
use serde_json::{Value, json};

use crate::client::{Client, Said, SseClient, Stream, message};
use crate::stage::{Stage, until};
use crate::worker::{Exchanges, Worker, ok, progress};

async fn staged(limits: EdgeLimits) -> (Stage, Worker, Exchanges, Client) {
    let stage = Stage::with(limits).await;
    stage.world.add(1, "docs", &["find"]).await;
    let (worker, exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let mut client = stage.client();
    client.initialize("2025-11-25").await;
    (stage, worker, exchanges, client)
}

fn early() -> EdgeLimits {
    EdgeLimits { early_stream: Duration::ZERO, ..EdgeLimits::default() }
}

const CALL: &str = "tools/call";

fn find() -> Value {
    json!({"name": "docs__find", "_meta": {"progressToken": "t"}})
}

#[tokio::test]
async fn a_call_that_was_cut_off_is_answered_by_its_last_event_and_runs_once() {
    let (stage, worker, mut exchanges, client) = staged(early()).await;
    let mut stream = client.stream(3, CALL, find()).await;
    // Before anything is said there is something to come back to.
    assert_eq!(stream.next().await, Some(Said::Event(String::new(), String::new())));
    assert_eq!(stream.retry.as_deref(), Some("1000"));
    let (_, answering) = exchanges.next().await;
    answering.notify(progress(1)).await.unwrap();
    answering.notify(progress(2)).await.unwrap();
    assert_eq!(stream.message().await["params"]["progress"], 1);
    let last = stream.last_id.clone().unwrap();
    drop(stream);
    answering.notify(progress(3)).await.unwrap();
    let mut stream = Stream::new(client.resume(&last).await);
    assert_eq!(stream.message().await["params"]["progress"], 2);
    assert_eq!(stream.message().await["params"]["progress"], 3);
    // From here on it is live.
    answering.notify(progress(4)).await.unwrap();
    assert_eq!(stream.message().await["params"]["progress"], 4);
    let last = stream.last_id.clone().unwrap();
    drop(stream);
    answering.finish(ok(r#"{"n":1}"#)).await.unwrap();
    until("it ended", || stage.world.finished().len() == 1).await;
    // The answer waits, and can be had again as long as it is kept.
    for _ in 0..2 {
        let mut stream = Stream::new(client.resume(&last).await);
        let answer = json!({"jsonrpc": "2.0", "id": 3, "result": {"n": 1}});
        assert_eq!(stream.message().await, answer);
        stream.end().await;
    }
    assert_eq!((worker.seen(), stage.world.finished().len()), (1, 1));
}

#[tokio::test]
async fn a_stream_that_broke_before_its_first_message_begins_again() {
    let (_stage, _worker, mut exchanges, client) = staged(early()).await;
    let mut stream = client.stream(1, CALL, find()).await;
    stream.next().await;
    let last = stream.last_id.clone().unwrap();
    drop(stream);
    let (_, answering) = exchanges.next().await;
    answering.notify(progress(1)).await.unwrap();
    answering.finish(ok("{}")).await.unwrap();
    let mut stream = Stream::new(client.resume(&last).await);
    assert_eq!(stream.message().await["method"], "notifications/progress");
    assert_eq!(stream.message().await["id"], 1);
    stream.end().await;
}

async fn pause(answering: &Answering) {
    answering.paused(Paused { retry_ms: 70 }).await.unwrap();
}

#[tokio::test]
async fn a_client_of_a_polled_server_is_sent_away_and_comes_back_for_the_answer() {
    let (stage, worker, mut exchanges, client) = staged(early()).await;
    let mut stream = client.stream(3, CALL, find()).await;
    let (_, answering) = exchanges.next().await;
    answering.notify(progress(1)).await.unwrap();
    pause(&answering).await;
    assert_eq!(stream.message().await["params"]["progress"], 1);
    let seen = stream.last_id.clone();
    // The last event says when to come back, and for what.
    assert_eq!(stream.next().await, Some(Said::Event(String::new(), String::new())));
    assert_eq!((stream.retry.as_deref(), &stream.last_id), (Some("70"), &seen));
    assert_eq!(stream.next().await, None);
    // With nobody there, nobody is sent away; nor is who comes back.
    pause(&answering).await;
    answering.notify(progress(2)).await.unwrap();
    let last = seen.unwrap();
    let mut stream = Stream::new(client.resume(&last).await);
    assert_eq!(stream.message().await["params"]["progress"], 2);
    // Another time.
    pause(&answering).await;
    assert_eq!(stream.next().await, Some(Said::Event(String::new(), String::new())));
    let last = stream.last_id.clone().unwrap();
    stream.end().await;
    answering.finish(ok(r#"{"n":1}"#)).await.unwrap();
    let mut stream = Stream::new(client.resume(&last).await);
    let answer = json!({"jsonrpc": "2.0", "id": 3, "result": {"n": 1}});
    assert_eq!(stream.message().await, answer);
    stream.end().await;
    until("it ended", || stage.world.finished().len() == 1).await;
    assert_eq!(worker.seen(), 1);
}

#[tokio::test]
async fn a_server_that_is_polled_forever_sends_nobody_away_forever() {
    let (_stage, _worker, mut exchanges, client) = staged(early()).await;
    let mut stream = client.stream(3, CALL, find()).await;
    stream.next().await;
    let last = stream.last_id.clone().unwrap();
    let (_, answering) = exchanges.next().await;
    for _ in 0..32 {
        pause(&answering).await;
        stream.end().await;
        stream = Stream::new(client.resume(&last).await);
    }
    pause(&answering).await;
    answering.notify(progress(1)).await.unwrap();
    assert_eq!(stream.message().await["params"]["progress"], 1);
}

#[tokio::test]
async fn clients_that_cannot_be_sent_away_hear_of_no_pause() {
    let (stage, _worker, mut exchanges, _) = staged(early()).await;
    let mut older = stage.client();
    older.initialize("2025-06-18").await;
    let mut json_alone = stage.client();
    json_alone.initialize("2025-11-25").await;
    json_alone.accept = "application/json";
    let mut batches = stage.client();
    batches.initialize("2025-03-26").await;
    let mut sse = SseClient::open(&stage.client(), &stage.url).await;
    let worker = async {
        for _ in 0..4 {
            let (open, answering) = exchanges.next().await;
            pause(&answering).await;
            if !open.progress_token.is_empty() {
                answering.notify(progress(1)).await.unwrap();
                pause(&answering).await;
            }
            answering.finish(ok("{}")).await.unwrap();
        }
    };
    let clients = async {
        let mut stream = older.stream(1, CALL, find()).await;
        assert_eq!(stream.message().await["params"]["progress"], 1);
        assert_eq!(stream.message().await["id"], 1);
        assert_eq!((stream.next().await, stream.retry.clone()), (None, None));
        let answer = json_alone.call("docs__find", json!({})).await;
        assert_eq!(answer["result"], json!({}));
        let answers = batches.send(format!("[{}]", message(2, CALL, &find()))).await;
        let mut stream = Stream::new(answers);
        assert_eq!(stream.message().await["params"]["progress"], 1);
        assert_eq!(stream.message().await["id"], 2);
        assert_eq!((stream.next().await, stream.retry), (None, None));
        sse.post(message(3, CALL, &find())).await;
        assert_eq!(sse.stream.message().await["params"]["progress"], 1);
        assert_eq!(sse.stream.message().await["id"], 3);
    };
    tokio::join!(worker, clients);
}

#[tokio::test]
async fn a_quick_answer_is_no_stream_and_older_clients_get_no_empty_event() {
    let limits = EdgeLimits { early_stream: Duration::from_secs(60), ..EdgeLimits::default() };
    let stage = Stage::with(limits).await;
    stage.world.add(1, "docs", &["find"]).await;
    let _worker = Worker::start(&stage.world, 1, async |open, answering| {
        if !open.progress_token.is_empty() {
            answering.notify(progress(1)).await.unwrap();
        }
        answering.finish(ok("{}")).await.unwrap();
    })
    .await;
    stage.settled().await;
    for (revision, is_primed) in [("2025-11-25", true), ("2025-06-18", false)] {
        let mut client = stage.client();
        client.initialize(revision).await;
        assert_eq!(client.call("docs__find", json!({})).await["result"], json!({}));
        let mut stream = client.stream(1, CALL, find()).await;
        let Some(Said::Event(_, first)) = stream.next().await else { panic!("no event") };
        assert_eq!(first.is_empty(), is_primed, "{revision}");
        // They can resume all the same.
        assert!(stream.last_id.is_some());
    }
}

#[tokio::test]
async fn unasked_messages_are_kept_for_a_listener_that_comes_back() {
    let (stage, _worker, _exchanges, client) = staged(EdgeLimits::default()).await;
    client.tools().await;
    let mut stream = client.listen().await;
    stream.next().await;
    stage.world.observe_catalogue(1, &[r#"{"name":"one"}"#.to_owned()]).await;
    assert_eq!(stream.message().await["method"], "notifications/tools/list_changed");
    let last = stream.last_id.clone().unwrap();
    drop(stream);
    stage.world.observe_catalogue(1, &[r#"{"name":"two"}"#.to_owned()]).await;
    let mut stream = Stream::new(client.resume(&last).await);
    assert_eq!(stream.message().await["method"], "notifications/tools/list_changed");
    // Each event has an id of its own.
    assert_ne!(stream.last_id.as_deref(), Some(last.as_str()));
}

#[tokio::test]
async fn a_stream_is_of_its_session_and_unknown_ones_cannot_be_resumed() {
    let (stage, _worker, mut exchanges, client) = staged(early()).await;
    let mut stream = client.stream(1, CALL, find()).await;
    stream.next().await;
    let last = stream.last_id.clone().unwrap();
    let (_, _answering) = exchanges.next().await;
    let mut other = stage.client();
    other.initialize("2025-11-25").await;
    assert_eq!(other.resume(&last).await.status(), 400);
    for unknown in ["99-1", "x", "1", "1-"] {
        assert_eq!(client.resume(unknown).await.status(), 400, "{unknown}");
    }
}
