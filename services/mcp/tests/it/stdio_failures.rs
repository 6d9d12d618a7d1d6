//! Over pipes: what goes wrong, and what the caller can tell from it.

use std::time::Duration;

use mcp::client::{
    ClientOptions, CloseCause, ConnectError, ConnectionEvent, Connector, Frame, RequestError,
    RequestOptions, SendFailure, Stage,
};
use serde_json::{Value, json};

use crate::peer::{Peer, call, next_event, sessions, soon};

async fn connect_with(answer: impl AsyncFnOnce(Peer, Value)) -> ConnectError {
    let (mut peer, target) = Peer::new(4096);
    let options = ClientOptions { initialize_timeout: Duration::from_millis(300), ..sessions() };
    let connector = Connector::new();
    let server = async {
        let request = peer.read().await;
        answer(peer, request).await;
    };
    let (connected, ()) = tokio::join!(connector.connect(target, &options), server);
    let error = connected.unwrap_err();
    assert_eq!(error.stage(), Stage::Initialize);
    error
}

#[tokio::test]
async fn each_way_to_fail_at_initialize_has_its_own_cause() {
    let ended = connect_with(async |peer, _| drop(peer)).await;
    assert_eq!(ended, ConnectError::Closed(CloseCause::Ended));

    let refused = connect_with(async |mut peer, request| {
        let error = json!({"code": -32000, "message": "no key"});
        peer.write(json!({"jsonrpc": "2.0", "id": request["id"], "error": error})).await;
    });
    let message = "no key".to_owned();
    assert_eq!(refused.await, ConnectError::Refused { code: -32000, message });

    let version = connect_with(async |mut peer, request| {
        peer.answer(&request, json!({"protocolVersion": "1999-01-01"})).await;
    });
    assert_eq!(version.await, ConnectError::UnsupportedRevision("1999-01-01".into()));

    for answer in [json!({"id": 1, "result": {}}), json!({"jsonrpc": "2.0", "id": 1, "result": {}})]
    {
        let invalid = connect_with(async |mut peer, _| peer.write(answer).await).await;
        assert_eq!(invalid, ConnectError::InvalidResponse);
        assert_eq!(invalid.to_string(), "Invalid JSON-RPC 2.0 response");
    }

    // A peer that keeps its pipes open and says nothing.
    let (silent, target) = Peer::new(4096);
    let options = ClientOptions { initialize_timeout: Duration::from_millis(50), ..sessions() };
    let error = soon(Connector::new().connect(target, &options)).await.unwrap_err();
    assert_eq!(error, ConnectError::InitializeTimeout);
    drop(silent);
}

#[tokio::test]
async fn a_server_that_exits_leaves_sent_requests_unknown_and_later_ones_unsent() {
    let (mut peer, mut connected) = Peer::connected(sessions()).await;
    let pending = call(&connected.connection, json!({}));
    peer.read().await;
    drop(peer);
    let ended = SendFailure::Closed(CloseCause::Ended);
    let error = soon(pending.reply()).await.unwrap_err();
    assert!(error.may_have_run());
    assert!(matches!(error, RequestError::Unknown(SendFailure::Closed(_))), "{error:?}");
    let cause = soon(connected.connection.closed()).await;
    assert_eq!(next_event(&mut connected.events).await, ConnectionEvent::Closed(cause.clone()));
    assert_eq!(soon(connected.events.next()).await, None);
    let later = soon(call(&connected.connection, json!({})).reply()).await.unwrap_err();
    assert!(!later.may_have_run());
    assert!(matches!(later, RequestError::NotSent(SendFailure::Closed(_))), "{later:?}");
    assert!(cause == CloseCause::Ended || matches!(cause, CloseCause::Broken(_)), "{ended:?}");
}

#[tokio::test]
async fn requests_that_never_reached_the_pipe_are_known_as_unsent() {
    let (mut peer, target) = Peer::new(256);
    let connector = Connector::new();
    let options = sessions();
    let (connected, ()) = tokio::join!(connector.connect(target, &options), peer.initialize());
    let connection = connected.unwrap().connection;
    // Nobody reads: the first ones fill the pipe, the rest stay with us.
    let pad = "x".repeat(64 * 1024);
    let pending: Vec<_> = (0..400).map(|_| call(&connection, json!({"pad": pad}))).collect();
    let replies = pending.into_iter().map(mcp::client::Pending::reply);
    let all = tokio::spawn(futures::future::join_all(replies));
    // The writing task has taken something once part of a message is in the pipe.
    soon(peer.read_some()).await;
    drop(peer);
    let errors: Vec<_> = soon(all).await.unwrap().into_iter().map(Result::unwrap_err).collect();
    let unknown = errors.iter().filter(|error| error.may_have_run()).count();
    assert!((1..=2).contains(&unknown), "{unknown}");
    assert_eq!(errors.len(), 400);
}

