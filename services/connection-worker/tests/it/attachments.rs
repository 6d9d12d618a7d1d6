//! What upstreams say outside of calls, to those who listen.

use std::path::Path;

use backplane::exchange::{Exchange, Frame};
use bytes::Bytes;
use domain::ServerId;
use domain::connection::ConnectionState;
use domain::event::ServerEvent;
use domain::server::{Isolation, Transport};
use fixtures::Upstream;
use proto::internal::v1::interest::Change;
use proto::internal::v1::{Interest, Notification, Peer, finished};
use serde_json::{Value, json};

use crate::stage::{
    self, LIMIT, Stage, at, attachment, conformance, finish, next, of_peer, peer, question, result,
};

const URI: &str = "test://watched-resource";

fn nobody() -> Peer {
    Peer { session: String::new(), ..peer("", &json!({})) }
}

async fn attached(stage: &Stage, server: ServerId, peer: &Peer) -> Exchange {
    stage.open(server, &attachment(server, peer)).await
}

/// Changes an interest and waits until that is done: with the upstream's error, if any. What is
/// told meanwhile is passed over.
async fn want(exchange: &Exchange, id: u64, change: Change) -> Bytes {
    exchange.interest(Interest { id, change: Some(change) }).await.unwrap();
    loop {
        if let Frame::InterestDone(done) = next(exchange).await {
            assert_eq!(done.id, id);
            return done.error;
        }
    }
}

async fn told(exchange: &Exchange, method: &str) -> Notification {
    loop {
        match next(exchange).await {
            Frame::Notification(said) if said.method == method => return said,
            Frame::Finished(finished) => panic!("it ended: {finished:?}"),
            _ => {}
        }
    }
}

async fn update(stage: &Stage, server: ServerId, peer: &Peer) {
    let open = stage::open(server, "test_update_resource", json!({"uri": URI}));
    finish(&stage.open(server, &of_peer(open, peer)).await).await;
}

/// Ends the upstream's process.
async fn kill(stage: &Stage, server: ServerId, peer: &Peer) {
    let open = of_peer(stage::open(server, "test_client", json!({})), peer);
    let (_, finished) = finish(&stage.open(server, &open).await).await;
    let pid = result(&finished)["structuredContent"]["pid"].as_i64().unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

async fn stdio(stage: &Stage, era: &str, isolation: Isolation) -> ServerId {
    let (transport, launch) = conformance(&["--era", era]);
    let server =
        stage.register_with(transport, launch, |config| config.isolation = isolation).await;
    stage.until_state(server, ConnectionState::Active).await;
    server
}

fn subscribe() -> Change {
    Change::Subscribe(URI.to_owned())
}

fn unsubscribe() -> Change {
    Change::Unsubscribe(URI.to_owned())
}

#[tokio::test]
async fn updates_reach_all_who_listen_and_are_asked_for_again_after_a_restart() {
    let stage = Stage::new().await;
    for era in ["sessions", "stateless"] {
        let server = stdio(&stage, era, Isolation::Shared).await;
        let (one, other) =
            (attached(&stage, server, &nobody()).await, attached(&stage, server, &nobody()).await);
        assert_eq!(want(&one, 1, subscribe()).await, "", "{era}");
        assert_eq!(want(&other, 1, subscribe()).await, "", "{era}");
        update(&stage, server, &nobody()).await;
        for exchange in [&one, &other] {
            let said = told(exchange, "notifications/resources/updated").await;
            let params: Value = serde_json::from_slice(&said.params).unwrap();
            assert_eq!(params["uri"], URI, "{era}");
        }
        kill(&stage, server, &nobody()).await;
        stage.until_state(server, ConnectionState::Failed).await;
        stage.until_state(server, ConnectionState::Active).await;
        // One leaves; the other goes on to be told.
        drop(one);
        assert_eq!(want(&other, 2, subscribe()).await, "", "{era}");
        update(&stage, server, &nobody()).await;
        told(&other, "notifications/resources/updated").await;
    }
}

/// A server with sessions that notes down each line it reads. It refuses what names `refused`, and
/// has an empty answer for all else.
fn noting(notes: &Path, capabilities: &str) -> (Transport, Value) {
    stage::script(&format!(
        r#"while read line; do
             echo "$line" >> {}
             id=$(printf %s "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
             case "$line" in
               *'"initialize"'*) echo '{{"jsonrpc":"2.0","id":'"$id"',"result":{{"protocolVersion":"2025-06-18","capabilities":{capabilities},"serverInfo":{{"name":"x","version":"1"}}}}}}' ;;
               *'"server/discover"'*|*refused*) echo '{{"jsonrpc":"2.0","id":'"$id"',"error":{{"code":-32601,"message":"no"}}}}' ;;
               *'"id":'*) echo '{{"jsonrpc":"2.0","id":'"$id"',"result":{{}}}}' ;;
             esac
           done"#,
        notes.display()
    ))
}

