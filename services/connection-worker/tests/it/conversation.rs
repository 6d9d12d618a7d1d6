//! What upstreams and clients say to each other while a call runs.

use backplane::exchange::{Exchange, Frame};
use bytes::Bytes;
use domain::ServerId;
use domain::connection::ConnectionState;
use domain::server::{Isolation, Transport};
use fixtures::Upstream;
use proto::events::v1::CallOutcome;
use proto::internal::v1::{Finished, Peer, finished};
use serde_json::{Value, json};

use crate::stage::{self, Stage, at, conformance, finish, next, of_peer, peer, question, result};

fn all() -> Value {
    json!({"roots": {}, "sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}})
}

fn roots() -> Bytes {
    Bytes::from_static(br#"{ "roots":[{"uri":"file:///own","name":"own"}] }"#)
}

fn text(finished: &Finished) -> String {
    result(finished)["content"][0]["text"].as_str().unwrap().to_owned()
}

async fn begin(stage: &Stage, server: ServerId, tool: &str, peer: &Peer) -> Exchange {
    let open = of_peer(stage::open(server, tool, json!({"prompt": "p", "message": "m"})), peer);
    stage.open(server, &open).await
}

async fn sessions_over_http(stage: &Stage) -> (Upstream, ServerId) {
    let upstream = Upstream::conformance(["--era", "sessions"]).unwrap();
    let transport = Transport::StreamableHttp(at(&upstream.mcp_url()));
    let server = stage.register(transport, json!({})).await;
    stage.until_state(server, ConnectionState::Active).await;
    (upstream, server)
}

#[tokio::test]
async fn over_streamable_http_a_shared_server_asks_the_client_of_the_call() {
    let stage = Stage::new().await;
    let (_upstream, server) = sessions_over_http(&stage).await;
    let (one, other) = (peer("", &all()), peer("", &all()));
    let first = begin(&stage, server, "test_list_roots", &one).await;
    let second = begin(&stage, server, "test_sampling", &other).await;
    let asked = question(&first).await;
    assert_eq!(asked.method, "roots/list");
    let sampled = question(&second).await;
    assert_eq!(sampled.method, "sampling/createMessage");
    let answer = json!({"role": "assistant", "model": "m",
                        "content": {"type": "text", "text": "of the other"}});
    second.answer(&sampled.id, Ok(answer.to_string().into())).await.unwrap();
    first.answer(&asked.id, Ok(roots())).await.unwrap();
    assert!(text(&finish(&first).await.1).contains("file:///own"));
    assert!(text(&finish(&second).await.1).contains("of the other"));
}

#[tokio::test]
async fn an_upstream_that_wants_to_be_polled_says_so_and_answers_once() {
    let stage = Stage::new().await;
    let (_upstream, server) = sessions_over_http(&stage).await;
    let call = begin(&stage, server, "test_reconnection", &peer("", &all())).await;
    let Frame::Paused(paused) = next(&call).await else { panic!("not paused") };
    assert!((50..=30_000).contains(&paused.retry_ms), "{paused:?}");
    let mut frame = next(&call).await;
    // It may be asked before it is ready.
    while let Frame::Paused(_) = frame {
        frame = next(&call).await;
    }
    let Frame::Finished(finished) = frame else { panic!("{frame:?}") };
    assert_eq!(text(&finished), "Reconnection test completed");
}

#[tokio::test]
async fn an_error_of_the_client_reaches_the_upstream_and_a_wrong_name_nobody() {
    let stage = Stage::new().await;
    let (_upstream, server) = sessions_over_http(&stage).await;
    let call = begin(&stage, server, "test_elicitation", &peer("", &all())).await;
    let asked = question(&call).await;
    call.answer("nobody", Ok(Bytes::from_static(b"{}"))).await.unwrap();
    let error = br#"{"code":-1,"message":"the user said no"}"#;
    call.answer(&asked.id, Err(Bytes::from_static(error))).await.unwrap();
    let (_, finished) = finish(&call).await;
    let said = format!("{:?}", finished.answer);
    assert!(said.contains("the user said no"), "{said}");
}

#[tokio::test]
async fn what_a_client_did_not_answer_is_refused_when_its_call_ends() {
    let stage = Stage::new().await;
    let (transport, launch) = conformance(&["--era", "sessions"]);
    let server = stage
        .register_with(transport, launch, |config| config.isolation = Isolation::Session)
        .await;
    let client = peer("one", &all());
    let call = begin(&stage, server, "test_list_roots", &client).await;
    question(&call).await;
    call.cancel("enough").await.unwrap();
    let (_, finished) = finish(&call).await;
    assert_eq!(finished.outcome(), CallOutcome::Cancelled);
    // The connection is as good as before.
    let call = begin(&stage, server, "test_list_roots", &client).await;
    let asked = question(&call).await;
    call.answer(&asked.id, Ok(roots())).await.unwrap();
    assert!(text(&finish(&call).await.1).contains("file:///own"));
}

#[tokio::test]
async fn a_client_that_is_asked_may_take_longer_than_an_answer() {
    let stage = Stage::new().await;
    let upstream = Upstream::conformance(["--era", "sessions"]).unwrap();
    let transport = Transport::StreamableHttp(at(&upstream.mcp_url()));
    let server =
        stage.register_with(transport, json!({}), |config| config.read_timeout_s = Some(1)).await;
    let call = begin(&stage, server, "test_list_roots", &peer("", &all())).await;
    let asked = question(&call).await;
    let slow = stage::open(server, "slow", json!({"ms": 60_000}));
    let timed_out = finish(&stage.open(server, &slow).await).await.1;
    assert_eq!(timed_out.outcome(), CallOutcome::Timeout);
    call.answer(&asked.id, Ok(roots())).await.unwrap();
    assert!(text(&finish(&call).await.1).contains("file:///own"));
}

#[tokio::test]
async fn without_a_client_to_ask_the_upstream_is_refused() {
    let stage = Stage::new().await;
    let (_upstream, server) = sessions_over_http(&stage).await;
    // An edge that says nothing of its client.
    let finished = stage.call(server, "test_list_roots", json!({})).await;
    let said = format!("{:?}", finished.answer);
    assert!(said.contains("Method not found"), "{said}");
    // A question that belongs to no call.
    let call = begin(&stage, server, "test_ask_outside", &peer("", &all())).await;
    let (_, finished) = finish(&call).await;
    let said = format!("{:?}", finished.answer);
    assert!(said.contains("belongs to no call") && said.contains("`session`"), "{said}");
}

#[tokio::test]
async fn over_stdio_a_shared_server_is_told_that_it_cannot_ask() {
    let stage = Stage::new().await;
    let (transport, launch) = conformance(&["--era", "sessions"]);
    let server = stage.register(transport, launch).await;
    let call = begin(&stage, server, "test_client", &peer("", &all())).await;
    let (_, finished) = finish(&call).await;
    assert_eq!(result(&finished)["structuredContent"]["capabilities"], json!({}));
}

#[tokio::test]
async fn a_stateless_upstream_is_told_of_each_client() {
    let stage = Stage::new().await;
    let (transport, launch) = conformance(&["--era", "stateless"]);
    let server = stage.register(transport, launch).await;
    for capabilities in [all(), json!({"roots": {}}), json!({})] {
        let client = Peer { revision: "2026-07-28".to_owned(), ..peer("", &capabilities) };
        let call = begin(&stage, server, "test_client", &client).await;
        let (_, finished) = finish(&call).await;
        assert_eq!(result(&finished)["structuredContent"]["capabilities"], capabilities);
        let call = begin(&stage, server, "test_received_params", &client).await;
        let said = format!("{:?}", finish(&call).await.1.answer);
        assert!(said.contains("a client"), "{said}");
    }
    // It asks by its result, which is for the edge to act upon.
    let call = begin(&stage, server, "test_list_roots", &peer("", &all())).await;
    let finished = finish(&call).await.1;
    assert_eq!(result(&finished)["resultType"], "input_required");
}

#[tokio::test]
async fn log_messages_of_a_call_come_before_its_answer_as_its_client_wants_them() {
    let stage = Stage::new().await;
    let (_upstream, over_http) = sessions_over_http(&stage).await;
    let (transport, launch) = conformance(&["--era", "sessions"]);
    let own = stage
        .register_with(transport, launch, |config| config.isolation = Isolation::Session)
        .await;
    let (transport, launch) = conformance(&["--era", "stateless"]);
    let stateless = stage.register(transport, launch).await;
    for (server, level, least) in [
        (over_http, "", 0),
        (over_http, "error", 0),
        (over_http, "info", 3),
        (own, "", 0),
        (own, "info", 3),
        (own, "debug", 4),
        (stateless, "", 0),
        (stateless, "info", 3),
    ] {
        let client = Peer {
            revision: "2026-07-28".to_owned(),
            exclusive: true,
            log_level: level.to_owned(),
            ..peer("key", &json!({}))
        };
        let call = begin(&stage, server, "test_tool_with_logging", &client).await;
        let (said, finished) = finish(&call).await;
        assert_eq!(finished.outcome(), CallOutcome::Ok);
        let logs = said.iter().filter(|said| said.method == "notifications/message").count();
        assert_eq!(logs, least, "{level:?} at {server}: {said:?}");
    }
}

#[tokio::test]
async fn what_an_upstream_takes_back_is_named_as_the_client_knows_it() {
    let stage = Stage::new().await;
    let (transport, launch) = stage::script(
        r#"while read line; do
             id=$(printf %s "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
             case "$line" in
               *'"initialize"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"x","version":"1"}}}' ;;
               *'"tools/call"'*)
                 call=$id
                 echo '{"jsonrpc":"2.0","id":"own","method":"roots/list"}'
                 echo '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"own"}}'
                 echo '{"jsonrpc":"2.0","id":"next","method":"roots/list","params":{"x":1}}' ;;
               *'"id":"own"'*) exit 3 ;;
               *'"id":"next"'*) echo '{"jsonrpc":"2.0","id":'"$call"',"result":{}}' ;;
               *'"server/discover"'*) echo '{"jsonrpc":"2.0","id":'"$id"',"error":{"code":-32601,"message":"no"}}' ;;
             esac
           done"#,
    );
    let server = stage
        .register_with(transport, launch, |config| config.isolation = Isolation::Session)
        .await;
    let call = begin(&stage, server, "any", &peer("one", &all())).await;
    let Frame::Request(first) = next(&call).await else { panic!("no question") };
    let Frame::Notification(taken_back) = next(&call).await else { panic!("not taken back") };
    assert_eq!(taken_back.method, "notifications/cancelled");
    assert_eq!(taken_back.params, json!({"requestId": first.id}).to_string());
    let Frame::Request(second) = next(&call).await else { panic!("no question") };
    assert_eq!(second.params, r#"{"x":1}"#);
    // The first is answered no more, or the upstream would end.
    call.answer(&first.id, Ok(roots())).await.unwrap();
    call.answer(&second.id, Ok(roots())).await.unwrap();
    let (_, finished) = finish(&call).await;
    assert!(matches!(finished.answer, Some(finished::Answer::Result(_))), "{finished:?}");
}
