//! Over pipes: the conversation as it should go.

use bytes::Bytes;
use mcp::client::{
    ConnectionEvent, Connector, Frame, Reply, RequestError, RequestOptions, SendFailure,
};
use mcp::{ListKind, Protocol, Revision};
use serde_json::{Value, json};

use crate::peer::{Peer, call, next_event, note, sessions, soon};

#[tokio::test]
async fn a_session_opens_with_initialize_and_initialized() {
    let (mut peer, target) = Peer::new(4096);
    let connector = Connector::new();
    let options = sessions();
    let server = async {
        let request = peer.read().await;
        assert_eq!(request["jsonrpc"], "2.0");
        assert_eq!(request["params"]["protocolVersion"], "2025-11-25");
        assert_eq!(request["params"]["capabilities"], json!({}));
        assert_eq!(request["params"]["clientInfo"]["name"], "mcp-orch");
        peer.answer(&request, crate::peer::initialize_result()).await;
        let note = peer.read().await;
        assert_eq!(note, json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    };
    let (connected, ()) = tokio::join!(connector.connect(target, &options), server);
    let connection = connected.unwrap().connection;
    let hello = connection.hello();
    assert_eq!(hello.protocol, Protocol::Sessions(Revision::V2025_06_18));
    assert_eq!(hello.instructions.as_deref(), Some("be kind"));
    assert!(hello.to_catalogue().declares("tools"));
    let times = connection.setup_times();
    assert!(times.established <= times.initialized);
}

#[tokio::test]
async fn a_hundred_calls_at_once_each_get_their_own_answer_in_any_order() {
    let (mut peer, connected) = Peer::connected(sessions()).await;
    let pending: Vec<_> =
        (0..100).map(|n| call(&connected.connection, json!({"name": "echo", "n": n}))).collect();
    assert_eq!(connected.connection.in_flight(), 100);
    let mut requests = Vec::new();
    for _ in 0..100 {
        requests.push(peer.read().await);
    }
    for request in requests.iter().rev() {
        peer.answer(request, json!({"n": request["params"]["n"]})).await;
    }
    for (n, pending) in pending.into_iter().enumerate() {
        let reply = soon(pending.reply()).await.unwrap();
        assert_eq!(reply, Reply::Result(Bytes::from(json!({"n": n}).to_string())));
    }
    assert_eq!(connected.connection.in_flight(), 0);
}

#[tokio::test]
async fn bodies_pass_byte_for_byte_both_ways() {
    let (mut peer, connected) = Peer::connected(sessions()).await;
    let params = r#"{ "name":"x","n":1.0e5 , "big":123456789012345678901,"u":"\u0041\/" }"#;
    let request = connected.connection.request(
        "tools/call",
        Some(Bytes::from_static(params.as_bytes())),
        RequestOptions::default(),
    );
    let line = peer.read_line().await;
    assert!(line.contains(params), "{line}");
    let result = r#"{ "content":[],"z":1.00, "\u0061":null,"structuredContent":[1e3] }"#;
    let id = request.upstream_id();
    peer.write_line(&format!(r#"{{"result":{result} , "jsonrpc":"2.0","id":{id}}}"#)).await;
    assert_eq!(soon(request.reply()).await, Ok(Reply::Result(result.into())));

    let request = call(&connected.connection, json!({}));
    let error = r#"{"code":-32000 ,"message":"m","extra":[1.0]}"#;
    let id = peer.read().await["id"].clone();
    peer.write_line(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)).await;
    assert_eq!(soon(request.reply()).await, Ok(Reply::Error(error.into())));
}

#[tokio::test]
async fn a_pretty_printed_request_is_still_one_line() {
    let (mut peer, connected) = Peer::connected(sessions()).await;
    let params = Bytes::from_static(b"{\n  \"name\": \"x\"\r\n}");
    let pending =
        connected.connection.request("tools/call", Some(params), RequestOptions::default());
    let request = peer.read().await;
    assert_eq!(request["params"], json!({"name": "x"}));
    peer.answer(&request, json!({})).await;
    soon(pending.reply()).await.unwrap();
}

#[tokio::test]
async fn a_request_of_the_server_with_our_id_is_not_taken_for_the_answer() {
    let (mut peer, mut connected) = Peer::connected(sessions()).await;
    let pending = call(&connected.connection, json!({}));
    let request = peer.read().await;
    let id = &request["id"];
    peer.write(json!({"jsonrpc": "2.0", "id": id, "method": "ping"})).await;
    assert_eq!(peer.read().await, json!({"jsonrpc": "2.0", "id": id, "result": {}}));
    let sampling =
        json!({"jsonrpc": "2.0", "id": id, "method": "sampling/createMessage", "params": {}});
    peer.write(sampling).await;
    let ConnectionEvent::Request(asked) = next_event(&mut connected.events).await else {
        panic!("no request");
    };
    assert_eq!(asked.method, "sampling/createMessage");
    assert_eq!(asked.params, Some("{}".into()));
    let refusal = Bytes::from_static(br#"{"code":-1,"message":"User rejected"}"#);
    connected.connection.respond(&asked.id, Err(refusal)).await.unwrap();
    let refusal = peer.read().await;
    assert_eq!((&refusal["id"], &refusal["error"]["code"]), (id, &json!(-1)));
    // An answer under the same digits as a string is not ours either.
    let text = id.to_string();
    peer.write(json!({"jsonrpc": "2.0", "id": text, "result": {"wrong": true}})).await;
    peer.answer(&request, json!({"right": true})).await;
    assert_eq!(soon(pending.reply()).await, Ok(Reply::Result(r#"{"right":true}"#.into())));
}

#[tokio::test]
async fn progress_comes_back_under_the_callers_own_token_and_before_the_answer() {
    let (mut peer, connected) = Peer::connected(sessions()).await;
    let params = r#"{"name":"x","_meta":{"progressToken":"\u0041b","k":1}}"#;
    let mut pending =
        connected.connection.request("tools/call", Some(params.into()), RequestOptions::default());
    let request = peer.read().await;
    let token = request["params"]["_meta"]["progressToken"].clone();
    assert_eq!(token, request["id"]);
    assert_eq!(request["params"]["_meta"]["k"], 1);
    for n in 1..=2 {
        peer.write_line(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{ "progress":{n}.0,"progressToken":{token} }}}}"#
        ))
        .await;
    }
    peer.answer(&request, json!({})).await;
    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 9}});
    peer.write(progress).await;
    for n in 1..=2 {
        let frame = soon(pending.next()).await.unwrap().unwrap();
        let expected = format!(r#"{{ "progress":{n}.0,"progressToken":"\u0041b" }}"#);
        assert_eq!(frame, Frame::Progress(expected.into()));
    }
    assert!(matches!(soon(pending.next()).await, Some(Ok(Frame::Reply(_)))));
    assert_eq!(soon(pending.next()).await, None);
}

