//! Streamable HTTP: what goes wrong, and what the caller can tell from it.

use std::time::Duration;

use mcp::client::{
    ClientOptions, CloseCause, ConnectError, ConnectionEvent, Reply, RequestError, SendFailure,
    Stage, Target,
};
use serde_json::json;

use crate::peer::{HttpPeer, HttpRequest, call, connect, next_event, sessions, soon};
use crate::streamable::connected;

/// The failure of a call that the server answers as it is told to.
async fn failure(answer: impl FnOnce(HttpRequest)) -> RequestError {
    let (mut peer, connected) = connected(false).await;
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    answer(peer.next_message("tools/call").await);
    let error = soon(pending).await.unwrap().unwrap_err();
    assert!(!peer.has_more(), "nothing is sent twice");
    assert_eq!(connected.connection.in_flight(), 0);
    error
}

#[tokio::test]
async fn http_errors_say_whether_the_call_may_have_run() {
    for (status, text, may_have_run) in [
        (400, "HTTP 400: Bad Request", false),
        (401, "HTTP 401: Unauthorized", false),
        (404, "HTTP 404: Not Found", false),
        (500, "HTTP 500: Internal Server Error", true),
        (503, "HTTP 503: Service Unavailable", true),
        (599, "HTTP 599", true),
    ] {
        let error = failure(|post| post.status(status)).await;
        assert_eq!((error.to_string().as_str(), error.may_have_run()), (text, may_have_run));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_may_have_run() {
    // Dropping the request breaks its answer off.
    let error = failure(drop).await;
    assert!(matches!(error, RequestError::Unknown(SendFailure::Broken(_))), "{error:?}");
    let error = failure(|post| drop(post.stream())).await;
    assert!(matches!(error, RequestError::Unknown(SendFailure::Broken(_))), "{error:?}");
}

#[tokio::test]
async fn what_is_no_response_is_named_so() {
    let error = failure(|post| post.json(&json!({"result": 1}))).await;
    assert_eq!(error.to_string(), "Invalid JSON-RPC 2.0 response");
    for body in ["", "nonsense", "[]", r#"{"jsonrpc":"2.0","id":99999,"result":{}}"#] {
        let error =
            failure(|post| post.reply(([("content-type", "application/json")], body))).await;
        assert_eq!(error, RequestError::InvalidResponse, "{body}");
    }
    assert_eq!(failure(|post| post.reply("text")).await, RequestError::InvalidResponse);
    assert_eq!(failure(|post| post.status(202)).await, RequestError::InvalidResponse);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused() {
    let large = json!({"pad": "x".repeat(100_000)});
    let error = failure(|post| post.result(large.clone())).await;
    assert_eq!(error, RequestError::TooLarge(100_000));
    let error = failure(|post| {
        let id = &post.message["id"];
        let body = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{large}}}\n\n");
        post.reply(([("content-type", "text/event-stream")], body));
    })
    .await;
    assert_eq!(error, RequestError::TooLarge(100_000));
}

#[tokio::test]
async fn a_refusal_with_a_json_rpc_error_is_an_answer() {
    let (mut peer, connected) = connected(false).await;
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    let post = peer.next_message("tools/call").await;
    let body = json!({"jsonrpc": "2.0", "id": post.message["id"], "error": {"code": -32602}});
    let headers = [("content-type", "application/json")];
    post.reply((http::StatusCode::BAD_REQUEST, headers, body.to_string()));
    let reply = soon(pending).await.unwrap();
    assert_eq!(reply, Ok(Reply::Error(r#"{"code":-32602}"#.into())));
}

#[tokio::test]
async fn a_session_that_the_server_forgot_ends_the_connection() {
    let (mut peer, mut connected) = connected(true).await;
    let other = tokio::spawn(call(&connected.connection, json!({})).reply());
    let _unanswered = peer.next_message("tools/call").await;
    let pending = tokio::spawn(call(&connected.connection, json!({})).reply());
    peer.next_message("tools/call").await.status(404);
    let error = soon(pending).await.unwrap().unwrap_err();
    assert_eq!(error, RequestError::NotSent(SendFailure::Closed(CloseCause::SessionEnded)));
    assert!(soon(other).await.unwrap().unwrap_err().may_have_run());
    let event = next_event(&mut connected.events).await;
    assert_eq!(event, ConnectionEvent::Closed(CloseCause::SessionEnded));
}

#[tokio::test]
async fn a_server_that_is_gone_got_nothing() {
    let (peer, connected) = connected(false).await;
    let port = peer.address.port();
    drop(peer);
    // Wait until nobody listens there any more.
    soon(async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut errors = Vec::new();
    for _ in 0..3 {
        errors.push(soon(call(&connected.connection, json!({})).reply()).await.unwrap_err());
    }
    // The first may meet the old connection as it breaks; a fresh one is refused.
    assert!(matches!(errors[2], RequestError::NotSent(SendFailure::Unreachable(_))), "{errors:?}");
}

#[tokio::test]
async fn each_way_to_fail_at_initialize_has_its_own_text() {
    let attempt = async |options: ClientOptions, answer: fn(HttpRequest)| {
        let mut peer = HttpPeer::start().await;
        let target = Target::StreamableHttp(peer.target("/mcp?token=canary"));
        let server = async { answer(peer.next().await) };
        let (connected, ()) = tokio::join!(connect(target, &options), server);
        connected.unwrap_err()
    };
    let options = sessions;
    let error = attempt(options(), |post| post.status(401)).await;
    assert_eq!(
        (error.to_string().as_str(), error.stage()),
        ("HTTP 401: Unauthorized", Stage::Connect)
    );
    let error = attempt(options(), |post| post.reply("hello")).await;
    assert_eq!(error.to_string(), "Invalid JSON-RPC 2.0 response");
    let error = attempt(options(), |post| post.result(json!({"protocolVersion": 1}))).await;
    assert_eq!(error, ConnectError::InvalidResponse);
    let short = ClientOptions { initialize_timeout: Duration::from_millis(100), ..sessions() };
    let error = attempt(short, std::mem::forget).await;
    assert_eq!(error, ConnectError::InitializeTimeout);
}

#[tokio::test]
async fn a_wrong_ca_file_is_a_fault_of_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let garbage = directory.path().join("ca.pem");
    std::fs::write(&garbage, "no certificate").unwrap();
    for ca_file in [directory.path().join("absent.pem"), garbage] {
        let peer = HttpPeer::start().await;
        let options = ClientOptions { ca_file: Some(ca_file), ..sessions() };
        let error = connect(Target::Sse(peer.target("/sse")), &options).await.unwrap_err();
        assert!(matches!(error, ConnectError::Configuration(_)), "{error:?}");
        assert_eq!(error.stage(), Stage::Configure);
    }
}

#[tokio::test]
async fn a_configured_proxy_is_used() {
    let mut proxy = HttpPeer::start().await;
    let peer = HttpPeer::start().await;
    let mut target = peer.target("/mcp");
    target.url.set_host(Some("upstream.invalid")).unwrap();
    let url = format!("http://{}", proxy.address).parse().unwrap();
    let options = ClientOptions { proxy: Some(url), ..sessions() };
    let server = async {
        let request = proxy.next().await;
        assert_eq!(request.uri.host(), Some("upstream.invalid"));
        request.status(418);
    };
    let (connected, ()) = tokio::join!(connect(Target::StreamableHttp(target), &options), server);
    assert_eq!(connected.unwrap_err().to_string(), "HTTP 418: I'm a teapot");
}
