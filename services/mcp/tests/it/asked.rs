//! What a server with sessions asks of its client, and streams that break on the way.

use std::time::Duration;

use bytes::Bytes;
use mcp::client::{
    ClientOptions, CloseCause, Connected, ConnectionEvent, Frame, Reply, RequestError,
    RequestOptions, SendFailure, ServerRequest,
};
use mcp::{Id, ListKind};
use serde_json::{Value, json};

use crate::peer::{EventWriter, HttpPeer, Peer, call, next_event, sessions, soon};
use crate::streamable::{connected, connected_listening};

fn sampling(id: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "sampling/createMessage", "params": {"n": 1}})
}

#[tokio::test]
async fn what_is_asked_on_the_stream_of_a_call_belongs_to_it() {
    let (mut peer, connected) = connected(true).await;
    let connection = connected.connection;
    let mut pending = call(&connection, json!({}));
    let server = async {
        let post = peer.next_message("tools/call").await;
        let asked = post.message.clone();
        let stream = post.stream();
        stream.message(sampling(json!("s-1"))).await;
        let answer = peer.next().await;
        assert_eq!(answer.message, json!({"jsonrpc": "2.0", "id": "s-1", "result": {"ok": 1}}));
        assert_eq!(answer.header("mcp-session-id"), Some("s-1"));
        answer.status(202);
        stream.answer(&asked, json!({})).await;
    };
    let client = async {
        let Some(Ok(Frame::Request(request))) = soon(pending.next()).await else { panic!() };
        let params = Some(r#"{"n":1}"#.into());
        let (id, method) = (Id::string("s-1"), "sampling/createMessage".to_owned());
        assert_eq!(request, ServerRequest { id: id.clone(), method, params });
        connection.respond(&id, Ok(r#"{"ok":1}"#.into())).await.unwrap();
        // Answered once: this one is dropped.
        connection.respond(&id, Ok("{}".into())).await.unwrap();
        soon(pending.next()).await
    };
    let (end, ()) = tokio::join!(client, server);
    assert_eq!(end, Some(Ok(Frame::Reply(Reply::Result("{}".into())))));
    assert!(!peer.has_more());
}

#[tokio::test]
async fn what_is_asked_of_somebody_who_only_waits_is_refused() {
    let (mut peer, connected) = connected(false).await;
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    let post = peer.next_message("tools/call").await;
    let asked = post.message.clone();
    let stream = post.stream();
    stream.message(sampling(json!(5))).await;
    let refusal = peer.next().await;
    assert_eq!(refusal.message["id"], 5);
    assert_eq!(refusal.message["error"]["code"], -32601);
    refusal.status(202);
    stream.answer(&asked, json!({})).await;
    assert_eq!(soon(pending).await.unwrap(), Ok(Reply::Result("{}".into())));
}

#[tokio::test]
async fn as_long_as_the_server_waits_for_us_its_silence_is_no_timeout() {
    let options = ClientOptions { capabilities: r#"{"sampling":{}}"#.into(), ..sessions() };
    let (mut peer, Connected { connection, mut events }) = Peer::connected(options).await;
    let patience = Duration::from_millis(50);
    let options = RequestOptions { read_timeout: Some(patience), ..RequestOptions::default() };
    let mut pending = connection.request("tools/call", None, options);
    peer.read().await;
    peer.write(sampling(json!(1))).await;
    let ConnectionEvent::Request(request) = next_event(&mut events).await else { panic!() };
    let waited = tokio::time::timeout(6 * patience, pending.next()).await;
    assert!(waited.is_err(), "{waited:?}");
    connection.respond(&request.id, Ok("{}".into())).await.unwrap();
    assert_eq!(peer.read().await, json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    assert_eq!(soon(pending.next()).await, Some(Err(RequestError::Timeout)));
}

#[tokio::test]
async fn a_request_that_the_server_takes_back_is_said_and_not_answered() {
    let (mut peer, Connected { connection, mut events }) = Peer::connected(sessions()).await;
    peer.write(sampling(json!(1))).await;
    let cancelled = json!({"requestId": 1, "reason": "late"});
    let method = "notifications/cancelled";
    peer.write(json!({"jsonrpc": "2.0", "method": method, "params": cancelled})).await;
    let ConnectionEvent::Request(request) = next_event(&mut events).await else { panic!() };
    let event = next_event(&mut events).await;
    assert_eq!(event, crate::peer::note(method, &cancelled.to_string()));
    connection.respond(&request.id, Ok("{}".into())).await.unwrap();
    connection.notify("notifications/mark", None).await.unwrap();
    assert_eq!(peer.read().await["method"], "notifications/mark");
}

#[tokio::test]
async fn nobody_listening_is_an_answer_too() {
    let (mut peer, Connected { connection, events }) = Peer::connected(sessions()).await;
    drop(events);
    peer.write(sampling(json!(1))).await;
    assert_eq!(peer.read().await["error"]["code"], -32603);
    drop(connection);
}

#[tokio::test]
async fn what_is_asked_on_the_listening_stream_is_an_event() {
    let (mut peer, connected, stream) = connected_listening().await;
    let Connected { connection, mut events } = connected;
    stream.message(sampling(json!(0))).await;
    let ConnectionEvent::Request(request) = next_event(&mut events).await else { panic!() };
    let respond = connection.respond(&request.id, Err(Bytes::from_static(b"{\"code\":-1}")));
    let server = async {
        let answer = peer.next().await;
        assert_eq!(answer.message, json!({"jsonrpc": "2.0", "id": 0, "error": {"code": -1}}));
        answer.status(202);
    };
    assert_eq!(tokio::join!(respond, server).0, Ok(()));
    let status = json!({"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": {}});
    stream.message(status).await;
    let event = next_event(&mut events).await;
    assert_eq!(event, crate::peer::note("notifications/tasks/status", "{}"));
}

#[tokio::test]
async fn interests_are_told_in_requests_and_logging_only_where_there_is_some() {
    let (mut peer, Connected { connection, .. }) = Peer::connected(sessions()).await;
    // The peer declares no logging: nothing is sent.
    soon(connection.set_log_level("debug")).await.unwrap();
    let server = async {
        let asked = peer.read().await;
        assert_eq!(asked["method"], "resources/subscribe");
        assert_eq!(asked["params"], json!({"uri": "a:\"b"}));
        peer.answer(&asked, json!({})).await;
        let asked = peer.read().await;
        assert_eq!(asked["method"], "resources/unsubscribe");
        let error = json!({"code": -32602, "message": "unknown"});
        peer.write(json!({"jsonrpc": "2.0", "id": asked["id"], "error": error})).await;
    };
    let client = async {
        let subscribed = connection.subscribe("a:\"b").await;
        (subscribed, connection.unsubscribe("a:\"b").await)
    };
    let (done, ()) = tokio::join!(soon(client), server);
    assert_eq!(done.0, Ok(()));
    assert!(matches!(done.1, Err(mcp::client::InterestError::Refused(_))));
}

#[tokio::test]
async fn batches_are_read_wherever_they_come() {
    let (mut peer, connected) = connected(false).await;
    for as_stream in [true, false] {
        let mut pending = call(&connected.connection, json!({}));
        let server = async {
            let post = peer.next_message("tools/call").await;
            let asked = post.message.clone();
            let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}});
            let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"n": 1}});
            let batch = json!([log, sampling(json!(1)), answer]);
            if as_stream {
                post.stream().message(batch).await;
            } else {
                post.json(&batch);
            }
        };
        let client = async {
            let mut frames = Vec::new();
            while let Some(frame) = soon(pending.next()).await {
                frames.push(frame.unwrap());
            }
            frames
        };
        let (frames, ()) = tokio::join!(client, server);
        assert!(
            matches!(
                frames.as_slice(),
                [Frame::Notification { .. }, Frame::Request(_), Frame::Reply(_)]
            ),
            "{frames:?}"
        );
    }
}