#[tokio::test]
async fn a_cancelled_request_is_cancelled_upstream_under_the_upstreams_id() {
    let (mut peer, connected) = Peer::connected(sessions()).await;
    let _first = call(&connected.connection, json!({}));
    let mut pending = call(&connected.connection, json!({}));
    peer.read().await;
    let request = peer.read().await;
    pending.cancel(Some("no \"more\""));
    let notice = peer.read().await;
    assert_eq!(notice["method"], "notifications/cancelled");
    assert_eq!(notice["params"], json!({"requestId": request["id"], "reason": "no \"more\""}));
    assert_eq!(soon(pending.next()).await, Some(Err(RequestError::Cancelled)));
    assert_eq!(soon(pending.next()).await, None);
    // The late answer harms nothing.
    peer.answer(&request, json!({})).await;
    let next = call(&connected.connection, json!({}));
    let request = peer.read().await;
    assert_eq!(request["method"], "tools/call");
    peer.answer(&request, json!({"n": 3})).await;
    assert_eq!(soon(next.reply()).await, Ok(Reply::Result(r#"{"n":3}"#.into())));
    assert_eq!(connected.connection.in_flight(), 1);
}

#[tokio::test]
async fn nothing_is_cancelled_once_the_answer_is_there() {
    let (mut peer, mut connected) = Peer::connected(sessions()).await;
    let mut pending = call(&connected.connection, json!({}));
    let request = peer.read().await;
    peer.answer(&request, json!({"n": 1})).await;
    // What is read after the answer proves that the answer was read.
    peer.write(json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})).await;
    assert_eq!(next_event(&mut connected.events).await, note("notifications/message", "{}"));
    pending.cancel(None);
    assert!(matches!(soon(pending.next()).await, Some(Ok(Frame::Reply(_)))));
    connected.connection.notify("notifications/mark", None).await.unwrap();
    assert_eq!(peer.read().await["method"], "notifications/mark");
}

#[tokio::test]
async fn what_a_server_says_unasked_becomes_events() {
    let (mut peer, mut connected) = Peer::connected(sessions()).await;
    let sent =
        |method: &str, params: Value| json!({"jsonrpc": "2.0", "method": method, "params": params});
    for _ in 0..1000 {
        peer.write(sent("notifications/tools/list_changed", json!({}))).await;
    }
    peer.write(sent("notifications/resources/updated", json!({"uri": "a:b"}))).await;
    let mut tools = 0;
    loop {
        match next_event(&mut connected.events).await {
            ConnectionEvent::ListChanged(ListKind::Tools) => tools += 1,
            other => {
                assert_eq!(other, note("notifications/resources/updated", r#"{"uri":"a:b"}"#));
                break;
            }
        }
    }
    assert!((1..1000).contains(&tools), "{tools}");
    peer.write(sent("notifications/resources/list_changed", json!({}))).await;
    let event = next_event(&mut connected.events).await;
    assert_eq!(event, ConnectionEvent::ListChanged(ListKind::Resources));
}

#[tokio::test]
async fn closing_ends_the_pipe_and_every_request() {
    let (mut peer, connected) = Peer::connected(sessions()).await;
    let pending = call(&connected.connection, json!({}));
    peer.read().await;
    soon(connected.connection.close()).await;
    assert!(matches!(
        soon(pending.reply()).await,
        Err(RequestError::Unknown(SendFailure::Closed(_)))
    ));
    assert!(peer.stdin_ended().await);
    assert!(matches!(
        soon(call(&connected.connection, json!({})).reply()).await,
        Err(RequestError::NotSent(SendFailure::Closed(_)))
    ));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_pipe() {
    let (mut peer, connected) = Peer::connected(sessions()).await;
    drop(connected);
    assert!(peer.stdin_ended().await);
}
