//! Which era a server speaks, and what is done with one that does not say.

use std::time::Duration;

use mcp::client::{ClientOptions, ConnectError, Connected, Connector, EraChoice, Target};
use mcp::{Protocol, Revision};
use serde_json::{Value, json};

use crate::peer::{HttpPeer, Peer, connect, discovered, initialize_result, soon};

fn probing() -> ClientOptions {
    ClientOptions::default()
}

/// For servers that are silent.
fn impatient() -> ClientOptions {
    ClientOptions { probe_timeout: Duration::from_millis(50), ..ClientOptions::default() }
}

const SESSIONS: Protocol = Protocol::Sessions(Revision::V2025_06_18);

/// Connects over pipes while the peer plays its part.
async fn over_pipes(
    options: ClientOptions,
    play: impl AsyncFnOnce(&mut Peer),
) -> Result<Connected, ConnectError> {
    let (mut peer, target) = Peer::new(1024 * 1024);
    let connector = Connector::new();
    let play = async {
        play(&mut peer).await;
        peer
    };
    let (connected, _peer) = tokio::join!(soon(connector.connect(target, &options)), play);
    connected
}

/// Takes `server/discover` and answers it.
async fn discover(peer: &mut Peer, member: &str, answer: Value) {
    let asked = peer.read().await;
    assert_eq!(asked["method"], "server/discover");
    peer.write(json!({"jsonrpc": "2.0", "id": asked["id"], member: answer})).await;
}

fn unsupported(supported: &Value) -> Value {
    json!({"code": -32022, "message": "Unsupported", "data": {"supported": supported}})
}

