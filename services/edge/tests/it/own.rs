//! Servers with a connection for each session.

use backplane::exchange::{Answering, FollowUp};
use bytes::Bytes;
use domain::server::Isolation;
use edge::EdgeLimits;
use proto::internal::v1::{ExchangeKind, ExchangeOpen, ServerRequest};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

use crate::client::Client;
use crate::stage::{Stage, patient, soon};
use crate::worker::{Exchanges, Worker, ok};
use crate::world::catalogue;

async fn staged(first_list_wait: Duration) -> (Stage, Worker, Exchanges) {
    let stage = Stage::with(EdgeLimits { first_list_wait, ..patient() }).await;
    stage.world.add_with(1, "docs", Isolation::Session, "{}").await;
    stage.world.add(2, "time", &["now"]).await;
    let (worker, exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    (stage, worker, exchanges)
}

async fn opened(stage: &Stage) -> Client {
    let mut client = stage.client();
    client.initialize_with("2025-11-25", json!({"roots": {"listChanged": true}})).await;
    client
}

/// The session's name, and its attachment.
async fn attached(exchanges: &mut Exchanges) -> (String, Answering) {
    let (open, answering) = exchanges.next().await;
    assert_eq!(open.kind(), ExchangeKind::Attachment, "{open:?}");
    (name(&open), answering)
}

fn name(open: &ExchangeOpen) -> String {
    let peer = open.peer.clone().unwrap();
    assert!(!peer.exclusive);
    assert_eq!(peer.capabilities, r#"{"roots":{"listChanged":true}}"#);
    assert_eq!(peer.client_info, r#"{"name":"tester","version":"1"}"#);
    peer.session
}

async fn offer(attachment: &Answering, tools: &[&str]) {
    attachment.catalogue(catalogue("{}", tools).into()).await.unwrap();
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_session_sees_and_calls_what_its_own_connection_offers() {
    let (stage, _worker, mut exchanges) = staged(LONG).await;
    let (one, two) = (opened(&stage).await, opened(&stage).await);
    let listing = one.tools();
    let offering = async {
        let (name, attachment) = attached(&mut exchanges).await;
        offer(&attachment, &["find", "sample"]).await;
        (name, attachment)
    };
    let (tools, (one_name, _one)) = tokio::join!(listing, offering);
    assert_eq!(tools, ["docs__find", "docs__sample", "time__now"]);
    let listing = two.tools();
    let offering = async {
        let (name, attachment) = attached(&mut exchanges).await;
        offer(&attachment, &["other"]).await;
        (name, attachment)
    };
    let (tools, (two_name, _two)) = tokio::join!(listing, offering);
    assert_eq!(tools, ["docs__other", "time__now"]);
    assert_ne!(one_name, two_name);
    // What one sees the other cannot call.
    let answer = two.call("docs__sample", json!({})).await;
    assert_eq!(answer["error"]["code"], -32602);
    let calling = one.call("docs__sample", json!({}));
    let answering = async {
        let (open, answering) = exchanges.next().await;
        assert_eq!(name(&open), one_name);
        answering.finish(ok("{}")).await.unwrap();
    };
    assert_eq!(tokio::join!(calling, answering).0["result"], json!({}));
}

#[tokio::test]
async fn a_connection_that_is_slow_does_not_hold_up_lists_and_its_lists_are_told_later() {
    let (stage, _worker, mut exchanges) = staged(Duration::ZERO).await;
    let (one, two) = (opened(&stage).await, opened(&stage).await);
    let (mut one_stream, mut two_stream) = (one.listen().await, two.listen().await);
    assert_eq!(one.tools().await, ["docs__find", "time__now"]);
    let (_, attachment) = attached(&mut exchanges).await;
    offer(&attachment, &["sample"]).await;
    let changed = one_stream.message().await;
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    assert_eq!(one.tools().await, ["docs__sample", "time__now"]);
    // The same again is no change; another is.
    offer(&attachment, &["sample"]).await;
    offer(&attachment, &["new"]).await;
    assert_eq!(one_stream.message().await, changed);
    assert_eq!(one.tools().await, ["docs__new", "time__now"]);
    // The other session saw nothing of it; what all share, both hear of.
    stage.world.observe_catalogue(2, &[r#"{"name":"zone"}"#.to_owned()]).await;
    assert_eq!(one_stream.message().await, changed);
    assert_eq!(one.tools().await, ["docs__new", "time__zone"]);
    let mut heard = 0;
    let ended = soon(two.builder(Method::DELETE).send());
    // It never asked for a list: nothing of it can be another.
    ended.await.unwrap();
    while let Some(said) = two_stream.next().await {
        heard += usize::from(format!("{said:?}").contains("list_changed"));
    }
    assert!(heard <= 1, "{heard}");
}

#[tokio::test]
async fn a_connection_is_opened_once_and_ends_with_its_session() {
    let (stage, worker, mut exchanges) = staged(Duration::ZERO).await;
    let client = opened(&stage).await;
    assert_eq!(worker.seen(), 0);
    client.tools().await;
    client.tools().await;
    let (_, attachment) = attached(&mut exchanges).await;
    client.request("prompts/list", json!({})).await;
    assert_eq!(worker.seen(), 1);
    soon(client.builder(Method::DELETE).send()).await.unwrap();
    soon(attachment.closed()).await;
}

#[tokio::test]
async fn a_server_may_ask_what_belongs_to_no_call() {
    let (stage, _worker, mut exchanges) = staged(Duration::ZERO).await;
    let client = opened(&stage).await;
    client.tools().await;
    let (_, attachment) = attached(&mut exchanges).await;
    let asks = |id: &str| ServerRequest {
        id: id.to_owned(),
        method: "roots/list".to_owned(),
        params: Bytes::new(),
    };
    // Nobody listens.
    attachment.ask(asks("1")).await.unwrap();
    let Some(FollowUp::Answer { id, answer: Err(_) }) = soon(attachment.next_follow_up()).await
    else {
        panic!("it was not refused");
    };
    assert_eq!(id, "1");
    let mut stream = client.listen().await;
    attachment.ask(asks("2")).await.unwrap();
    let asked = stream.message().await;
    assert_eq!(asked["method"], "roots/list");
    client.answer(&asked, json!({"roots": []})).await;
    let Some(FollowUp::Answer { id, answer }) = soon(attachment.next_follow_up()).await else {
        panic!("no answer");
    };
    assert_eq!((id.as_str(), answer), ("2", Ok(Bytes::from_static(br#"{"roots":[]}"#))));
    client.notify("notifications/roots/list_changed", json!({})).await;
    let Some(FollowUp::Notification(said)) = soon(attachment.next_follow_up()).await else {
        panic!("it was not told");
    };
    assert_eq!(said.method, "notifications/roots/list_changed");
}

#[tokio::test]
async fn a_lost_connection_is_opened_again_and_what_was_seen_stays() {
    let (stage, _worker, mut exchanges) = staged(LONG).await;
    let client = opened(&stage).await;
    let offering = async {
        let (name, attachment) = attached(&mut exchanges).await;
        offer(&attachment, &["sample"]).await;
        (name, attachment)
    };
    let (tools, (name, attachment)) = tokio::join!(client.tools(), offering);
    assert_eq!(tools, ["docs__sample", "time__now"]);
    drop(attachment);
    let (again, _attachment) = attached(&mut exchanges).await;
    assert_eq!(again, name);
    assert_eq!(client.tools().await, ["docs__sample", "time__now"]);
}

#[tokio::test]
async fn shared_servers_cost_nothing_of_it() {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    let (worker, _exchanges) = Worker::by_hand(&stage.world, 1).await;
    let client = stage.opened().await;
    assert_eq!(client.tools().await, ["docs__find"]);
    let _stream = client.listen().await;
    let answer: Value = client.request("ping", json!({})).await;
    assert_eq!(answer["result"], json!({}));
    assert_eq!(worker.seen(), 0);
}
