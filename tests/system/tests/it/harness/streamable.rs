//! A bare client of Streamable HTTP: what is sent and received is there to see.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response};
use serde_json::{Value, json};

use super::sse::read_event;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The revision that is asked for.
pub(crate) const REVISION: &str = "2025-06-18";

/// An initialized session.
#[derive(Debug)]
pub(crate) struct Streamable {
    client: Client,
    url: String,
    key: String,
    session: String,
    next_id: AtomicU64,
    /// What `initialize` was answered with.
    pub(crate) initialized: Value,
}

impl Streamable {
    /// Opens a session.
    pub(crate) async fn open(url: &str, key: &str) -> Self {
        Self::try_open(url, key).await.unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// Opens a session where the other side may be gone.
    pub(crate) async fn try_open(url: &str, key: &str) -> Result<Self, String> {
        let client = Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        let mut opened = Self {
            client,
            url: url.to_owned(),
            key: key.to_owned(),
            session: String::new(),
            next_id: AtomicU64::new(1),
            initialized: Value::Null,
        };
        let params = json!({
            "protocolVersion": REVISION, "capabilities": {},
            "clientInfo": { "name": "system-test", "version": "1" },
        });
        let message = json!({
            "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params,
        });
        let response = opened.post(&message).await?;
        let status = response.status();
        let session = response.headers().get("mcp-session-id").cloned();
        let answer = answer_of(response, &json!(0), &mut Vec::new()).await?;
        if !status.is_success() || answer["result"].is_null() {
            return Err(format!("initialize: {status} {answer}"));
        }
        let session = session.ok_or("initialize gave no session")?;
        opened.session = session.to_str().map_err(|error| error.to_string())?.to_owned();
        opened.initialized = answer["result"].clone();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let status = opened.post(&initialized).await?.status();
        if status.as_u16() != 202 {
            return Err(format!("notifications/initialized: {status}"));
        }
        Ok(opened)
    }

    /// Sends one message and gives the response as it is.
    pub(crate) async fn post(&self, message: &Value) -> Result<Response, String> {
        let mut request = self.client.post(&self.url).bearer_auth(&self.key);
        request = request.header(ACCEPT, "application/json, text/event-stream");
        if !self.session.is_empty() {
            request = request.header("mcp-session-id", &self.session);
            request = request.header("mcp-protocol-version", REVISION);
        }
        let request = request.header(CONTENT_TYPE, "application/json").body(message.to_string());
        request.send().await.map_err(|error| format!("{error:?}"))
    }

    /// One request's whole answer, error or result.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        self.try_ask(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// One request's answer, where the other side may be gone.
    pub(crate) async fn try_ask(&self, method: &str, params: Value) -> Result<Value, String> {
        let id = json!(self.next_id.fetch_add(1, Relaxed));
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let response = self.post(&message).await?;
        answer_of(response, &id, &mut Vec::new()).await
    }

    /// One request's result.
    pub(crate) async fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Calls a tool; gives the result.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.result("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// The names of all tools, all pages.
    pub(crate) async fn tools(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut params = json!({});
        loop {
            let page = self.result("tools/list", params).await;
            let tools = page["tools"].as_array().expect("tools");
            names.extend(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
            match page.get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return names,
            }
        }
    }
}

/// The answer to `id`, out of a JSON body or out of a stream; what came before it goes to
/// `before`.
async fn answer_of(
    mut response: Response,
    id: &Value,
    before: &mut Vec<Value>,
) -> Result<Value, String> {
    let is_stream = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    if !is_stream {
        let status = response.status();
        let text = response.text().await.map_err(|error| format!("{error:?}"))?;
        return serde_json::from_str(&text).map_err(|_| format!("{status}: {text}"));
    }
    let mut buffer = Vec::new();
    loop {
        let event = read_event(&mut response, &mut buffer).await?;
        if event.data.is_empty() {
            continue;
        }
        let message: Value = serde_json::from_str(&event.data)
            .map_err(|error| format!("{error} in {}", event.data))?;
        if message["id"] == *id && message["method"].is_null() {
            return Ok(message);
        }
        before.push(message);
    }
}