#[tokio::test]
async fn a_modern_answer_makes_the_connection_stateless() {
    let connected = over_pipes(probing(), async |peer| {
        let asked = peer.read().await;
        assert_eq!(asked["method"], "server/discover");
        let meta = &asked["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "mcp-orch");
        peer.answer(&asked, discovered(json!({"tools": {}}))).await;
    });
    let connection = connected.await.unwrap().connection;
    let hello = connection.hello();
    assert_eq!(hello.protocol, Protocol::Stateless);
    assert_eq!(hello.instructions.as_deref(), Some("be quick"));
    assert_eq!(hello.server_info, Some(r#"{"name":"peer","version":"2"}"#.into()));
    assert_eq!(hello.to_catalogue().protocol_version, "2026-07-28");
    assert!(hello.declares("tools") && !hello.declares("prompts"));
}

#[tokio::test]
async fn any_other_answer_leads_to_initialize_on_the_same_pipe() {
    let answers = [
        ("error", json!({"code": -32601, "message": "Method not found"})),
        ("error", json!({"code": -32602, "message": "Received request before initialization"})),
        ("result", json!({})),
        ("result", json!({"supportedVersions": ["2025-11-25", "2025-06-18"]})),
        ("error", unsupported(&json!(["2025-06-18"]))),
        ("error", json!({"code": -32022, "message": "no list"})),
    ];
    for (member, answer) in answers {
        let connected = over_pipes(probing(), async |peer| {
            discover(peer, member, answer.clone()).await;
            peer.initialize().await;
        });
        assert_eq!(connected.await.unwrap().connection.hello().protocol, SESSIONS, "{answer}");
    }
}

#[tokio::test]
async fn a_server_that_lists_our_revision_is_asked_once_more() {
    let connected = over_pipes(probing(), async |peer| {
        discover(peer, "error", unsupported(&json!(["2026-07-28"]))).await;
        discover(peer, "result", discovered(json!({}))).await;
    });
    assert_eq!(connected.await.unwrap().connection.hello().protocol, Protocol::Stateless);
}

#[tokio::test]
async fn modern_refusals_are_not_taken_for_sessions() {
    let connected = over_pipes(probing(), async |peer| {
        discover(peer, "error", unsupported(&json!(["2027-01-01"]))).await;
    });
    let error = connected.await.unwrap_err();
    assert_eq!(error, ConnectError::UnsupportedRevision("2027-01-01".into()));
}

#[tokio::test]
async fn silence_leads_to_initialize_and_a_late_modern_answer_still_counts() {
    let connected = over_pipes(impatient(), async |peer| {
        assert_eq!(peer.read().await["method"], "server/discover");
        peer.initialize().await;
    });
    assert_eq!(connected.await.unwrap().connection.hello().protocol, SESSIONS);

    let connected = over_pipes(impatient(), async |peer| {
        let asked = peer.read().await;
        let initialize = peer.read().await;
        assert_eq!(initialize["method"], "initialize");
        peer.answer(&asked, discovered(json!({}))).await;
        // A server that keeps to its era refuses the other.
        let error = json!({"code": -32022, "message": "no sessions"});
        peer.write(json!({"jsonrpc": "2.0", "id": initialize["id"], "error": error})).await;
    });
    assert_eq!(connected.await.unwrap().connection.hello().protocol, Protocol::Stateless);
}

#[tokio::test]
async fn a_process_that_the_question_breaks_is_said_to_need_a_fresh_one() {
    let (mut peer, target) = Peer::new(1024);
    let options = probing();
    let gone = async move {
        peer.read().await;
    };
    let (connected, ()) = tokio::join!(connect(target, &options), gone);
    assert_eq!(connected.unwrap_err(), ConnectError::ProbeBroke);

    let refused = over_pipes(probing(), async |peer| {
        discover(peer, "error", json!({"code": -32601, "message": "?"})).await;
        let asked = peer.read().await;
        let error = json!({"code": -32022, "message": "locked"});
        peer.write(json!({"jsonrpc": "2.0", "id": asked["id"], "error": error})).await;
    });
    assert_eq!(refused.await.unwrap_err(), ConnectError::ProbeBroke);

    let short = ClientOptions { initialize_timeout: Duration::from_millis(100), ..impatient() };
    let silent = over_pipes(short, async |peer| {
        peer.read().await;
        assert_eq!(peer.read().await["method"], "initialize");
    });
    assert_eq!(silent.await.unwrap_err(), ConnectError::ProbeBroke);
}

#[tokio::test]
async fn a_server_that_is_no_longer_stateless_is_not_spoken_to_otherwise() {
    let options = ClientOptions { era: EraChoice::Stateless, ..probing() };
    let connected = over_pipes(options, async |peer| {
        discover(peer, "error", json!({"code": -32601, "message": "Method not found"})).await;
    });
    assert_eq!(connected.await.unwrap_err(), ConnectError::NotStateless);
}

#[tokio::test]
async fn over_http_what_is_no_modern_answer_leads_to_initialize() {
    for status in [400, 404, 405, 500] {
        let mut peer = HttpPeer::start().await;
        let target = Target::StreamableHttp(peer.target("/mcp"));
        let options = probing();
        let server = async {
            let post = peer.next_message("server/discover").await;
            assert_eq!(post.header("mcp-protocol-version"), Some("2026-07-28"));
            assert_eq!(post.header("mcp-method"), Some("server/discover"));
            assert_eq!(post.header("mcp-name"), None);
            post.status(status);
            let post = peer.next_message("initialize").await;
            assert_eq!(post.header("mcp-protocol-version"), None);
            assert_eq!(post.header("mcp-method"), None);
            post.result(initialize_result());
            peer.next_message("notifications/initialized").await.status(202);
        };
        let (connected, ()) = tokio::join!(connect(target, &options), server);
        assert_eq!(connected.unwrap().connection.hello().protocol, SESSIONS, "{status}");
    }
}

#[tokio::test]
async fn over_http_a_slow_server_that_knows_no_sessions_is_asked_again() {
    let mut peer = HttpPeer::start().await;
    let target = Target::StreamableHttp(peer.target("/mcp"));
    let options = impatient();
    let server = async {
        let slow = peer.next_message("server/discover").await;
        let post = peer.next_message("initialize").await;
        let error = json!({"code": -32022, "message": "no sessions"});
        let refusal = json!({"jsonrpc": "2.0", "id": post.message["id"], "error": error});
        post.json(&refusal);
        peer.next_message("server/discover").await.result(discovered(json!({})));
        slow
    };
    let (connected, _slow) = tokio::join!(connect(target, &options), server);
    assert_eq!(connected.unwrap().connection.hello().protocol, Protocol::Stateless);
}

#[tokio::test]
async fn a_session_is_begun_by_initialize_only() {
    let mut peer = HttpPeer::start().await;
    let target = Target::StreamableHttp(peer.target("/mcp"));
    let options = probing();
    let server = async {
        let post = peer.next_message("server/discover").await;
        let empty = json!({"jsonrpc": "2.0", "id": post.message["id"], "result": {}});
        let headers = [("content-type", "application/json"), ("mcp-session-id", "wrong")];
        post.reply((headers, empty.to_string()));
        let post = peer.next_message("initialize").await;
        assert_eq!(post.header("mcp-session-id"), None);
        post.result(initialize_result());
        let note = peer.next_message("notifications/initialized").await;
        assert_eq!(note.header("mcp-session-id"), None);
        note.status(202);
    };
    let (connected, ()) = tokio::join!(connect(target, &options), server);
    assert_eq!(connected.unwrap().connection.hello().protocol, SESSIONS);
}

#[tokio::test]
async fn over_http_a_modern_error_ends_the_attempt_and_so_does_a_refusal_of_access() {
    let attempt = async |answer: fn(crate::peer::HttpRequest)| {
        let mut peer = HttpPeer::start().await;
        let target = Target::StreamableHttp(peer.target("/mcp"));
        let options = probing();
        let server = async {
            answer(peer.next_message("server/discover").await);
            peer
        };
        let (connected, mut peer) = tokio::join!(connect(target, &options), server);
        assert!(!peer.has_more());
        connected.unwrap_err()
    };
    let error = attempt(|post| post.status(401)).await;
    assert_eq!(error.to_string(), "HTTP 401: Unauthorized");
    let error = attempt(|post| {
        let error = json!({"code": -32020, "message": "headers"});
        let body = json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string();
        let status = http::StatusCode::BAD_REQUEST;
        post.reply((status, [("content-type", "application/json")], body));
    });
    assert!(matches!(error.await, ConnectError::Refused { code: -32020, .. }));
}

#[tokio::test]
async fn an_sse_stream_that_the_question_breaks_is_opened_again_without_it() {
    let mut peer = HttpPeer::start().await;
    let target = Target::Sse(peer.target("/sse"));
    let options = probing();
    let server = async {
        let first = peer.next().await.stream();
        first.raw("event: endpoint\ndata: /messages?session=1\n\n").await;
        peer.next_message("server/discover").await.status(202);
        drop(first);
        let second = peer.next().await.stream();
        second.raw("event: endpoint\ndata: /messages?session=2\n\n").await;
        let post = peer.next_message("initialize").await;
        assert_eq!(post.uri.query(), Some("session=2"));
        let asked = post.message.clone();
        post.status(202);
        second.answer(&asked, initialize_result()).await;
        peer.next_message("notifications/initialized").await.status(202);
        second
    };
    let (connected, _stream) = tokio::join!(connect(target, &options), server);
    assert_eq!(connected.unwrap().connection.hello().protocol, SESSIONS);
}

#[tokio::test]
async fn the_stateless_era_is_spoken_over_sse_too() {
    let mut peer = HttpPeer::start().await;
    let target = Target::Sse(peer.target("/sse"));
    let options = probing();
    let server = async {
        let stream = peer.next().await.stream();
        stream.raw("event: endpoint\ndata: /messages\n\n").await;
        let post = peer.next_message("server/discover").await;
        let asked = post.message.clone();
        post.status(202);
        stream.answer(&asked, discovered(json!({}))).await;
        stream
    };
    let (connected, _stream) = tokio::join!(connect(target, &options), server);
    assert_eq!(connected.unwrap().connection.hello().protocol, Protocol::Stateless);
}
