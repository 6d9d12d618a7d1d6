//! Legacy SSE: the stream, its endpoint, and everything that may be wrong with them.

use std::time::Duration;

use bytes::Bytes;
use mcp::client::{
    ClientOptions, CloseCause, ConnectError, Connected, ConnectionEvent, Frame, Reply,
    RequestError, RequestOptions, SendFailure, Stage, Target, Transport,
};
use serde_json::json;

use crate::peer::{
    EventWriter, HttpPeer, call, connect, initialize_result, next_event, sessions, shown, soon,
};

/// Plays the server until the session is open.
async fn open(peer: &mut HttpPeer) -> EventWriter {
    let get = peer.next().await;
    assert_eq!((get.method.as_str(), get.uri.path()), ("GET", "/sse"));
    assert_eq!(get.header("accept"), Some("text/event-stream"));
    assert_eq!(get.header("x-secret"), Some("canary"));
    let stream = get.stream();
    stream.raw("event: endpoint\r\ndata: /messages/?session_id=abc\r\n\r\n").await;
    let post = peer.next_message("initialize").await;
    assert_eq!(post.uri, "/messages/?session_id=abc");
    assert_eq!(post.header("x-secret"), Some("canary"));
    assert_eq!(post.header("content-type"), Some("application/json"));
    stream.answer(&post.message, initialize_result()).await;
    post.status(202);
    peer.next_message("notifications/initialized").await.status(202);
    stream
}

async fn connected() -> (HttpPeer, EventWriter, Connected) {
    let mut peer = HttpPeer::start().await;
    let target = Target::Sse(peer.target("/sse"));
    let options = sessions();
    let (connected, stream) = tokio::join!(connect(target, &options), open(&mut peer));
    (peer, stream, connected.unwrap())
}

