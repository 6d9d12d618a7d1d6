//! Streamable HTTP: the conversation as it should go.

use mcp::client::{
    ClientOptions, Connected, ConnectionEvent, Frame, Reply, RequestError, RequestOptions, Target,
};
use mcp::{ListKind, Protocol, Revision};
use serde_json::json;

use crate::peer::{
    EventWriter, HttpPeer, call, connect, initialize_result, next_event, sessions, soon,
};

/// Plays the server until the session is open.
async fn open(peer: &mut HttpPeer, session: bool) {
    let post = peer.next_message("initialize").await;
    assert_eq!(post.header("accept"), Some("application/json, text/event-stream"));
    assert_eq!(post.header("mcp-session-id"), None);
    assert_eq!(post.header("x-secret"), Some("canary"));
    let message =
        json!({"jsonrpc": "2.0", "id": post.message["id"], "result": initialize_result()});
    if session {
        let headers = [("content-type", "application/json"), ("mcp-session-id", "s-1")];
        post.reply((headers, message.to_string()));
    } else {
        post.json(&message);
    }
    let note = peer.next_message("notifications/initialized").await;
    assert_eq!(note.header("mcp-session-id"), session.then_some("s-1"));
    assert_eq!(note.header("mcp-protocol-version"), Some("2025-06-18"));
    note.status(202);
}

pub(crate) async fn connected(session: bool) -> (HttpPeer, Connected) {
    let mut peer = HttpPeer::start().await;
    let connected = connected_to(&mut peer, session).await;
    (peer, connected)
}

/// The same with a stream for messages that belong to no request, which is open.
pub(crate) async fn connected_listening() -> (HttpPeer, Connected, EventWriter) {
    let mut peer = HttpPeer::start().await;
    peer.allow_listening();
    let target = Target::StreamableHttp(peer.target("/mcp"));
    let options = sessions();
    let server = async {
        open(&mut peer, true).await;
        let get = peer.next().await;
        assert_eq!(get.header("accept"), Some("text/event-stream"));
        get.stream()
    };
    let (connected, stream) = tokio::join!(connect(target, &options), server);
    (peer, connected.unwrap(), stream)
}

async fn connected_to(peer: &mut HttpPeer, session: bool) -> Connected {
    let target = Target::StreamableHttp(peer.target("/mcp"));
    let options = ClientOptions { max_message_bytes: 100_000, ..sessions() };
    let (connected, ()) = tokio::join!(connect(target, &options), open(peer, session));
    connected.unwrap()
}

#[tokio::test]
async fn a_json_answer_comes_back_byte_for_byte_over_a_kept_connection() {
    let (mut peer, connected) = connected(true).await;
    assert_eq!(connected.connection.hello().protocol, Protocol::Sessions(Revision::V2025_06_18));
    for _ in 0..20 {
        let pending = tokio::spawn(call(&connected.connection, json!({"name": "x"})).reply());
        let post = peer.next_message("tools/call").await;
        assert_eq!(post.header("mcp-session-id"), Some("s-1"));
        assert_eq!(post.header("mcp-protocol-version"), Some("2025-06-18"));
        let id = &post.message["id"];
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{ "n" : 1.00 }}}}"#);
        post.reply(([("content-type", "application/json; charset=utf-8")], body));
        let reply = soon(pending).await.unwrap();
        assert_eq!(reply, Ok(Reply::Result(r#"{ "n" : 1.00 }"#.into())));
    }
    // One for the messages; at most one more for the stream that was refused.
    assert!(peer.connections() <= 2, "{}", peer.connections());
}

#[tokio::test]
async fn answers_as_streams_carry_progress_and_requests_of_the_server() {
    let (mut peer, connected) = connected(false).await;
    for round in 0..10 {
        let params = r#"{"_meta":{"progressToken":"mine"}}"#;
        let options = RequestOptions::default();
        let mut pending = connected.connection.request("tools/call", Some(params.into()), options);
        let server = async {
            let post = peer.next_message("tools/call").await;
            let message = post.message.clone();
            let stream = post.stream();
            stream.raw("id: 1\ndata: \n\n").await;
            stream.message(json!({"jsonrpc": "2.0", "id": message["id"], "method": "ping"})).await;
            let pong = peer.next().await;
            assert_eq!(pong.message, json!({"jsonrpc": "2.0", "id": message["id"], "result": {}}));
            pong.status(202);
            let progress = json!({"progressToken": message["id"], "progress": round});
            let note =
                json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress});
            stream.message(note).await;
            stream.answer(&message, json!({"round": round})).await;
        };
        let client = async {
            let Some(Ok(Frame::Progress(params))) = pending.next().await else {
                panic!("progress")
            };
            assert!(params.windows(6).any(|window| window == b"\"mine\""), "{params:?}");
            let reply = Reply::Result(json!({"round": round}).to_string().into());
            assert_eq!(pending.next().await, Some(Ok(Frame::Reply(reply))));
        };
        soon(async { tokio::join!(server, client) }).await;
    }
    assert!(peer.connections() <= 4, "{}", peer.connections());
}

