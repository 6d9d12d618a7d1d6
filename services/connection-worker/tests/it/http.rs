//! Servers behind HTTP.

use domain::connection::ConnectionState;
use domain::server::{HttpTarget, Transport};
use fixtures::Upstream;
use proto::events::v1::CallOutcome;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::stage::{Stage, at, failure, result};

/// Answers every request with these bytes.
async fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                drop(stream.read(&mut request).await);
                drop(stream.write_all(answer.as_bytes()).await);
            });
        }
    });
    format!("http://{address}/any/path")
}

fn transports(upstream: &Upstream) -> Vec<(Transport, &'static str)> {
    vec![
        (Transport::Sse(at(&upstream.sse_url())), "SSE"),
        (Transport::StreamableHttp(at(&upstream.mcp_url())), "Streamable HTTP"),
        (Transport::Probe(at(&upstream.mcp_url())), "probe of Streamable HTTP"),
        (Transport::Probe(at(&upstream.sse_url())), "probe of SSE"),
    ]
}

#[tokio::test]
async fn every_transport_connects_learns_and_calls() {
    let stage = Stage::new().await;
    let upstream = Upstream::start(["--tools", "3"]).unwrap();
    for (transport, name) in transports(&upstream) {
        let server = stage.register(transport, json!({"headers": {"X-Own": "header-value"}})).await;
        let seen = stage.until_state(server, ConnectionState::Active).await;
        assert!(seen.response_time_ms > 0, "{name}: {seen:?}");
        let view = stage.until(server, |view| view.catalogue.is_some()).await;
        assert!(view.catalogue.as_ref().unwrap().tools > 3, "{name}");
        let finished = stage.call(server, "env", json!({})).await;
        assert_eq!(finished.outcome(), CallOutcome::Ok, "{name}");
        let headers = &result(&finished)["structuredContent"]["headers"];
        assert_eq!(headers["x-own"], "header-value", "{name}");
        let echo = stage.call(server, "echo", json!({"message": name})).await;
        assert_eq!(result(&echo)["structuredContent"]["message"], name);
    }
}

#[tokio::test]
async fn the_sealed_url_is_used_and_its_query_is_masked() {
    let stage = Stage::new().await;
    let upstream = Upstream::start([""; 0]).unwrap();
    let target = at(&upstream.mcp_url());
    let full = format!("{}?key=canary-query-value", upstream.mcp_url());
    let server = stage.register(Transport::StreamableHttp(target), json!({"url": full})).await;
    let finished = stage.call(server, "leak", json!({"from": "query", "as": "result"})).await;
    assert_eq!(finished.outcome(), CallOutcome::Ok);
    let text = result(&finished)["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("key=canary-query-value"), "{text}");
    let stored = String::from_utf8(finished.stored_result.unwrap().to_vec()).unwrap();
    assert!(stored.contains("key=***") && !stored.contains("canary"), "{stored}");
}

#[tokio::test]
async fn causes_are_word_for_word() {
    let stage = Stage::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = at(&format!("http://{}/sse", silent.local_addr().unwrap()));
    let unauthorized =
        answering("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
    let invalid = answering(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{\"id\": 1}",
    )
    .await;
    let cases: Vec<(Transport, &str)> = vec![
        (Transport::Sse(silent), "Failed to connect to SSE server: Connection timeout"),
        (Transport::Sse(at(&unauthorized)), "HTTP 401: Unauthorized"),
        (Transport::StreamableHttp(at(&unauthorized)), "HTTP 401: Unauthorized"),
        (Transport::Probe(at(&unauthorized)), "HTTP 401: Unauthorized"),
        (Transport::StreamableHttp(at(&invalid)), "Invalid JSON-RPC 2.0 response"),
    ];
    for (transport, cause) in cases {
        let server =
            stage.register_with(transport.clone(), json!({}), |config| config.timeout_s = 1).await;
        let seen = stage.until_state(server, ConnectionState::Failed).await;
        assert_eq!(seen.cause, cause, "{transport:?}");
        let finished = stage.call(server, "echo", json!({"message": "x"})).await;
        assert_eq!(failure(&finished), ("UPSTREAM_UNAVAILABLE", cause));
    }
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_connected_again() {
    let stage = Stage::new().await;
    let mut upstream = Upstream::start([""; 0]).unwrap();
    let address = upstream.address().to_string();
    let server = stage.register(Transport::Sse(at(&upstream.sse_url())), json!({})).await;
    stage.until_state(server, ConnectionState::Active).await;
    upstream.process().kill().unwrap();
    let seen = stage.until_state(server, ConnectionState::Failed).await;
    assert!(!seen.cause.is_empty());
    let _again = Upstream::start(["--listen", &address]).unwrap();
    stage.until_state(server, ConnectionState::Active).await;
    let finished = stage.call(server, "echo", json!({"message": "x"})).await;
    assert_eq!(finished.outcome(), CallOutcome::Ok);
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_named() {
    let stage = Stage::new().await;
    let target = HttpTarget {
        ca_file: Some("/no/such/file.pem".to_owned()),
        ..at("https://127.0.0.1:1/mcp")
    };
    let server = stage.register(Transport::StreamableHttp(target), json!({})).await;
    let seen = stage.until_state(server, ConnectionState::Failed).await;
    assert!(seen.cause.starts_with("cannot set up the HTTP client"), "{}", seen.cause);
    let headers = json!({"headers": {"bad name": "canary-header-value"}});
    let server = stage.register(Transport::Sse(at("http://127.0.0.1:1/sse")), headers).await;
    let seen = stage.until_state(server, ConnectionState::Failed).await;
    assert_eq!(seen.cause, "the header \"bad name\" or its value is not allowed in HTTP");
}
