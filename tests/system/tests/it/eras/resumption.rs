//! A connection that is cut in the midst of a call: its answer is had by `Last-Event-ID`.

use reqwest::Response;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

use crate::harness::{Options, Orch, read_event, stdio_fixture};

const REVISION: &str = "2025-11-25";

/// A session of the revision that has resumption in full, over a plain HTTP client.
struct Session {
    client: reqwest::Client,
    url: String,
    key: String,
    id: String,
}

impl Session {
    async fn open(orch: &Orch) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let (url, key) = (orch.ready.mcp_url.clone(), orch.api_key.clone());
        let mut session = Self { client, url, key, id: String::new() };
        let params = json!({
            "protocolVersion": REVISION, "capabilities": {},
            "clientInfo": { "name": "system-test", "version": "1" },
        });
        let opened = session.post(0, "initialize", params).await;
        assert_eq!(opened.status().as_u16(), 200);
        session.id = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        session
    }

    async fn post(&self, id: u64, method: &str, params: Value) -> Response {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let request = self.with_headers(self.client.post(&self.url));
        let request = request.header("content-type", "application/json").body(body.to_string());
        request.send().await.unwrap()
    }

    async fn resume(&self, last_event: &str) -> Response {
        let request = self.with_headers(self.client.get(&self.url));
        request.header("last-event-id", last_event).send().await.unwrap()
    }

    fn with_headers(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = request.bearer_auth(&self.key);
        let request = request.header(ACCEPT, "application/json, text/event-stream");
        if self.id.is_empty() {
            return request;
        }
        request.header("mcp-session-id", &self.id).header("mcp-protocol-version", REVISION)
    }

    async fn call(&self, id: u64, tool: &str, arguments: Value) -> Response {
        let params =
            json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": "p" } });
        self.post(id, "tools/call", params).await
    }

    async fn stats(&self) -> Value {
        let answer = self.call(99, "fixture__stats", json!({})).await;
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        answer["result"]["structuredContent"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_call_whose_connection_was_cut_is_had_by_the_last_event() {
    let orch = Orch::start(Options::default()).await;
    orch.register(&stdio_fixture("fixture", &[])).await;
    orch.active(&["fixture"]).await;
    let session = Session::open(&orch).await;
    // Cut before the first message, after the first, and after the second.
    for (round, messages) in [0, 1, 2].into_iter().enumerate() {
        let before = session.stats().await["executions"].as_u64().unwrap();
        let id = 10 + round as u64;
        let mut stream =
            session.call(id, "fixture__slow", json!({ "ms": 1_500, "steps": 3 })).await;
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let (mut buffer, mut last, mut seen) = (Vec::new(), String::new(), Vec::new());
        while last.is_empty() || seen.len() < messages {
            let event = read_event(&mut stream, &mut buffer).await.unwrap();
            assert!(!event.id.is_empty(), "every event can be resumed from: {event:?}");
            last = event.id;
            if !event.data.is_empty() {
                seen.push(serde_json::from_str::<Value>(&event.data).unwrap());
            }
        }
        drop(stream);
        let mut stream = session.resume(&last).await;
        assert_eq!(stream.status().as_u16(), 200);
        let (mut buffer, mut answer) = (Vec::new(), None);
        while answer.is_none() {
            let event = read_event(&mut stream, &mut buffer).await.unwrap();
            if event.data.is_empty() {
                continue;
            }
            let message: Value = serde_json::from_str(&event.data).unwrap();
            if message["id"] == id {
                answer = Some(message);
            } else {
                seen.push(message);
            }
        }
        let text = &answer.unwrap()["result"]["content"][0]["text"];
        assert_eq!(*text, "waited 1500 ms in 3 steps");
        let progress: Vec<_> =
            seen.iter().map(|note| note["params"]["progress"].as_f64()).collect();
        let expected = [Some(1.0), Some(2.0), Some(3.0)];
        assert_eq!(progress, expected, "each once, in order: {seen:?}");
        let after = session.stats().await["executions"].as_u64().unwrap();
        assert_eq!(after, before + 1, "the call ran once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_resumed_by_its_own_session_only() {
    let orch = Orch::start(Options::default()).await;
    orch.register(&stdio_fixture("fixture", &[])).await;
    orch.active(&["fixture"]).await;
    let (mine, other) = (Session::open(&orch).await, Session::open(&orch).await);
    let mut stream = mine.call(1, "fixture__slow", json!({ "ms": 1_000, "steps": 2 })).await;
    let first = read_event(&mut stream, &mut Vec::new()).await.unwrap();
    drop(stream);
    let refused = other.resume(&first.id).await;
    let status = refused.status().as_u16();
    assert!((400..500).contains(&status), "{status}: {}", refused.text().await.unwrap());
    let unknown = mine.resume("no-such-event").await.status().as_u16();
    assert!((400..500).contains(&unknown), "{unknown}");
    assert_eq!(mine.resume(&first.id).await.status().as_u16(), 200);
}
