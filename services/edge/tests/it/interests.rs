//! What clients hear outside of their calls: log messages and updates of resources, over one
//! attachment for each server that is shared.

use backplane::exchange::{Answering, FollowUp};
use bytes::Bytes;
use domain::Role;
use domain::event::ProjectEvent;
use domain::server::Isolation;
use edge::EdgeLimits;
use proto::events::v1::CallOutcome;
use proto::internal::v1::interest::Change;
use proto::internal::v1::{
    ExchangeKind, ExchangeOpen, Finished, Interest, InterestDone, Notification, ServerRequest,
    finished,
};
use serde_json::{Value, json};

use crate::client::{Client, message};
use crate::stage::{Stage, soon, until};
use crate::worker::{Exchanges, Worker, ok};
use crate::world::{REPORTER, REPORTER_KEY};

const CAPABILITIES: &str = r#"{"logging":{},"resources":{"subscribe":true}}"#;

async fn staged(limits: EdgeLimits) -> (Stage, Worker, Exchanges) {
    let stage = Stage::with(limits).await;
    stage.world.add_with(1, "docs", Isolation::Shared, CAPABILITIES).await;
    let (worker, exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    (stage, worker, exchanges)
}

fn is_attachment(open: &ExchangeOpen) -> bool {
    open.kind() == ExchangeKind::Attachment
}

async fn attachment(exchanges: &mut Exchanges) -> Answering {
    let (open, answering) = exchanges.next().await;
    assert!(is_attachment(&open), "{open:?}");
    assert!(open.peer.is_none_or(|peer| peer.session.is_empty()));
    answering
}

async fn interest(attachment: &Answering) -> Interest {
    match soon(attachment.next_follow_up()).await {
        Some(FollowUp::Interest(interest)) => interest,
        other => panic!("no interest: {other:?}"),
    }
}

/// Sees to the next interest, and says what it was.
async fn see_to(attachment: &Answering) -> Change {
    let interest = interest(attachment).await;
    attachment.interest_done(InterestDone { id: interest.id, error: Bytes::new() }).await.unwrap();
    interest.change.unwrap()
}

async fn say(attachment: &Answering, method: &str, params: &str) {
    let (method, params) = (format!("notifications/{method}"), params.to_owned().into());
    attachment.notify(Notification { method, params }).await.unwrap();
}

async fn log(attachment: &Answering, level: &str) {
    say(attachment, "message", &format!(r#"{{"level":"{level}","data":"{level}"}}"#)).await;
}

/// The levels of the log messages up to the next emergency.
async fn levels(stream: &mut crate::client::Stream) -> Vec<String> {
    let mut levels = Vec::new();
    loop {
        let said = stream.message().await;
        assert_eq!(said["method"], "notifications/message", "{said}");
        levels.push(said["params"]["level"].as_str().unwrap().to_owned());
        if said["params"]["level"] == "emergency" {
            return levels;
        }
    }
}

async fn listening(stage: &Stage) -> (Client, crate::client::Stream) {
    let client = stage.opened().await;
    let stream = client.listen().await;
    (client, stream)
}

#[tokio::test]
async fn each_client_hears_from_its_level_on_and_the_server_says_what_anybody_wants() {
    let (stage, worker, mut exchanges) = staged(EdgeLimits::default()).await;
    let (quiet, mut quiet_stream) = listening(&stage).await;
    let attachment = attachment(&mut exchanges).await;
    let (curious, mut curious_stream) = listening(&stage).await;
    let (_, mut silent_stream) = listening(&stage).await;
    let set = async |client: &Client, level: &str| {
        let answer = client.request("logging/setLevel", json!({"level": level})).await;
        assert_eq!(answer["result"], json!({}), "{answer}");
    };
    let level = |level: &str| Change::LogLevel(level.to_owned());
    assert_eq!(tokio::join!(set(&quiet, "error"), see_to(&attachment)).1, level("error"));
    assert_eq!(tokio::join!(set(&curious, "debug"), see_to(&attachment)).1, level("debug"));
    for level in ["debug", "info", "warning", "error", "emergency"] {
        log(&attachment, level).await;
    }
    assert_eq!(levels(&mut quiet_stream).await, ["error", "emergency"]);
    let all = ["debug", "info", "warning", "error", "emergency"];
    assert_eq!(levels(&mut curious_stream).await, all);
    // Who set none does not hear what another one wanted.
    assert_eq!(levels(&mut silent_stream).await, all[1..]);
    // The most verbose one leaves: the server may be quieter.
    soon(curious.builder(reqwest::Method::DELETE).send()).await.unwrap();
    assert_eq!(see_to(&attachment).await, level("error"));
    let wrong = quiet.request("logging/setLevel", json!({"level": "loud"})).await;
    assert_eq!(wrong["error"]["code"], -32602);
    assert_eq!(worker.seen(), 1);
}

#[tokio::test]
async fn a_calls_own_log_messages_are_filtered_by_the_clients_level() {
    let (stage, _worker, mut exchanges) = staged(EdgeLimits::default()).await;
    let client = stage.opened().await;
    for (level, expected) in [(None, 3), (Some("error"), 2)] {
        if let Some(level) = level {
            let params = json!({"level": level});
            let setting = client.request("logging/setLevel", params);
            let seeing = async {
                let attachment = attachment(&mut exchanges).await;
                see_to(&attachment).await;
                attachment
            };
            let (answer, _attachment) = tokio::join!(setting, seeing);
            assert_eq!(answer["result"], json!({}));
        }
        let calling = client.stream(1, "tools/call", json!({"name": "docs__find"}));
        let answering = async {
            let (_, answering) = exchanges.next().await;
            for level in ["debug", "error"] {
                log(&answering, level).await;
            }
            answering.finish(ok("{}")).await.unwrap();
        };
        let (mut stream, ()) = tokio::join!(calling, answering);
        let mut said = 1;
        while stream.message().await.get("id").is_none() {
            said += 1;
        }
        assert_eq!(said, expected, "{level:?}");
    }
}

#[tokio::test]
async fn updates_go_to_subscribers_alone_and_one_subscription_serves_all() {
    let (stage, _worker, mut exchanges) = staged(EdgeLimits::default()).await;
    let ((one, mut one_stream), (two, mut two_stream)) =
        (listening(&stage).await, listening(&stage).await);
    let (_, mut other_stream) = listening(&stage).await;
    let attachment = attachment(&mut exchanges).await;
    let uri = json!({"uri": "mcp+docs+file:///a"});
    let subscribing = one.request("resources/subscribe", uri.clone());
    let (answer, wanted) = tokio::join!(subscribing, see_to(&attachment));
    assert_eq!((&answer["result"], wanted), (&json!({}), Change::Subscribe("file:///a".into())));
    // The second one costs nothing.
    let answer = two.request("resources/subscribe", uri.clone()).await;
    assert_eq!(answer["result"], json!({}));
    let updated =
        json!({"method": "notifications/resources/updated", "jsonrpc": "2.0", "params": uri});
    say(&attachment, "resources/updated", r#"{"uri":"file:///a"}"#).await;
    assert_eq!(one_stream.message().await, updated);
    assert_eq!(two_stream.message().await, updated);
    assert_eq!(one.request("resources/unsubscribe", uri.clone()).await["result"], json!({}));
    say(&attachment, "resources/updated", r#"{"uri":"file:///a"}"#).await;
    assert_eq!(two_stream.message().await, updated);
    let unsubscribing = two.request("resources/unsubscribe", uri);
    let (answer, wanted) = tokio::join!(unsubscribing, see_to(&attachment));
    assert_eq!((&answer["result"], wanted), (&json!({}), Change::Unsubscribe("file:///a".into())));
    // Nobody else heard of it, nor the first one after it left.
    say(&attachment, "resources/updated", r#"{"uri":"file:///a"}"#).await;
    log(&attachment, "emergency").await;
    for stream in [&mut one_stream, &mut two_stream, &mut other_stream] {
        assert_eq!(levels(stream).await, ["emergency"]);
    }
}

#[tokio::test]
async fn a_refused_subscription_is_told_and_is_none() {
    let limits = EdgeLimits { subscriptions: 1, ..EdgeLimits::default() };
    let (stage, _worker, mut exchanges) = staged(limits).await;
    let client = stage.opened().await;
    let subscribe =
        async |uri: &str| client.request("resources/subscribe", json!({"uri": uri})).await;
    let refusing = async {
        let attachment = attachment(&mut exchanges).await;
        let interest = interest(&attachment).await;
        let error = Bytes::from_static(br#"{"code":-32002,"message":"no such thing"}"#);
        attachment.interest_done(InterestDone { id: interest.id, error }).await.unwrap();
        attachment
    };
    let (answer, attachment) = tokio::join!(subscribe("mcp+docs+file:///a"), refusing);
    assert_eq!(answer["error"], json!({"code": -32002, "message": "no such thing"}));
    // It takes no room: there is one.
    let (answer, _) = tokio::join!(subscribe("mcp+docs+file:///b"), see_to(&attachment));
    assert_eq!(answer["result"], json!({}));
    let answer = subscribe("mcp+docs+file:///c").await;
    assert_eq!(answer["error"]["data"]["reason"], "RESOURCE_EXHAUSTED");
    assert_eq!(subscribe("file:///a").await["error"]["code"], -32002);
}

#[tokio::test]
async fn what_is_wanted_is_told_again_after_the_worker_was_lost() {
    let (stage, _worker, mut exchanges) = staged(EdgeLimits::default()).await;
    let (client, mut stream) = listening(&stage).await;
    let first = attachment(&mut exchanges).await;
    let uri = json!({"uri": "mcp+docs+file:///a"});
    tokio::join!(client.request("resources/subscribe", uri), see_to(&first));
    let level = json!({"level": "notice"});
    tokio::join!(client.request("logging/setLevel", level), see_to(&first));
    drop(first);
    let second = attachment(&mut exchanges).await;
    let wanted = [see_to(&second).await, see_to(&second).await];
    let expected =
        [Change::LogLevel("notice".to_owned()), Change::Subscribe("file:///a".to_owned())];
    assert_eq!(wanted, expected);
    say(&second, "resources/updated", r#"{"uri":"file:///a"}"#).await;
    assert_eq!(stream.message().await["params"]["uri"], "mcp+docs+file:///a");
}

#[tokio::test]
async fn nothing_is_attached_for_clients_that_do_not_listen() {
    let (stage, worker, mut exchanges) = staged(EdgeLimits::default()).await;
    let client = stage.opened().await;
    client.tools().await;
    let calling = client.call("docs__find", json!({}));
    let answering = async {
        let (open, answering) = exchanges.next().await;
        // A client without capabilities is nobody to be asked.
        assert!(!is_attachment(&open) && open.peer.is_none());
        answering.finish(ok("{}")).await.unwrap();
    };
    tokio::join!(calling, answering);
    assert_eq!(worker.seen(), 1);
}

#[tokio::test]
async fn without_a_worker_a_subscription_is_refused() {
    let stage = Stage::start().await;
    stage.world.add_with(1, "docs", Isolation::Shared, CAPABILITIES).await;
    let client = stage.opened().await;
    let answer = client.request("resources/subscribe", json!({"uri": "mcp+docs+file:///a"})).await;
    assert_eq!(answer["error"]["data"]["reason"], "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn what_no_server_has_is_no_method() {
    let stage = Stage::start().await;
    stage.world.add_with(1, "docs", Isolation::Shared, "{}").await;
    let client = stage.opened().await;
    for method in [
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "tasks/get",
        "tasks/list",
    ] {
        let answer = client.request(method, json!({"level": "info", "uri": "x"})).await;
        assert_eq!(answer["error"]["code"], -32601, "{method}");
    }
    let answer: Value = client.send(message(1, "ping", &json!({}))).await.json().await.unwrap();
    assert_eq!(answer["result"], json!({}));
}

#[tokio::test]
async fn who_may_not_call_any_more_hears_nothing_any_more() {
    let (stage, _worker, mut exchanges) = staged(EdgeLimits::default()).await;
    let role = async |role| {
        let event = ProjectEvent::MemberRoleChanged { user: REPORTER, role };
        stage.world.change_project(event).await;
        stage.settled().await;
    };
    role(Role::Developer).await;
    let mut client = stage.client_of("/projects/search/unified", REPORTER_KEY);
    client.initialize("2025-06-18").await;
    let mut stream = client.listen().await;
    let attachment = attachment(&mut exchanges).await;
    let (_, mut others) = listening(&stage).await;
    let uri = json!({"uri": "mcp+docs+file:///a"});
    tokio::join!(client.request("resources/subscribe", uri), see_to(&attachment));
    log(&attachment, "emergency").await;
    assert_eq!(levels(&mut stream).await, ["emergency"]);
    role(Role::Reporter).await;
    log(&attachment, "alert").await;
    say(&attachment, "resources/updated", r#"{"uri":"file:///a"}"#).await;
    log(&attachment, "emergency").await;
    // Somebody else heard all of it.
    assert_eq!(levels(&mut others).await, ["emergency"]);
    assert_eq!(levels(&mut others).await, ["alert", "emergency"]);
    role(Role::Developer).await;
    log(&attachment, "critical").await;
    log(&attachment, "emergency").await;
    assert_eq!(levels(&mut stream).await, ["critical", "emergency"]);
}

#[tokio::test]
async fn that_something_was_done_is_told_to_who_was_sent_to_do_it() {
    let (stage, _worker, mut exchanges) = staged(EdgeLimits::default()).await;
    let mut asked = stage.client();
    asked.initialize_with("2025-11-25", json!({"elicitation": {"url": {}}})).await;
    let mut stream = asked.listen().await;
    let attachment = attachment(&mut exchanges).await;
    let (required, mut required_stream) = listening(&stage).await;
    let (_, mut other_stream) = listening(&stage).await;
    let calling = asked.stream(1, "tools/call", json!({"name": "docs__find"}));
    let asking = async {
        let (_, answering) = exchanges.next().await;
        let params =
            r#"{"mode":"url","message":"m","url":"https://x.example/1","elicitationId":"1"}"#;
        let (id, method) = ("a".to_owned(), "elicitation/create".to_owned());
        answering.ask(ServerRequest { id, method, params: params.into() }).await.unwrap();
        answering
    };
    let (mut call, _answering) = tokio::join!(calling, asking);
    assert_eq!(call.message().await["method"], "elicitation/create");
    let calling = required.call("docs__find", json!({}));
    let refusing = async {
        let (_, answering) = exchanges.next().await;
        let error = r#"{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","message":"m","elicitationId":"2","url":"https://x.example/2"}]}}"#;
        let finished = Finished {
            answer: Some(finished::Answer::Error(error.into())),
            outcome: CallOutcome::UpstreamError.into(),
            error_code: -32042,
            ..Finished::default()
        };
        answering.finish(finished).await.unwrap();
    };
    tokio::join!(calling, refusing);
    for id in ["1", "2", "3"] {
        let params = format!(r#"{{"elicitationId":"{id}"}}"#);
        say(&attachment, "elicitation/complete", &params).await;
    }
    log(&attachment, "emergency").await;
    for (stream, id) in [(&mut stream, "1"), (&mut required_stream, "2")] {
        let said = stream.message().await;
        assert_eq!(said["method"], "notifications/elicitation/complete");
        assert_eq!(said["params"]["elicitationId"], id);
    }
    for stream in [&mut stream, &mut required_stream, &mut other_stream] {
        assert_eq!(levels(stream).await, ["emergency"]);
    }
}

#[tokio::test]
async fn a_subscription_waits_for_the_worker_that_takes_the_server_over() {
    let stage = Stage::in_cluster(EdgeLimits::default()).await;
    stage.world.add_with(1, "docs", Isolation::Shared, CAPABILITIES).await;
    let (worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    let (client, mut stream) = listening(&stage).await;
    let first = attachment(&mut exchanges).await;
    let subscribed = json!({"uri": "mcp+docs+file:///a"});
    tokio::join!(client.request("resources/subscribe", subscribed), see_to(&first));
    drop((worker, exchanges, first));
    let subscribing = tokio::spawn({
        let client = client.clone();
        let params = json!({"uri": "mcp+docs+file:///b"});
        async move { client.request("resources/subscribe", params).await }
    });
    let before = stage.line.opened();
    until("it is tried", || stage.line.opened() > before + 1).await;
    assert!(!subscribing.is_finished());
    let (_worker, mut exchanges) = Worker::by_hand(&stage.world, 1).await;
    let second = attachment(&mut exchanges).await;
    let mut wanted = vec![see_to(&second).await, see_to(&second).await];
    wanted.sort_by_key(|change| format!("{change:?}"));
    let expected = ["file:///a", "file:///b"].map(|uri| Change::Subscribe(uri.to_owned()));
    assert_eq!(wanted, expected);
    assert_eq!(soon(subscribing).await.unwrap()["result"], json!({}));
    say(&second, "resources/updated", r#"{"uri":"file:///b"}"#).await;
    assert_eq!(stream.message().await["params"]["uri"], "mcp+docs+file:///b");
}