/// A call whose stream breaks once it has begun with this.
async fn broken_off(peer: &mut HttpPeer, begin: &str) -> Value {
    let post = peer.next_message("tools/call").await;
    let asked = post.message.clone();
    let stream: EventWriter = post.stream();
    stream.raw(begin).await;
    asked
}

#[tokio::test]
async fn an_answer_whose_stream_broke_comes_by_its_last_event_and_the_call_ran_once() {
    let (mut peer, connected, _listening) = connected_listening().await;
    let params = json!({"_meta": {"progressToken": "p"}});
    let mut pending = call(&connected.connection, params);
    let server = async {
        let asked = broken_off(&mut peer, "id: e-1\nretry: 50\ndata: \n\n").await;
        // Twice: the server may close as often as it likes.
        let get = peer.next().await;
        assert_eq!(get.header("last-event-id"), Some("e-1"));
        assert_eq!(get.header("mcp-session-id"), Some("s-1"));
        get.stream().raw("id: e-2\ndata: \n\n").await;
        let get = peer.next().await;
        assert_eq!(get.header("last-event-id"), Some("e-2"));
        let stream = get.stream();
        let progress = json!({"progressToken": asked["id"], "progress": 1});
        let method = "notifications/progress";
        stream.message(json!({"jsonrpc": "2.0", "method": method, "params": progress})).await;
        stream.message(sampling(json!(1))).await;
        stream.answer(&asked, json!({"n": 1})).await;
    };
    let client = async {
        let mut frames = Vec::new();
        while let Some(frame) = soon(pending.next()).await {
            frames.push(frame.unwrap());
        }
        frames
    };
    let (frames, ()) = tokio::join!(client, server);
    let paused = Frame::Paused { retry: Duration::from_millis(50) };
    let Some(([first, second], frames)) = frames.split_first_chunk() else {
        panic!("{frames:?}");
    };
    assert_eq!([first, second], [&paused, &paused]);
    let [Frame::Progress(progress), Frame::Request(_), Frame::Reply(reply)] = frames else {
        panic!("{frames:?}");
    };
    assert_eq!(progress, r#"{"progress":1,"progressToken":"p"}"#);
    assert_eq!(reply, &Reply::Result(r#"{"n":1}"#.into()));
    assert!(!peer.has_more());
}

#[tokio::test]
async fn a_stream_that_broke_and_cannot_be_resumed_leaves_the_outcome_unknown() {
    // Without an id there is nothing to resume by.
    let (mut peer, connected, _listening) = connected_listening().await;
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    broken_off(&mut peer, ": nothing\n\n").await;
    let end = soon(pending).await.unwrap();
    assert!(matches!(end, Err(RequestError::Unknown(SendFailure::Broken(_)))), "{end:?}");
    assert!(!peer.has_more());

    // The server keeps no events.
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    broken_off(&mut peer, "id: 1\nretry: 1\ndata: \n\n").await;
    peer.next().await.status(400);
    let end = soon(pending).await.unwrap();
    assert!(matches!(end, Err(RequestError::Unknown(SendFailure::Broken(_)))), "{end:?}");

    // It gives the same nothing again and again.
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    broken_off(&mut peer, "id: 1\nretry: 1\ndata: \n\n").await;
    for _ in 0..5 {
        let get = peer.next().await;
        assert_eq!(get.header("last-event-id"), Some("1"));
        get.stream().raw(": still nothing\n\n").await;
    }
    let end = soon(pending).await.unwrap();
    assert!(matches!(end, Err(RequestError::Unknown(SendFailure::Broken(_)))), "{end:?}");

    // It does not know the session any more.
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    broken_off(&mut peer, "id: 1\nretry: 1\ndata: \n\n").await;
    peer.next().await.status(404);
    assert!(soon(pending).await.unwrap().unwrap_err().may_have_run());
    assert_eq!(soon(connected.connection.closed()).await, CloseCause::SessionEnded);
}

#[tokio::test]
async fn a_server_that_only_ends_its_streams_has_said_nothing() {
    let (mut peer, connected, _listening) = connected_listening().await;
    let options = RequestOptions {
        read_timeout: Some(Duration::from_millis(300)),
        ..RequestOptions::default()
    };
    let mut pending = connected.connection.request("tools/call", Some("{}".into()), options);
    let server = async {
        broken_off(&mut peer, "id: 0\nretry: 50\ndata: \n\n").await;
        // Always something new to come back for, so that nothing but time ends it.
        for number in 1.. {
            let request = peer.next().await;
            if request.method == "POST" {
                assert_eq!(request.message["method"], "notifications/cancelled");
                return;
            }
            request.stream().raw(&format!("id: {number}\ndata: \n\n")).await;
        }
    };
    let client = async {
        let mut pauses = 0;
        loop {
            match soon(pending.next()).await {
                Some(Ok(Frame::Paused { .. })) => pauses += 1,
                end => break (pauses, end),
            }
        }
    };
    let ((pauses, end), ()) = tokio::join!(client, server);
    assert_eq!(end, Some(Err(RequestError::Timeout)));
    assert!((1..=7).contains(&pauses), "{pauses}");
}

#[tokio::test]
async fn the_listening_stream_is_resumed_and_tells_when_the_session_is_gone() {
    let (mut peer, mut connected, stream) = connected_listening().await;
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    stream.raw(&format!("id: l-1\nretry: 50\ndata: {changed}\n\n")).await;
    drop(stream);
    let event = next_event(&mut connected.events).await;
    assert_eq!(event, ConnectionEvent::ListChanged(ListKind::Tools));
    let get = peer.next().await;
    assert_eq!(get.header("last-event-id"), Some("l-1"));
    get.status(503);
    peer.next().await.status(404);
    assert_eq!(soon(connected.connection.closed()).await, CloseCause::SessionEnded);
}