#[tokio::test]
async fn calls_run_side_by_side() {
    let (mut peer, connected) = connected(false).await;
    let calls: Vec<_> = (0..50)
        .map(|n| tokio::spawn(call(&connected.connection, json!({"n": n})).reply()))
        .collect();
    let mut posts = Vec::new();
    for _ in 0..50 {
        posts.push(peer.next_message("tools/call").await);
    }
    for post in posts.into_iter().rev() {
        let result = json!({"n": post.message["params"]["n"]});
        post.result(result);
    }
    for (n, call) in calls.into_iter().enumerate() {
        let reply = soon(call).await.unwrap();
        assert_eq!(reply, Ok(Reply::Result(json!({"n": n}).to_string().into())));
    }
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_upstream_and_its_stream_closed() {
    let (mut peer, connected) = connected(true).await;
    let mut pending = call(&connected.connection, json!({}));
    let post = tokio::select! {
        post = peer.next_message("tools/call") => post,
        _ = pending.next() => panic!("no answer yet"),
    };
    let id = post.message["id"].clone();
    let stream = post.stream();
    pending.cancel(Some("enough"));
    assert_eq!(soon(pending.next()).await, Some(Err(RequestError::Cancelled)));
    let notice = peer.next_message("notifications/cancelled").await;
    assert_eq!(notice.message["params"], json!({"requestId": id, "reason": "enough"}));
    assert_eq!(notice.header("mcp-session-id"), Some("s-1"));
    notice.status(202);
    stream.closed().await;
}

#[tokio::test]
async fn a_call_that_was_never_sent_is_not_cancelled_upstream() {
    let (mut peer, connected) = connected(false).await;
    let mut pending = call(&connected.connection, json!({}));
    pending.cancel(None);
    assert_eq!(soon(pending.next()).await, Some(Err(RequestError::Cancelled)));
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    peer.next_message("tools/call").await.result(json!({}));
    soon(pending).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_listening_stream_brings_events_and_is_opened_again() {
    let mut peer = HttpPeer::start().await;
    peer.allow_listening();
    let mut connected = connected_to(&mut peer, true).await;
    let get = peer.next().await;
    assert_eq!((get.method.as_str(), get.header("accept")), ("GET", Some("text/event-stream")));
    assert_eq!(get.header("mcp-session-id"), Some("s-1"));
    let stream = get.stream();
    stream.raw("id: 41\nretry: 1\ndata: \n\n").await;
    stream.message(json!({"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"})).await;
    let event = next_event(&mut connected.events).await;
    assert_eq!(event, ConnectionEvent::ListChanged(ListKind::Prompts));
    drop(stream);
    let again = peer.next().await;
    assert_eq!((again.method.as_str(), again.header("last-event-id")), ("GET", Some("41")));
    // The session lives through it.
    assert_eq!(connected.connection.close_cause(), None);
}

#[tokio::test]
async fn closing_deletes_the_session() {
    let (mut peer, connected) = connected(true).await;
    let closing = tokio::spawn(async move { connected.connection.close().await });
    let delete = peer.next().await;
    assert_eq!((delete.method.as_str(), delete.header("mcp-session-id")), ("DELETE", Some("s-1")));
    delete.status(200);
    soon(closing).await.unwrap();
}
