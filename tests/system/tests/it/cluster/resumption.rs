//! A session over a plain HTTP client, which resumes its streams when they break.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

use crate::harness::{Orch, eventually, read_event};

/// The first revision that has resumption in full.
const REVISION: &str = "2025-11-25";
/// How long a client tries to come back.
const RETURN_LIMIT: Duration = Duration::from_secs(20);
/// How often a stream may break: until the death of its edge is known, it may break again.
const MOST_BREAKS: usize = 20;
/// How long an event may take.
const EVENT_LIMIT: Duration = Duration::from_secs(60);

/// A session.
pub(super) struct Session {
    client: reqwest::Client,
    url: String,
    key: String,
    id: String,
}

/// A call that is answered on a stream.
pub(super) struct SlowCall {
    stream: Response,
    buffer: Vec<u8>,
    last_event: String,
    messages: Vec<Value>,
}

impl Session {
    /// Opens one through the balancer.
    pub(super) async fn open(orch: &Orch) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let (url, key) = (orch.ready.mcp_url.clone(), orch.api_key.clone());
        let mut session = Self { client, url, key, id: String::new() };
        let params = json!({
            "protocolVersion": REVISION, "capabilities": {},
            "clientInfo": { "name": "system-test", "version": "1" },
        });
        let opened = session.post(0, "initialize", params).await.unwrap();
        assert_eq!(opened.status().as_u16(), 200);
        session.id = opened.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        session
    }

    async fn post(&self, id: u64, method: &str, params: Value) -> Result<Response, String> {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let request = self.with_headers(self.client.post(&self.url));
        let request = request.header("content-type", "application/json").body(body.to_string());
        request.send().await.map_err(|error| format!("{error:?}"))
    }

    fn with_headers(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = request.bearer_auth(&self.key);
        let request = request.header(ACCEPT, "application/json, text/event-stream");
        if self.id.is_empty() {
            return request;
        }
        request.header("mcp-session-id", &self.id).header("mcp-protocol-version", REVISION)
    }

    async fn call(&self, id: u64, tool: &str, arguments: Value) -> Result<Response, String> {
        let params =
            json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": "p" } });
        self.post(id, "tools/call", params).await
    }

    async fn result(&self, id: u64, tool: &str, arguments: Value) -> Value {
        let answer = self.call(id, tool, arguments).await.unwrap().text().await.unwrap();
        // As JSON, or as the one message of a stream.
        let text = answer
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .rfind(|data| !data.is_empty());
        let answer: Value = serde_json::from_str(text.unwrap_or(&answer)).unwrap();
        assert!(answer["error"].is_null(), "{tool}: {answer}");
        answer["result"]["structuredContent"].clone()
    }

    /// Calls, and is answered.
    pub(super) async fn echo(&self, message: &str) {
        let echoed = self.result(50, "fixture__echo", json!({ "message": message })).await;
        assert_eq!(echoed["message"], message);
    }

    /// How many calls the fixture carried out, but for those that ask it.
    pub(super) async fn executions(&self) -> u64 {
        let stats = self.result(51, "fixture__stats", json!({})).await;
        stats["executions"].as_u64().unwrap()
    }

    /// Begins a call of four steps, and returns once its first is there.
    pub(super) async fn begin_slow(&self, ms: u64) -> SlowCall {
        let arguments = json!({ "ms": ms, "steps": 4 });
        let stream = self.call(1, "fixture__slow", arguments).await.unwrap();
        let (buffer, last_event) = (Vec::new(), String::new());
        let mut call = SlowCall { stream, buffer, last_event, messages: Vec::new() };
        while call.messages.is_empty() {
            call.read().await.unwrap();
        }
        call
    }
}

impl SlowCall {
    async fn read(&mut self) -> Result<(), String> {
        let read = read_event(&mut self.stream, &mut self.buffer);
        let event = tokio::time::timeout(EVENT_LIMIT, read).await.map_err(|_| "no event")??;
        if !event.id.is_empty() {
            self.last_event = event.id;
        }
        if !event.data.is_empty() {
            self.messages.push(serde_json::from_str(&event.data).map_err(|e| e.to_string())?);
        }
        Ok(())
    }

    /// Reads until the answer, over another connection where the first one broke. Gives whether
    /// it did.
    pub(super) async fn read_to_the_end(&mut self, session: &Session) -> bool {
        let mut broken = Vec::new();
        while !self.messages.iter().any(|message| message["id"] == 1) {
            if let Err(reason) = self.read().await {
                broken.push(reason);
                assert!(broken.len() <= MOST_BREAKS, "one stream after the other: {broken:?}");
                self.resume(session).await;
            }
        }
        let answer = self.messages.last().unwrap();
        assert_eq!(answer["result"]["content"][0]["text"], "waited 4000 ms in 4 steps", "{answer}");
        !broken.is_empty()
    }

    async fn resume(&mut self, session: &Session) {
        self.buffer.clear();
        let last_event = self.last_event.clone();
        self.stream = eventually("the stream is resumed", RETURN_LIMIT, async || {
            let request = session.with_headers(session.client.get(&session.url));
            let response = request.header("last-event-id", &last_event).send().await;
            let response = response.map_err(|error| format!("{error:?}"))?;
            match response.status().as_u16() {
                200 => Ok(response),
                status => Err(format!("{status}: {:?}", response.text().await)),
            }
        })
        .await;
    }

    /// The steps that were told.
    pub(super) fn progress(&self) -> Vec<f64> {
        self.messages.iter().filter_map(|note| note["params"]["progress"].as_f64()).collect()
    }
}