#[tokio::test]
async fn calls_go_to_the_endpoint_and_answers_come_over_the_stream() {
    let (mut peer, stream, connected) = connected().await;
    assert!(connected.connection.setup_times().established > Duration::ZERO);
    let params = r#"{"name":"x","_meta":{"progressToken":"t"}}"#;
    let mut pending =
        connected.connection.request("tools/call", Some(params.into()), RequestOptions::default());
    let server = async {
        let post = peer.next_message("tools/call").await;
        let token = post.message["id"].clone();
        let note = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token}});
        stream.message(note).await;
        stream.raw(": keep-alive\n\n").await;
        // An answer in two `data` lines, cut in the middle of one.
        let id = &post.message["id"];
        stream.raw(&format!("data: {{\"jsonrpc\":\"2.0\",\ndata: \"id\":{id},\"resu")).await;
        stream.raw("lt\":{\"ok\": true}}\n\n").await;
        post.status(202);
    };
    let client = async {
        let first = pending.next().await;
        assert_eq!(first, Some(Ok(Frame::Progress(r#"{"progressToken":"t"}"#.into()))));
        let second = pending.next().await;
        let reply = Reply::Result(Bytes::from_static(b"{\"ok\": true}"));
        assert_eq!(second, Some(Ok(Frame::Reply(reply))));
    };
    soon(async { tokio::join!(server, client) }).await;
}

#[tokio::test]
async fn posts_share_one_connection() {
    let (mut peer, stream, connected) = connected().await;
    for n in 0..10 {
        let server = async {
            let post = peer.next_message("tools/call").await;
            stream.answer(&post.message, json!({"n": n})).await;
            post.status(202);
        };
        let call = call(&connected.connection, json!({})).reply();
        let ((), reply) = soon(async { tokio::join!(server, call) }).await;
        reply.unwrap();
    }
    // One for the stream; one, or two where a POST was still being read, for the messages.
    assert!((2..=3).contains(&peer.connections()), "{}", peer.connections());
}

#[tokio::test]
async fn a_lost_stream_ends_the_connection_and_is_not_opened_again() {
    let (mut peer, stream, mut connected) = connected().await;
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    peer.next_message("tools/call").await.status(202);
    drop(stream);
    let error = soon(pending).await.unwrap().unwrap_err();
    assert!(matches!(error, RequestError::Unknown(SendFailure::Closed(_))), "{error:?}");
    let event = next_event(&mut connected.events).await;
    assert!(matches!(event, ConnectionEvent::Closed(CloseCause::Ended)), "{event:?}");
    let later = soon(call(&connected.connection, json!({})).reply()).await.unwrap_err();
    assert!(!later.may_have_run());
    assert!(!peer.has_more(), "nothing is sent after the end");
}

#[tokio::test]
async fn closing_drops_the_stream() {
    let (_peer, stream, connected) = connected().await;
    connected.connection.close().await;
    stream.closed().await;
}

#[tokio::test]
async fn a_post_to_a_forgotten_session_ends_the_connection() {
    let (mut peer, _stream, connected) = connected().await;
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    peer.next_message("tools/call").await.status(404);
    let error = soon(pending).await.unwrap().unwrap_err();
    assert!(!error.may_have_run(), "{error:?}");
    assert_eq!(soon(connected.connection.closed()).await, CloseCause::SessionEnded);
}

#[tokio::test]
async fn a_refused_post_is_unsent_and_a_failed_one_is_unknown() {
    let (mut peer, _stream, connected) = connected().await;
    for (status, text, may_have_run) in [
        (401, "HTTP 401: Unauthorized", false),
        (429, "HTTP 429: Too Many Requests", false),
        (302, "HTTP 302: Found", false),
        (500, "HTTP 500: Internal Server Error", true),
    ] {
        let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
        peer.next_message("tools/call").await.status(status);
        let error = soon(pending).await.unwrap().unwrap_err();
        assert_eq!((error.to_string().as_str(), error.may_have_run()), (text, may_have_run));
    }
    assert!(!peer.has_more(), "nothing is sent twice");
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_and_any_other_is_not() {
    let (mut peer, stream, connected) = connected().await;
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    peer.next_message("tools/call").await.redirect(307, "/elsewhere");
    let post = peer.next_message("tools/call").await;
    assert_eq!((post.uri.path(), post.header("x-secret")), ("/elsewhere", Some("canary")));
    stream.answer(&post.message, json!({})).await;
    post.status(202);
    soon(pending).await.unwrap().unwrap();

    let mut other = HttpPeer::start().await;
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    let elsewhere = format!("http://{}/steal", other.address);
    peer.next_message("tools/call").await.redirect(307, &elsewhere);
    let error = soon(pending).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "HTTP 307: Temporary Redirect");
    assert!(!other.has_more() && other.connections() == 0);
}

/// Connects while the server answers the GET as it is told to.
async fn refused(answer: impl AsyncFnOnce(crate::peer::HttpRequest)) -> (HttpPeer, ConnectError) {
    let mut peer = HttpPeer::start().await;
    let target = Target::Sse(peer.target("/any/path?token=canary"));
    let options = ClientOptions { connect_timeout: Duration::from_millis(300), ..sessions() };
    let server = async { answer(peer.next().await).await };
    let (connected, ()) = tokio::join!(connect(target, &options), server);
    let error = connected.unwrap_err();
    assert_eq!(error.stage(), Stage::Connect);
    let text = format!("{error} {error:?}");
    assert!(!text.contains("canary") && !text.contains("token"), "{text}");
    (peer, error)
}

#[tokio::test]
async fn each_way_to_fail_has_its_own_text() {
    let (_, error) = refused(async |get| get.status(401)).await;
    assert_eq!(error.to_string(), "HTTP 401: Unauthorized");

    let (_, error) = refused(async |get| get.json(&json!({}))).await;
    assert_eq!(error, ConnectError::NotAnEventStream);

    let (_, error) = refused(async |get| drop(get.stream())).await;
    assert!(
        matches!(error, ConnectError::Unreachable { transport: Transport::Sse, .. }),
        "{error}"
    );

    let timeout = "Failed to connect to SSE server: Connection timeout";
    // A server that takes the connection and says nothing.
    let mut held = None;
    let (_, error) = refused(async |get| held = Some(get)).await;
    assert_eq!(error.to_string(), timeout);
    // A stream that never names its endpoint.
    let mut stream = None;
    let (_, error) = refused(async |get| stream = Some(get.stream())).await;
    assert_eq!(error.to_string(), timeout);
    drop((held, stream));
}

#[tokio::test]
async fn a_refused_connection_is_unreachable_and_tells_no_secret() {
    let peer = HttpPeer::start().await;
    let mut target = peer.target("/sse?token=canary");
    let shown = shown(&target);
    assert!(!shown.contains("canary") && shown.contains("x-secret"), "{shown}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    target.url.set_port(Some(closed.port())).unwrap();
    let error = connect(Target::Sse(target), &sessions()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("Failed to connect to SSE server: "), "{text}");
    assert!(text.contains("refused") && !text.contains("canary"), "{text}");
}

#[tokio::test]
async fn an_endpoint_at_another_origin_gets_nothing() {
    let mut thief = HttpPeer::start().await;
    let elsewhere = format!("http://{}/steal", thief.address);
    let mut streams = Vec::new();
    let (_, error) = refused(async |get| {
        let stream = get.stream();
        stream.raw(&format!("event: endpoint\ndata: {elsewhere}\n\n")).await;
        streams.push(stream);
    })
    .await;
    assert!(matches!(error, ConnectError::EndpointRefused(_)), "{error:?}");
    let (_, error) = refused(async |get| get.redirect(307, &elsewhere)).await;
    assert_eq!(error.to_string(), "HTTP 307: Temporary Redirect");
    assert!(!thief.has_more() && thief.connections() == 0);
}