#[tokio::test]
async fn the_last_one_takes_the_subscription_back() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    let (transport, launch) = noting(&notes, r#"{"resources":{"subscribe":true}}"#);
    let server = stage.register(transport, launch).await;
    let count = |method: &str| {
        let notes = std::fs::read_to_string(&notes).unwrap_or_default();
        notes.lines().filter(|line| line.contains(&format!("\"{method}\""))).count()
    };
    let (one, other) =
        (attached(&stage, server, &nobody()).await, attached(&stage, server, &nobody()).await);
    assert_eq!(want(&one, 1, subscribe()).await, "");
    assert_eq!(want(&other, 1, subscribe()).await, "");
    assert_eq!(want(&one, 2, unsubscribe()).await, "");
    assert_eq!((count("resources/subscribe"), count("resources/unsubscribe")), (1, 0));
    // An attachment that ends takes its interests with it.
    drop(other);
    let taken_back = async {
        while count("resources/unsubscribe") < 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, taken_back).await.unwrap();
    assert_eq!(want(&one, 3, subscribe()).await, "");
    assert_eq!(count("resources/subscribe"), 2);
    // What the upstream refuses is told, and is no longer wanted.
    let error = want(&one, 4, Change::Subscribe("x://refused".to_owned())).await;
    assert_eq!(error, r#"{"code":-32601,"message":"no"}"#);
    assert_eq!(want(&one, 5, Change::Unsubscribe("x://refused".to_owned())).await, "");
    assert_eq!(count("resources/unsubscribe"), 1);
    // It has no logging: there is nothing to be told.
    assert_eq!(want(&one, 6, Change::LogLevel("debug".to_owned())).await, "");
    assert_eq!(count("logging/setLevel"), 0);
    let error = want(&one, 7, Change::LogLevel("loud".to_owned())).await;
    assert!(error.starts_with(b"{\"code\":-32602"), "{error:?}");
}

#[tokio::test]
async fn the_upstream_sends_the_most_verbose_logs_and_each_gets_its_own() {
    let stage = Stage::new().await;
    let server = stdio(&stage, "sessions", Isolation::Shared).await;
    let (verbose, quiet) =
        (attached(&stage, server, &nobody()).await, attached(&stage, server, &nobody()).await);
    let level = |level: &str| Change::LogLevel(level.to_owned());
    assert_eq!(want(&quiet, 1, level("error")).await, "");
    assert_eq!(want(&verbose, 1, level("debug")).await, "");
    stage.call(server, "test_tool_with_logging", json!({})).await;
    let mut seen = Vec::new();
    while !seen.contains(&"Tool execution completed".to_owned()) {
        let said = told(&verbose, "notifications/message").await;
        let params: Value = serde_json::from_slice(&said.params).unwrap();
        seen.push(params["data"].as_str().unwrap_or_default().to_owned());
    }
    assert!(seen.contains(&"A detail".to_owned()), "{seen:?}");
    // The next thing that the other one hears is its own.
    assert_eq!(want(&quiet, 2, subscribe()).await, "");
    update(&stage, server, &nobody()).await;
    let Frame::Notification(first) = next(&quiet).await else { panic!("nothing told") };
    assert_eq!(first.method, "notifications/resources/updated");
}

#[tokio::test]
async fn a_session_learns_what_its_own_connection_offers_and_is_asked_over_it() {
    let stage = Stage::new().await;
    let server = stdio(&stage, "sessions", Isolation::Session).await;
    let client = peer("one", &json!({"roots": {}}));
    let attached = attached(&stage, server, &client).await;
    let Frame::Catalogue(first) = next(&attached).await else { panic!("no catalogue") };
    let first = mcp::Catalogue::from_json(&first.catalogue).unwrap();
    let tools = first.items(mcp::ListKind::Tools).len();
    assert!(tools > 10);
    // A change on its own connection, which nobody else sees.
    let change = of_peer(stage::open(server, "test_trigger_tool_change", json!({})), &client);
    finish(&stage.open(server, &change).await).await;
    let Frame::Catalogue(second) = next(&attached).await else { panic!("no catalogue") };
    let second = mcp::Catalogue::from_json(&second.catalogue).unwrap();
    assert_eq!(second.items(mcp::ListKind::Tools).len(), tools + 1);

    // What belongs to no call is asked over the attachment.
    let ask = of_peer(stage::open(server, "test_ask_outside", json!({})), &client);
    let asking = stage.open(server, &ask).await;
    let asked = question(&attached).await;
    assert_eq!(asked.method, "roots/list");
    attached.answer(&asked.id, Ok(Bytes::from_static(br#"{"roots":[]}"#))).await.unwrap();
    let (_, finished) = finish(&asking).await;
    assert!(matches!(finished.answer, Some(finished::Answer::Result(_))), "{finished:?}");

    // Its process dies: the next one is told what was wanted of it.
    assert_eq!(want(&attached, 1, subscribe()).await, "");
    kill(&stage, server, &client).await;
    let Frame::Catalogue(_) = next(&attached).await else { panic!("no catalogue") };
    assert_eq!(want(&attached, 2, subscribe()).await, "");
    update(&stage, server, &client).await;
    told(&attached, "notifications/resources/updated").await;

    stage.change(server, ServerEvent::Disabled).await;
    let (_, finished) = rest(&attached).await;
    assert_eq!(stage::failure(&finished), ("UPSTREAM_UNAVAILABLE", "the server was stopped"));
}

async fn rest(exchange: &Exchange) -> (usize, proto::internal::v1::Finished) {
    let mut frames = 0;
    loop {
        if let Frame::Finished(finished) = next(exchange).await {
            return (frames, finished);
        }
        frames += 1;
    }
}

#[tokio::test]
async fn a_clients_notification_reaches_its_own_connection() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    let (transport, launch) = noting(&notes, "{}");
    let server = stage
        .register_with(transport, launch, |config| config.isolation = Isolation::Session)
        .await;
    let attached = attached(&stage, server, &peer("one", &json!({"roots": {}}))).await;
    let Frame::Catalogue(_) = next(&attached).await else { panic!("no catalogue") };
    for method in ["notifications/initialized", "notifications/roots/list_changed"] {
        attached.notify(method, Bytes::from_static(b"{\"by\":\"client\"}")).await.unwrap();
    }
    let arrived = async {
        loop {
            let seen = std::fs::read_to_string(&notes).unwrap_or_default();
            if seen.contains("notifications/roots/list_changed") {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    };
    let seen = tokio::time::timeout(LIMIT, arrived).await.unwrap();
    let by_client = seen.lines().filter(|line| line.contains("\"by\":\"client\"")).count();
    assert_eq!(by_client, 1, "{seen}");
}

#[tokio::test]
async fn limits_and_strangers_are_refused() {
    let stage = Stage::with(|config| config.max_attachments = 1).await;
    let server = stdio(&stage, "sessions", Isolation::Shared).await;
    let first = attached(&stage, server, &nobody()).await;
    assert_eq!(want(&first, 1, subscribe()).await, "");
    let (_, refused) = rest(&attached(&stage, server, &nobody()).await).await;
    assert_eq!(stage::failure(&refused).0, "RESOURCE_EXHAUSTED");
    first.cancel("enough").await.unwrap();
    let (_, ended) = rest(&first).await;
    assert_eq!(stage::failure(&ended).0, "CANCELLED");

    let upstream = Upstream::conformance(["--era", "sessions"]).unwrap();
    let other = stage.register(Transport::StreamableHttp(at(&upstream.mcp_url())), json!({})).await;
    let mut foreign = attachment(other, &nobody());
    foreign.project = "another".to_owned();
    let (_, refused) = rest(&stage.open(other, &foreign).await).await;
    assert_eq!(stage::failure(&refused).0, "NOT_FOUND");
}

#[tokio::test]
async fn an_interest_in_a_server_that_is_down_is_refused_at_once() {
    let stage = Stage::new().await;
    let (transport, launch) = stage::script("exit 5");
    let server = stage.register(transport, launch).await;
    stage.until_state(server, ConnectionState::Failed).await;
    let attached = attached(&stage, server, &nobody()).await;
    let error = want(&attached, 1, subscribe()).await;
    let error: Value = serde_json::from_slice(&error).unwrap();
    assert_eq!(error["message"], "exited with status 5 before initialize");
}