#[tokio::test]
async fn too_many_requests_are_refused_before_they_are_sent() {
    let options = ClientOptions { max_in_flight: 2, ..sessions() };
    let (mut peer, connected) = Peer::connected(options).await;
    let first = call(&connected.connection, json!({}));
    let _second = call(&connected.connection, json!({}));
    let third = soon(call(&connected.connection, json!({})).reply()).await;
    assert_eq!(third, Err(RequestError::NotSent(SendFailure::Busy)));
    let request = peer.read().await;
    peer.answer(&request, json!({})).await;
    soon(first.reply()).await.unwrap();
    let _fourth = call(&connected.connection, json!({}));
    peer.read().await;
    peer.read().await;
}

#[tokio::test]
async fn a_request_without_a_sign_of_life_times_out_and_is_cancelled_upstream() {
    let (mut peer, connected) = Peer::connected(sessions()).await;
    let options = RequestOptions {
        read_timeout: Some(Duration::from_millis(100)),
        ..RequestOptions::default()
    };
    let params = Some(r#"{"_meta":{"progressToken":1}}"#.into());
    let mut pending = connected.connection.request("tools/call", params, options);
    let request = peer.read().await;
    let id = request["id"].clone();
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": id, "progress": 1}});
    peer.write(progress).await;
    assert!(matches!(soon(pending.next()).await, Some(Ok(Frame::Progress(_)))));
    let start = std::time::Instant::now();
    assert_eq!(soon(pending.next()).await, Some(Err(RequestError::Timeout)));
    assert!(start.elapsed() >= Duration::from_millis(90), "progress is a sign of life");
    let notice = peer.read().await;
    assert_eq!(notice["method"], "notifications/cancelled");
    assert_eq!(notice["params"]["requestId"], id);
}

#[tokio::test]
async fn output_that_is_no_message_is_reported_and_harms_nothing() {
    let options = ClientOptions { max_message_bytes: 2000, ..sessions() };
    let (mut peer, mut connected) = Peer::connected(options).await;
    let pending = call(&connected.connection, json!({}));
    let request = peer.read().await;
    for line in ["Server started!", "[info] listening", "{broken", "{\"a\":1}"] {
        peer.write_line(line).await;
        let event = next_event(&mut connected.events).await;
        assert_eq!(event, ConnectionEvent::Noise(line.into()));
    }
    peer.write_line(&"x".repeat(5000)).await;
    let event = next_event(&mut connected.events).await;
    assert_eq!(event, ConnectionEvent::Noise("a line longer than 2000 bytes".into()));
    peer.answer(&request, json!({})).await;
    soon(pending.reply()).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_no_response_fails_its_own_request_only() {
    let (mut peer, connected) = Peer::connected(sessions()).await;
    let bad = call(&connected.connection, json!({}));
    let good = call(&connected.connection, json!({}));
    let (first, second) = (peer.read().await, peer.read().await);
    peer.write(json!({"jsonrpc": "2.0", "id": first["id"], "result": {}, "error": {}})).await;
    let error = soon(bad.reply()).await.unwrap_err();
    assert_eq!(error, RequestError::InvalidResponse);
    assert_eq!(error.to_string(), "Invalid JSON-RPC 2.0 response");
    peer.answer(&second, json!({})).await;
    soon(good.reply()).await.unwrap();
}

#[tokio::test]
async fn parameters_that_cannot_be_rewritten_safely_are_refused() {
    let (_peer, connected) = Peer::connected(sessions()).await;
    let params = r#"{"_meta":{"progressToken":1},"_meta":{"progressToken":2}}"#;
    let options = RequestOptions::default();
    let pending = connected.connection.request("tools/call", Some(params.into()), options);
    let refused = RequestError::NotSent(SendFailure::Parameters);
    assert_eq!(soon(pending.reply()).await, Err(refused));
    assert_eq!(connected.connection.in_flight(), 0);
}
