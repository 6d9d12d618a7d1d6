//! Requests to a server without sessions.

use bytes::Bytes;
use mcp::ListKind;
use mcp::client::{
    ClientOptions, Connected, Frame, LearnLimits, Reply, RequestError, RequestMeta, RequestOptions,
    Target, learn_catalogue,
};
use serde_json::{Value, json};

use crate::peer::{HttpPeer, Peer, call, connect, discovered, soon};

/// A stateless server over HTTP with these capabilities.
pub(crate) async fn over_http(capabilities: Value) -> (HttpPeer, Connected) {
    let mut peer = HttpPeer::start().await;
    let target = Target::StreamableHttp(peer.target("/mcp"));
    let options = ClientOptions {
        capabilities: Bytes::from_static(br#"{"roots":{}}"#),
        ..ClientOptions::default()
    };
    let server = async {
        peer.next_message("server/discover").await.result(discovered(capabilities));
    };
    let (connected, ()) = tokio::join!(connect(target, &options), server);
    (peer, connected.unwrap())
}

/// The same over pipes.
pub(crate) async fn over_pipes(capabilities: Value) -> (Peer, Connected) {
    let (mut peer, target) = Peer::new(1024 * 1024);
    let options = ClientOptions::default();
    let server = async {
        let asked = peer.read().await;
        peer.answer(&asked, discovered(capabilities)).await;
    };
    let (connected, ()) = tokio::join!(connect(target, &options), server);
    (peer, connected.unwrap())
}

fn meta(message: &Value, key: &str) -> Value {
    message["params"]["_meta"][format!("io.modelcontextprotocol/{key}")].clone()
}

#[tokio::test]
async fn each_request_says_all_of_itself_in_headers_and_meta() {
    let (mut peer, connected) = over_http(json!({"tools": {}, "logging": {}})).await;
    let params = json!({"name": "wörld", "_meta": {"traceparent": "00-1", "progressToken": "t"}});
    let pending = tokio::spawn(call(&connected.connection, params).reply());
    let post = peer.next_message("tools/call").await;
    assert_eq!(post.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(post.header("mcp-method"), Some("tools/call"));
    assert_eq!(post.header("mcp-name"), Some("=?base64?d8O2cmxk?="));
    assert_eq!(post.header("mcp-session-id"), None);
    assert_eq!(post.header("x-secret"), Some("canary"));
    assert_eq!(meta(&post.message, "protocolVersion"), "2026-07-28");
    assert_eq!(meta(&post.message, "clientCapabilities"), json!({"roots": {}}));
    assert_eq!(meta(&post.message, "clientInfo")["name"], "mcp-orch");
    assert_eq!(meta(&post.message, "logLevel"), Value::Null);
    assert_eq!(post.message["params"]["_meta"]["traceparent"], "00-1");
    assert_eq!(post.message["params"]["_meta"]["progressToken"], post.message["id"]);
    post.result(json!({"resultType": "complete"}));
    let reply = soon(pending).await.unwrap().unwrap();
    assert_eq!(reply, Reply::Result(r#"{"resultType":"complete"}"#.into()));
}

#[tokio::test]
async fn what_a_request_says_of_its_client_and_the_wanted_log_level_go_with_it() {
    let (mut peer, connected) = over_http(json!({"logging": {}})).await;
    soon(connected.connection.set_log_level("warning")).await.unwrap();
    let ask = |own: RequestMeta| {
        let options = RequestOptions { meta: own, ..RequestOptions::default() };
        tokio::spawn(connected.connection.request("prompts/list", None, options).reply())
    };
    let first = ask(RequestMeta::default());
    let post = peer.next_message("prompts/list").await;
    assert_eq!(meta(&post.message, "logLevel"), "warning");
    post.result(json!({}));
    let second = ask(RequestMeta {
        capabilities: Some(r#"{"sampling":{}}"#.into()),
        client_info: Some(r#"{"name":"desk"}"#.into()),
        log_level: Some("debug".to_owned()),
    });
    let post = peer.next_message("prompts/list").await;
    assert_eq!(meta(&post.message, "logLevel"), "debug");
    assert_eq!(meta(&post.message, "clientCapabilities"), json!({"sampling": {}}));
    assert_eq!(meta(&post.message, "clientInfo"), json!({"name": "desk"}));
    post.result(json!({}));
    for pending in [first, second] {
        soon(pending).await.unwrap().unwrap();
    }
    assert!(!peer.has_more());
}

#[tokio::test]
async fn messages_on_a_requests_own_stream_belong_to_it_and_come_in_order() {
    let (mut peer, connected) = over_http(json!({})).await;
    let mut pending = call(&connected.connection, json!({"_meta": {"progressToken": 7}}));
    let server = async {
        let post = peer.next_message("tools/call").await;
        let asked = post.message.clone();
        let stream = post.stream();
        let note = |method: &str, params: Value| json!({"jsonrpc": "2.0", "method": method, "params": params});
        for n in 0..3 {
            stream.message(note("notifications/message", json!({"n": n}))).await;
        }
        let progress = json!({"progressToken": asked["id"], "progress": 1});
        stream.message(note("notifications/progress", progress)).await;
        // A stateless server asks for nothing: this is refused.
        stream.message(json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"})).await;
        let refusal = peer.next().await;
        assert_eq!(refusal.message["error"]["code"], -32601);
        refusal.status(202);
        stream.answer(&asked, json!({"n": 1})).await;
    };
    let client = async {
        let mut logs = 0;
        loop {
            match soon(pending.next()).await.unwrap().unwrap() {
                Frame::Notification { method, params } => {
                    assert_eq!(method, "notifications/message");
                    assert_eq!(params, format!("{{\"n\":{logs}}}"));
                    logs += 1;
                }
                Frame::Progress(params) => {
                    assert_eq!(params, r#"{"progress":1,"progressToken":7}"#);
                }
                Frame::Reply(reply) => break (logs, reply),
                other @ (Frame::Request(_) | Frame::Paused { .. }) => panic!("{other:?}"),
            }
        }
    };
    let (got, ()) = tokio::join!(client, server);
    assert_eq!(got, (3, Reply::Result(r#"{"n":1}"#.into())));
}

#[tokio::test]
async fn over_http_cancelling_is_closing_and_nothing_is_posted() {
    let (mut peer, connected) = over_http(json!({})).await;
    let mut pending = call(&connected.connection, json!({"name": "slow"}));
    let stream = tokio::select! {
        frame = pending.next() => panic!("{frame:?}"),
        post = peer.next_message("tools/call") => post.stream(),
    };
    // Until the stream has begun, there is nothing to close.
    stream.raw(": here\n\n").await;
    let frame = tokio::time::timeout(std::time::Duration::from_millis(50), pending.next()).await;
    assert!(frame.is_err());
    pending.cancel(Some("enough"));
    assert_eq!(soon(pending.next()).await, Some(Err(RequestError::Cancelled)));
    stream.closed().await;
    assert!(!peer.has_more());
    assert_eq!(connected.connection.in_flight(), 0);
}

#[tokio::test]
async fn over_pipes_cancelling_is_a_notification() {
    let (mut peer, connected) = over_pipes(json!({})).await;
    let mut pending = call(&connected.connection, json!({"name": "slow"}));
    let asked = peer.read().await;
    assert_eq!(meta(&asked, "protocolVersion"), "2026-07-28");
    pending.cancel(None);
    let cancelled = peer.read().await;
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], asked["id"]);
}

#[tokio::test]
async fn errors_that_come_with_an_http_status_are_answers() {
    let (mut peer, connected) = over_http(json!({})).await;
    for (status, code) in [(400, -32602), (400, -32021), (404, -32601)] {
        let pending = tokio::spawn(call(&connected.connection, json!({"name": "x"})).reply());
        let post = peer.next_message("tools/call").await;
        let error = json!({"code": code, "message": "no"});
        let body = json!({"jsonrpc": "2.0", "id": post.message["id"], "error": error});
        let status = http::StatusCode::from_u16(status).unwrap();
        post.reply((status, [("content-type", "application/json")], body.to_string()));
        let Reply::Error(got) = soon(pending).await.unwrap().unwrap() else { panic!("no error") };
        assert_eq!(serde_json::from_slice::<Value>(&got).unwrap(), error);
    }
}

#[tokio::test]
async fn arguments_go_into_headers_as_the_learned_tools_ask_for() {
    let (mut peer, connected) = over_http(json!({"tools": {}})).await;
    let region = |header: &str| {
        let region = json!({"type": "string", "x-mcp-header": header});
        json!({"type": "object", "properties": {"region": region, "other": {"type": "string"}}})
    };
    let limits = LearnLimits::default();
    let server = async {
        let post = peer.next_message("tools/list").await;
        assert_eq!(post.header("mcp-method"), Some("tools/list"));
        post.result(json!({"tools": [
            {"name": "good", "inputSchema": region("Region")},
            {"name": "bad", "inputSchema": region("My Region")},
            {"name": "plain", "inputSchema": {"type": "object"}},
        ]}));
    };
    let (outcome, ()) = tokio::join!(learn_catalogue(&connected.connection, &limits), server);
    assert_eq!(outcome.failures, []);
    let tools = outcome.catalogue.items(ListKind::Tools);
    assert_eq!(tools.iter().map(mcp::catalogue::Item::key).collect::<Vec<_>>(), ["good", "plain"]);

    let arguments = json!({"region": "zürich", "other": "x"});
    for (tool, header) in [("good", Some("=?base64?esO8cmljaA==?=")), ("plain", None)] {
        let params = json!({"name": tool, "arguments": arguments});
        let pending = tokio::spawn(call(&connected.connection, params).reply());
        let post = peer.next_message("tools/call").await;
        assert_eq!(post.header("mcp-param-region"), header);
        assert_eq!(
            post.headers.keys().filter(|key| key.as_str().starts_with("mcp-p")).count(),
            1 + usize::from(header.is_some())
        );
        post.result(json!({}));
        soon(pending).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_call_refused_for_its_headers_is_sent_again_with_those_the_tool_asks_for() {
    let (mut peer, connected) = over_http(json!({"tools": {}})).await;
    let params = json!({"name": "late", "arguments": {"region": "eu"}});
    let refuse = |post: crate::peer::HttpRequest| {
        let error = json!({"code": -32020, "message": "Mcp-Param-Region is missing"});
        let body = json!({"jsonrpc": "2.0", "id": post.message["id"], "error": error});
        let status = http::StatusCode::BAD_REQUEST;
        post.reply((status, [("content-type", "application/json")], body.to_string()));
    };
    let tools = json!([{"name": "late", "inputSchema": {"type": "object", "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
    }}}]);
    let pending = tokio::spawn(call(&connected.connection, params.clone()).reply());
    let first = peer.next_message("tools/call").await;
    assert_eq!(first.header("mcp-param-region"), None);
    refuse(first);
    peer.next_message("tools/list").await.result(json!({"tools": tools}));
    let second = peer.next_message("tools/call").await;
    assert_eq!(second.header("mcp-param-region"), Some("eu"));
    second.result(json!({}));
    assert_eq!(soon(pending).await.unwrap(), Ok(Reply::Result("{}".into())));

    // What is not better the second time is not sent again.
    let pending = tokio::spawn(call(&connected.connection, params).reply());
    refuse(peer.next_message("tools/call").await);
    peer.next_message("tools/list").await.result(json!({"tools": tools}));
    assert!(matches!(soon(pending).await.unwrap(), Ok(Reply::Error(_))));
    assert!(!peer.has_more());
}

#[tokio::test]
async fn a_sign_of_life_is_asked_for_in_the_servers_own_way() {
    let (mut peer, connected) = over_pipes(json!({})).await;
    let server = async {
        let asked = peer.read().await;
        assert_eq!(asked["method"], "server/discover");
        peer.answer(&asked, discovered(json!({}))).await;
    };
    let patience = crate::peer::PATIENCE;
    let (alive, ()) = tokio::join!(connected.connection.ping(patience), server);
    assert_eq!(alive, Ok(()));
}
