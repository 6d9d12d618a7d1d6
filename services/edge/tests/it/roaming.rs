//! Sessions that any edge serves: forwarded while their edge lives, taken over when it is gone.

use std::time::Duration;

use backplane::exchange::{Answering, FollowUp};
use bytes::Bytes;
use domain::call::CallOutcome;
use domain::server::Isolation;
use edge::EdgeLimits;
use prost::Message as _;
use proto::internal::v1::{Interest, InterestDone, McpSession, Notification};
use serde_json::{Value, json};

use crate::client::{Client, SseClient, Stream, message};
use crate::fleet::{Fleet, eventually};
use crate::keeper::Keeper;
use crate::stage::{patient, soon, until};
use crate::worker::{Exchanges, Worker, ok};
use crate::world::{KEY, REPORTER_KEY};

const CALL: &str = "tools/call";

fn find() -> Value {
    json!({"name": "docs__find", "_meta": {"progressToken": "t"}})
}

fn early() -> EdgeLimits {
    EdgeLimits { early_stream: Duration::ZERO, ..EdgeLimits::default() }
}

/// Edges, and a worker that keeps its calls.
async fn kept(edges: usize) -> (Fleet, Keeper) {
    let fleet = Fleet::start(edges, early()).await;
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
async fn any_edge_answers_for_a_session_of_another() {
    let fleet = Fleet::start(2, patient()).await;
    fleet.world.add(1, "docs", &["find"]).await;
    let worker = Worker::echo(&fleet.world, 1).await;
    fleet.settled().await;
    let here = opened(&fleet, 0).await;
    let there = fleet.moved(&here, 1);
    // A list, a call and a stream of what is said unasked.
    assert_eq!(there.tools().await, ["docs__find"]);
    let answer = there.call("docs__find", json!({"a": 1})).await;
    assert_eq!(answer["result"]["seen"]["arguments"], json!({"a": 1}), "{answer}");
    let mut stream = there.listen().await;
    stream.next().await;
    fleet.world.observe_catalogue(1, &[r#"{"name":"one"}"#.to_owned()]).await;
    assert_eq!(stream.message().await["method"], "notifications/tools/list_changed");
    assert_eq!((worker.seen(), fleet.world.finished().len()), (1, 1));
    // The record knows what was asked for at either edge, and what opens the session is not in it.
    let (_, record) = fleet.memory.read(&fleet.record_key(&here)).await.unwrap().unwrap();
    let id = here.session.clone().unwrap();
    assert!(memchr::memmem::find(&record, id.as_bytes()).is_none());
    // Its end is its end everywhere, and streams end with it.
    let deleted = soon(there.builder(reqwest::Method::DELETE).send()).await.unwrap();
    assert_eq!(deleted.status(), 200);
    stream.end().await;
    for client in [&here, &there] {
        assert_eq!(client.send(message(1, "ping", &json!({}))).await.status(), 404);
    }
    eventually("its record is gone", async || !fleet.is_shared(&here).await).await;
}

#[tokio::test]
async fn another_key_finds_no_session_at_any_edge() {
    let (fleet, _keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    for edge in [0, 1] {
        let mut other = fleet.client_with(edge, REPORTER_KEY);
        other.session.clone_from(&here.session);
        assert_eq!(other.send(message(1, "ping", &json!({}))).await.status(), 404, "{edge}");
        let mut none = fleet.client_with(edge, "api_key_of_nobody");
        none.session.clone_from(&here.session);
        assert_eq!(none.send(message(1, "ping", &json!({}))).await.status(), 401, "{edge}");
        let mut unknown = fleet.client(edge);
        unknown.session = Some("0123456789abcdef0123456789abcdef".to_owned());
        assert_eq!(unknown.send(message(1, "ping", &json!({}))).await.status(), 404, "{edge}");
    }
    assert_eq!(here.send(message(1, "ping", &json!({}))).await.status(), 200);
}

#[tokio::test]
async fn a_revoked_key_is_refused_everywhere_and_nothing_of_it_stays() {
    let (fleet, _keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    let there = fleet.moved(&here, 1);
    assert_eq!(there.send(message(1, "ping", &json!({}))).await.status(), 200);
    fleet.world.revoke(KEY).await;
    fleet.settled().await;
    for client in [&here, &there] {
        assert_eq!(client.send(message(1, "ping", &json!({}))).await.status(), 401);
    }
    eventually("its record is gone", async || !fleet.is_shared(&here).await).await;
}

#[tokio::test]
async fn a_call_through_another_edge_is_streamed_asked_and_cancelled_there() {
    let (fleet, mut keeper) = kept(2).await;
    let mut here = fleet.client(0);
    here.initialize_with("2025-11-25", json!({"elicitation": {}})).await;
    let there = fleet.moved(&here, 1);
    let mut stream = there.stream(3, CALL, find()).await;
    let call = keeper.next().await;
    call.progress(1).await;
    assert_eq!(stream.message().await["params"]["progress"], 1);
    call.ask("7", "elicitation/create", r#"{"message":"?","requestedSchema":{"type":"object"}}"#)
        .await;
    let asked = stream.message().await;
    assert_eq!(asked["method"], "elicitation/create");
    // The answer comes to yet another edge than the question went through.
    here.answer(&asked, json!({"action": "decline"})).await;
    assert!(matches!(call.follow_up().await, FollowUp::Answer { id, .. } if id == "7"));
    there.notify("notifications/cancelled", json!({"requestId": 3})).await;
    assert!(matches!(call.follow_up().await, FollowUp::Cancel(_)));
}

#[tokio::test]
async fn a_client_goes_on_at_another_edge_when_its_own_was_killed() {
    let (mut fleet, mut keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    let mut stream = here.stream(3, CALL, find()).await;
    stream.next().await;
    let call = keeper.next().await;
    for step in 1..=3 {
        call.progress(step).await;
    }
    // The third was said, and is not known to have arrived.
    assert_eq!(stream.message().await["params"]["progress"], 1);
    assert_eq!(stream.message().await["params"]["progress"], 2);
    let last = stream.last_id.clone().unwrap();
    fleet.edges[0].kill();
    drop(stream);
    call.progress(4).await;
    let there = fleet.moved(&here, 1);
    let mut stream = Stream::new(there.resume(&last).await);
    assert_eq!(stream.message().await["params"]["progress"], 3);
    assert_eq!(stream.message().await["params"]["progress"], 4);
    call.progress(5).await;
    assert_eq!(stream.message().await["params"]["progress"], 5);
    call.finish(ok(r#"{"n":1}"#)).await;
    let answer = json!({"jsonrpc": "2.0", "id": 3, "result": {"n": 1}});
    assert_eq!(stream.message().await, answer);
    stream.end().await;
    // The session goes on, too.
    assert_eq!(there.tools().await, ["docs__find"]);
    assert_eq!((keeper.begun(), keeper.adopted()), (1, 1));
    let finished = fleet.world.finished();
    assert_eq!(finished.len(), 1);
    assert_eq!(finished[0].0.outcome, CallOutcome::Ok);
}

#[tokio::test]
async fn an_answer_that_was_recorded_and_not_read_is_had_from_another_edge() {
    let (mut fleet, mut keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    let mut stream = here.stream(3, CALL, find()).await;
    stream.next().await;
    let primed = stream.last_id.clone().unwrap();
    let call = keeper.next().await;
    drop(stream);
    call.progress(1).await;
    call.finish(ok(r#"{"n":1}"#)).await;
    until("it ended", || fleet.world.finished().len() == 1).await;
    fleet.edges[0].kill();
    let there = fleet.moved(&here, 1);
    let mut stream = Stream::new(there.resume(&primed).await);
    assert_eq!(stream.message().await["params"]["progress"], 1);
    assert_eq!(stream.message().await["result"], json!({"n": 1}));
    stream.end().await;
    // What the other edge records is the same event again.
    assert_eq!((keeper.begun(), fleet.world.finished().len()), (1, 1));
}

#[tokio::test]
async fn a_question_is_answered_at_another_edge_and_asked_once() {
    let (mut fleet, mut keeper) = kept(2).await;
    let mut here = fleet.client(0);
    here.initialize_with("2025-11-25", json!({"elicitation": {}})).await;
    let mut stream = here.stream(3, CALL, find()).await;
    let call = keeper.next().await;
    call.ask("7", "elicitation/create", r#"{"message":"?","requestedSchema":{"type":"object"}}"#)
        .await;
    let asked = stream.message().await;
    let last = stream.last_id.clone().unwrap();
    fleet.edges[0].kill();
    let there = fleet.moved(&here, 1);
    // Its answer is the first that the other edge hears of the session.
    there.answer(&asked, json!({"action": "decline"})).await;
    match call.follow_up().await {
        FollowUp::Answer { id, answer: Ok(answer) } => {
            assert_eq!((id.as_str(), &answer[..]), ("7", br#"{"action":"decline"}"#.as_slice()));
        }
        other => panic!("{other:?}"),
    }
    let mut stream = Stream::new(there.resume(&last).await);
    call.finish(ok("{}")).await;
    assert_eq!(stream.message().await["id"], 3);
    stream.end().await;
}

#[tokio::test]
async fn a_call_whose_worker_is_gone_too_is_unknown_once() {
    let (mut fleet, mut keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    let mut stream = here.stream(3, CALL, find()).await;
    stream.next().await;
    let primed = stream.last_id.clone().unwrap();
    let _call = keeper.next().await;
    fleet.edges[0].kill();
    drop(keeper);
    let keeper = Keeper::start(&fleet.world, 1).await;
    let there = fleet.moved(&here, 1);
    let mut stream = Stream::new(there.resume(&primed).await);
    let answer = stream.message().await;
    assert_eq!(answer["error"]["data"]["reason"], "OUTCOME_UNKNOWN", "{answer}");
    stream.end().await;
    until("it is recorded", || !fleet.world.finished().is_empty()).await;
    let finished = fleet.world.finished();
    assert_eq!((finished.len(), finished[0].0.outcome), (1, CallOutcome::Unknown));
    assert_eq!((keeper.begun(), keeper.adopted()), (0, 1));
}

#[tokio::test]
async fn of_two_edges_that_are_asked_at_once_one_takes_a_session_over() {
    let (mut fleet, mut keeper) = kept(3).await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let here = opened(&fleet, 0).await;
        let mut stream = here.stream(3, CALL, find()).await;
        stream.next().await;
        sessions.push((here, stream.last_id.clone().unwrap(), keeper.next().await));
    }
    fleet.edges[0].kill();
    let going_on = sessions.iter().map(async |(here, primed, call)| {
        let (one, two) = (fleet.moved(here, 1), fleet.moved(here, 2));
        let ping = || message(9, "ping", &json!({}));
        let (first, second) = tokio::join!(one.send(ping()), two.send(ping()));
        assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
        call.finish(ok(r#"{"n":1}"#)).await;
        let mut stream = Stream::new(two.resume(primed).await);
        assert_eq!(stream.message().await["result"], json!({"n": 1}));
        stream.end().await;
    });
    futures::future::join_all(going_on).await;
    assert_eq!((keeper.begun(), keeper.adopted()), (20, 20));
    assert_eq!(fleet.world.finished().len(), 20);
}

#[tokio::test]
async fn what_was_said_unasked_is_said_again_by_another_edge() {
    let (mut fleet, _keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    here.tools().await;
    let mut stream = here.listen().await;
    stream.next().await;
    fleet.world.observe_catalogue(1, &[r#"{"name":"one"}"#.to_owned()]).await;
    assert_eq!(stream.message().await["method"], "notifications/tools/list_changed");
    let last = stream.last_id.clone().unwrap();
    drop(stream);
    fleet.world.observe_catalogue(1, &[r#"{"name":"two"}"#.to_owned()]).await;
    fleet.settled().await;
    let trail = fleet.record_key(&here).as_str().replace("mcp_session", "replay");
    let trail = bus::Subject::new(trail).unwrap();
    let is_kept = async || fleet.memory.trail(&trail).await.unwrap().len() == 2;
    eventually("both are on the trail", is_kept).await;
    fleet.edges[0].kill();
    let there = fleet.moved(&here, 1);
    let mut stream = Stream::new(there.resume(&last).await);
    assert_eq!(stream.message().await["method"], "notifications/tools/list_changed");
    let again = stream.last_id.clone().unwrap();
    assert_ne!(again, last);
    // From here on it is live, under numbers of its own.
    there.tools().await;
    fleet.world.observe_catalogue(1, &[r#"{"name":"three"}"#.to_owned()]).await;
    assert_eq!(stream.message().await["method"], "notifications/tools/list_changed");
    assert_ne!(stream.last_id.unwrap(), again);
}

#[tokio::test]
async fn messages_of_sse_reach_the_stream_and_the_session_ends_with_its_edge() {
    let fleet = Fleet::start(2, EdgeLimits::default()).await;
    fleet.world.add(1, "docs", &["find"]).await;
    let worker = Worker::echo(&fleet.world, 1).await;
    fleet.settled().await;
    let mut fleet = fleet;
    let mut sse = SseClient::open(&fleet.client(0), &fleet.edges[0].url).await;
    let at_first = sse.messages_url.clone();
    sse.messages_url = at_first.replace(&fleet.edges[0].url, &fleet.edges[1].url);
    let posted = sse.post(message(3, CALL, &json!({"name": "docs__find"}))).await;
    assert_eq!(posted.status(), 202);
    assert_eq!(sse.stream.message().await["id"], 3);
    assert_eq!(worker.seen(), 1);
    fleet.edges[0].kill();
    let posted = sse.post(message(4, CALL, &json!({"name": "docs__find"}))).await;
    assert_eq!(posted.status(), 404);
    assert_eq!(worker.seen(), 1);
    // A new one is a new one.
    let mut again = SseClient::open(&fleet.client(1), &fleet.edges[1].url).await;
    again.post(message(5, "ping", &json!({}))).await;
    assert_eq!(again.stream.message().await["id"], 5);
}

#[tokio::test]
async fn an_edge_that_drains_gives_its_sessions_up() {
    let (mut fleet, mut keeper) = kept(2).await;
    let (idle, busy) = (opened(&fleet, 0).await, opened(&fleet, 0).await);
    let listening = idle.listen().await;
    let mut stream = busy.stream(3, CALL, find()).await;
    stream.next().await;
    let call = keeper.next().await;
    fleet.edges[0].terminate();
    // Of the one nothing is under way: it is found elsewhere at once.
    listening.end().await;
    assert_eq!(fleet.moved(&idle, 1).tools().await, ["docs__find"]);
    // The other one is asked for at its edge until its call is over.
    let elsewhere = fleet.moved(&busy, 1);
    assert_eq!(elsewhere.tools().await, ["docs__find"]);
    call.progress(1).await;
    assert_eq!(stream.message().await["params"]["progress"], 1);
    call.finish(ok(r#"{"n":1}"#)).await;
    assert_eq!(stream.message().await["result"], json!({"n": 1}));
    stream.end().await;
    fleet.edges[0].ended().await;
    assert_eq!(elsewhere.tools().await, ["docs__find"]);
    assert_eq!((keeper.begun(), keeper.adopted()), (1, 0));
    assert_eq!(fleet.world.finished().len(), 1);
}

#[tokio::test]
async fn what_a_draining_edge_cannot_finish_goes_on_elsewhere() {
    let (mut fleet, mut keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    let mut stream = here.stream(3, CALL, find()).await;
    stream.next().await;
    let call = keeper.next().await;
    call.progress(1).await;
    assert_eq!(stream.message().await["params"]["progress"], 1);
    let last = stream.last_id.clone().unwrap();
    fleet.edges[0].terminate();
    // Its grace is over before the call is.
    stream.end().await;
    fleet.edges[0].ended().await;
    call.progress(2).await;
    let there = fleet.moved(&here, 1);
    let mut stream = Stream::new(there.resume(&last).await);
    assert_eq!(stream.message().await["params"]["progress"], 2);
    call.finish(ok(r#"{"n":1}"#)).await;
    assert_eq!(stream.message().await["result"], json!({"n": 1}));
    stream.end().await;
    assert_eq!((keeper.begun(), fleet.world.finished().len()), (1, 1));
}

#[tokio::test]
async fn a_session_moves_on_and_on() {
    let (mut fleet, mut keeper) = kept(4).await;
    let here = opened(&fleet, 0).await;
    let mut stream = here.stream(3, CALL, find()).await;
    stream.next().await;
    let call = keeper.next().await;
    let mut last = stream.last_id.clone().unwrap();
    for step in 1..4 {
        call.progress(step * 2 - 1).await;
        fleet.edges[step as usize - 1].kill();
        let there = fleet.moved(&here, step as usize);
        stream = Stream::new(there.resume(&last).await);
        call.progress(step * 2).await;
        for expected in [step * 2 - 1, step * 2] {
            assert_eq!(stream.message().await["params"]["progress"], expected);
        }
        last = stream.last_id.clone().unwrap();
    }
    call.finish(ok("{}")).await;
    assert_eq!(stream.message().await["id"], 3);
    stream.end().await;
    assert_eq!((keeper.begun(), keeper.adopted()), (1, 3));
}

#[tokio::test]
async fn what_a_session_wants_to_hear_is_known_elsewhere() {
    let fleet = Fleet::start(2, EdgeLimits::default()).await;
    let offers = r#"{"tools":{},"logging":{},"resources":{"subscribe":true}}"#;
    fleet.world.add_with(1, "docs", Isolation::Shared, offers).await;
    let (_worker, mut exchanges) = Worker::by_hand(&fleet.world, 1).await;
    fleet.settled().await;
    let mut fleet = fleet;
    let here = opened(&fleet, 0).await;
    let wanting = async {
        here.request("logging/setLevel", json!({"level": "debug"})).await;
        let uri = json!({"uri": "mcp+docs+file:///a"});
        let subscribed = here.request("resources/subscribe", uri).await;
        assert_eq!(subscribed["result"], json!({}), "{subscribed}");
    };
    let (_, (_, attachment)) = tokio::join!(wanting, attached(&mut exchanges));
    fleet.edges[0].kill();
    soon(attachment.closed()).await;
    let there = fleet.moved(&here, 1);
    let listening = there.listen();
    let (mut stream, (wanted, attachment)) = tokio::join!(listening, attached(&mut exchanges));
    assert_eq!(wanted.len(), 2, "{wanted:?}");
    let (method, params) = ("notifications/resources/updated", r#"{"uri":"file:///a"}"#);
    let said = Notification { method: method.to_owned(), params: params.into() };
    attachment.notify(said).await.unwrap();
    let updated = stream.message().await;
    assert_eq!(updated["params"]["uri"], "mcp+docs+file:///a", "{updated}");
}

/// The next attachment, once it was told to listen and to subscribe.
async fn attached(exchanges: &mut Exchanges) -> (Vec<Interest>, Answering) {
    let (_, attachment) = exchanges.next().await;
    let mut wanted = Vec::new();
    while wanted.len() < 2 {
        match soon(attachment.next_follow_up()).await {
            Some(FollowUp::Interest(interest)) => {
                let done = InterestDone { id: interest.id, error: Bytes::new() };
                attachment.interest_done(done).await.unwrap();
                wanted.push(interest);
            }
            other => panic!("{other:?}"),
        }
    }
    (wanted, attachment)
}

#[tokio::test]
async fn a_home_that_lost_a_session_lets_it_go() {
    let (fleet, mut keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    let stream = here.listen().await;
    // Another edge took it while this one could not be seen.
    let memory = &fleet.memory;
    let key = fleet.record_key(&here);
    let (revision, record) = memory.read(&key).await.unwrap().unwrap();
    let mut record = McpSession::decode(record).unwrap();
    record.home.clone_from(&fleet.edges[1].instance);
    record.generation += 1;
    memory.write(&key, record.encode_to_vec().into(), Some(revision)).await.unwrap();
    // With the next change it sees that; what it began is answered where it was asked for.
    let calling = here.call("docs__find", json!({}));
    let finishing = async {
        let call = keeper.next().await;
        stream.end().await;
        call.finish(ok(r#"{"n":1}"#)).await;
    };
    let (answer, ()) = tokio::join!(calling, finishing);
    assert_eq!(answer["result"], json!({"n": 1}));
    assert_eq!(fleet.world.finished().len(), 1);
    let (_, after) = memory.read(&key).await.unwrap().unwrap();
    assert_eq!(McpSession::decode(after).unwrap().home, fleet.edges[1].instance);
}

#[tokio::test]
async fn a_record_that_its_home_does_not_know_is_no_session() {
    let (fleet, _keeper) = kept(2).await;
    let here = opened(&fleet, 0).await;
    let key = fleet.record_key(&here);
    let (_, record) = fleet.memory.read(&key).await.unwrap().unwrap();
    let deleted = soon(here.builder(reqwest::Method::DELETE).send()).await.unwrap();
    assert_eq!(deleted.status(), 200);
    eventually("its record is gone", async || !fleet.is_shared(&here).await).await;
    fleet.memory.write(&key, record, None).await.unwrap();
    let there = fleet.moved(&here, 1);
    assert_eq!(there.send(message(1, "ping", &json!({}))).await.status(), 404);
    assert!(!fleet.is_shared(&here).await);
}

#[tokio::test]
async fn what_cannot_be_forwarded_is_refused() {
    let limits = EdgeLimits { forwards: 1, ..early() };
    let fleet = Fleet::start(2, limits).await;
    fleet.settled().await;
    let there = fleet.moved(&opened(&fleet, 0).await, 1);
    let mut stream = there.listen().await;
    stream.next().await;
    assert_eq!(there.send(message(1, "ping", &json!({}))).await.status(), 429);
    drop(stream);
    let is_free = async || there.send(message(1, "ping", &json!({}))).await.status() == 200;
    eventually("there is room again", is_free).await;
}

#[tokio::test]
async fn large_bodies_pass_and_those_that_are_too_large_do_not() {
    let limits = EdgeLimits { body_bytes: 1024 * 1024, ..patient() };
    let fleet = Fleet::start(2, limits).await;
    fleet.world.add(1, "docs", &["find"]).await;
    let _worker = Worker::echo(&fleet.world, 1).await;
    fleet.settled().await;
    let there = fleet.moved(&opened(&fleet, 0).await, 1);
    let text = "x".repeat(900_000);
    let answer = there.call("docs__find", json!({"text": text})).await;
    assert_eq!(answer["result"]["seen"]["arguments"]["text"], json!(text));
    let large = message(1, "ping", &json!({"text": "x".repeat(1_100_000)}));
    assert_eq!(there.send(large).await.status(), 413);
}

#[tokio::test]
async fn a_task_is_of_its_key_at_every_edge() {
    let fleet = Fleet::start(2, patient()).await;
    let offers = r#"{"tools":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#;
    fleet.world.add_with(1, "docs", Isolation::Shared, offers).await;
    fleet.world.issue("api_key_second", domain::Role::Owner, None).await;
    let _worker = Worker::start(&fleet.world, 1, async |open, answering| {
        let result = match open.method.as_str() {
            "tools/call" => r#"{"task":{"taskId":"7","status":"working"}}"#,
            "tasks/list" => r#"{"tasks":[{"taskId":"7","status":"working"}]}"#,
            _ => r#"{"taskId":"7","status":"working"}"#,
        };
        answering.finish(ok(result)).await.unwrap();
    })
    .await;
    fleet.settled().await;
    let mine = opened(&fleet, 0).await;
    let made = mine.request(CALL, json!({"name": "docs__find", "task": {}})).await;
    let id = made["result"]["task"]["taskId"].as_str().unwrap().to_owned();
    let elsewhere = opened(&fleet, 1).await;
    let is_listed = async || {
        let list = elsewhere.request("tasks/list", json!({})).await;
        list["result"]["tasks"].as_array().unwrap().len() == 1
    };
    eventually("the other edge knows whose it is", is_listed).await;
    let mut second = fleet.client_with(1, "api_key_second");
    second.initialize("2025-11-25").await;
    let list = second.request("tasks/list", json!({})).await;
    assert_eq!(list["result"]["tasks"], json!([]));
    let refused = second.request("tasks/get", json!({"taskId": id})).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    let got = elsewhere.request("tasks/get", json!({"taskId": id})).await;
    assert_eq!(got["result"]["status"], "working", "{got}");
}
