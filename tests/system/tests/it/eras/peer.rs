//! A bare client of both eras over both transports, which answers whatever it is asked.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::harness::read_event;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a stream may last.
const STREAM_LIMIT: Duration = Duration::from_secs(600);
/// The most rounds in which a server of the stateless era asks for input.
const ROUNDS: usize = 5;
const SESSIONS: &str = "2025-11-25";
const STATELESS: &str = "2026-07-28";

/// What a request led to.
#[derive(Debug)]
pub(super) struct Told {
    /// The last answer.
    pub(super) answer: Value,
    /// The notifications that came before it.
    pub(super) notifications: Vec<Value>,
    /// The methods that the client was asked with.
    pub(super) asked: Vec<String>,
}

/// How a client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Streamable,
    Sse,
}

/// One client.
pub(super) struct Peer {
    client: Client,
    url: String,
    key: String,
    stateless: bool,
    session: Option<String>,
    /// The stream of HTTP+SSE and what was read of it.
    stream: Option<(Response, Vec<u8>)>,
    /// What a session over Streamable HTTP was asked on its own stream.
    asked: Arc<Mutex<Vec<String>>>,
    listening: Option<JoinHandle<()>>,
    next_id: AtomicU64,
}

impl Peer {
    /// Connects; `url` is that of the transport.
    pub(super) async fn open(wire: Wire, stateless: bool, url: &str, key: &str) -> Self {
        let client = Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        let mut peer = Self {
            client,
            url: url.to_owned(),
            key: key.to_owned(),
            stateless,
            session: None,
            stream: None,
            asked: Arc::default(),
            listening: None,
            next_id: AtomicU64::new(1),
        };
        if wire == Wire::Sse {
            let request = peer.client.get(url).bearer_auth(key).header(ACCEPT, "text/event-stream");
            let mut response = request.timeout(STREAM_LIMIT).send().await.unwrap();
            let mut buffer = Vec::new();
            let first = read_event(&mut response, &mut buffer).await.unwrap();
            assert_eq!(first.name, "endpoint");
            peer.url = response.url().join(&first.data).unwrap().to_string();
            peer.stream = Some((response, buffer));
        }
        if !stateless {
            peer.initialize().await;
        }
        peer
    }

    async fn initialize(&mut self) {
        let params = json!({
            "protocolVersion": SESSIONS, "capabilities": capabilities(),
            "clientInfo": { "name": "peer", "version": "1" },
        });
        let told = self.ask("initialize", params).await;
        assert_eq!(told.answer["result"]["protocolVersion"], SESSIONS, "{told:?}");
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.say(&initialized).await;
        if self.stream.is_none() {
            self.listen().await;
        }
        self.ask("logging/setLevel", json!({ "level": "debug" })).await;
    }

    /// Answers what the session is asked on its own stream, as what belongs to no call is.
    async fn listen(&mut self) {
        let request = self.with_session(self.client.get(&self.url));
        let request = request.header(ACCEPT, "text/event-stream").timeout(STREAM_LIMIT);
        let mut response = request.send().await.unwrap();
        assert!(is_stream(&response), "{response:?}");
        let asked = Arc::clone(&self.asked);
        let post = self.with_session(self.client.post(&self.url));
        self.listening = Some(tokio::spawn(async move {
            let mut buffer = Vec::new();
            while let Ok(event) = read_event(&mut response, &mut buffer).await {
                let said: Value = serde_json::from_str(&event.data).unwrap_or_default();
                if said["id"].is_null() {
                    continue;
                }
                asked.lock().unwrap().push(said["method"].as_str().unwrap().to_owned());
                let result = answer_to(&said);
                let answer = json!({ "jsonrpc": "2.0", "id": said["id"], "result": result });
                let post = post.try_clone().unwrap().header(CONTENT_TYPE, "application/json");
                post.body(answer.to_string()).send().await.unwrap();
            }
        }));
    }

    fn with_session(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.bearer_auth(&self.key);
        match &self.session {
            Some(session) => {
                request.header("mcp-session-id", session).header("mcp-protocol-version", SESSIONS)
            }
            None => request,
        }
    }

    /// Sends a request, answers what is asked meanwhile, and gives the answer.
    pub(super) async fn ask(&mut self, method: &str, params: Value) -> Told {
        let mut told = Told { answer: Value::Null, notifications: Vec::new(), asked: Vec::new() };
        let mut params = params;
        for _ in 0..ROUNDS {
            let id = self.next_id.fetch_add(1, Relaxed);
            let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": method });
            message["params"] = params.clone();
            if self.stateless {
                self.describe(&mut message["params"]["_meta"]);
            }
            self.exchange(&message, &mut told).await;
            told.asked.append(&mut self.asked.lock().unwrap());
            let result = &told.answer["result"];
            if result["resultType"] != "input_required" {
                return told;
            }
            let mut answers = Map::new();
            for (key, request) in result["inputRequests"].as_object().unwrap() {
                told.asked.push(request["method"].as_str().unwrap().to_owned());
                answers.insert(key.clone(), answer_to(request));
            }
            params["inputResponses"] = answers.into();
            match result.get("requestState") {
                Some(state) => params["requestState"] = state.clone(),
                None => drop(params.as_object_mut().unwrap().remove("requestState")),
            }
        }
        panic!("{method} asks for ever: {}", told.answer);
    }

    fn describe(&self, meta: &mut Value) {
        meta["io.modelcontextprotocol/protocolVersion"] = STATELESS.into();
        meta["io.modelcontextprotocol/clientCapabilities"] = capabilities();
        meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "peer", "version": "1" });
        meta["io.modelcontextprotocol/logLevel"] = "debug".into();
    }

    async fn exchange(&mut self, message: &Value, told: &mut Told) {
        let mut response = self.post(message).await;
        if let Some(session) = response.headers().get("mcp-session-id") {
            self.session = Some(session.to_str().unwrap().to_owned());
        }
        if self.stream.is_none() && !is_stream(&response) {
            let text = response.text().await.unwrap();
            told.answer =
                serde_json::from_str(&text).unwrap_or_else(|_| panic!("{message}: {text}"));
            return;
        }
        let mut own = Vec::new();
        loop {
            let event = match &mut self.stream {
                Some((stream, buffer)) => read_event(stream, buffer).await,
                None => read_event(&mut response, &mut own).await,
            };
            let event = event.unwrap_or_else(|error| panic!("{message}: {error}"));
            if event.data.is_empty() {
                continue;
            }
            let said: Value = serde_json::from_str(&event.data).unwrap();
            if said["method"].is_null() {
                assert_eq!(said["id"], message["id"], "{said}");
                told.answer = said;
                return;
            }
            if said["id"].is_null() {
                told.notifications.push(said);
                continue;
            }
            told.asked.push(said["method"].as_str().unwrap().to_owned());
            let answer = json!({ "jsonrpc": "2.0", "id": said["id"], "result": answer_to(&said) });
            self.say(&answer).await;
        }
    }

    async fn say(&self, message: &Value) {
        let status = self.post(message).await.status();
        assert_eq!(status.as_u16(), 202, "{message}");
    }

    async fn post(&self, message: &Value) -> Response {
        let mut request = self.with_session(self.client.post(&self.url));
        request = request.header(ACCEPT, "application/json, text/event-stream");
        if self.stateless && self.stream.is_none() {
            request = with_headers(request, message);
        }
        let request = request.header(CONTENT_TYPE, "application/json").body(message.to_string());
        request.send().await.unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// The headers that repeat the body.
fn with_headers(request: RequestBuilder, message: &Value) -> RequestBuilder {
    let mut request = request.header("mcp-protocol-version", STATELESS);
    request = request.header("mcp-method", message["method"].as_str().unwrap());
    let params = &message["params"];
    if let Some(name) = params["name"].as_str().or(params["uri"].as_str()) {
        request = request.header("mcp-name", name);
    }
    // The one annotated argument that the scenarios use.
    match params["arguments"]["region"].as_str() {
        Some(region) => request.header("mcp-param-region", region),
        None => request,
    }
}

fn capabilities() -> Value {
    json!({ "elicitation": {}, "sampling": {}, "roots": {} })
}

/// The same answer to the same question, whoever asks.
fn answer_to(request: &Value) -> Value {
    match request["method"].as_str().unwrap() {
        "elicitation/create" => {
            let properties = &request["params"]["requestedSchema"]["properties"];
            let content: Map<_, _> = properties
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, schema)| (name.clone(), value_of(schema)))
                .collect();
            json!({ "action": "accept", "content": content })
        }
        "sampling/createMessage" => json!({
            "role": "assistant", "content": { "type": "text", "text": "sampled" }, "model": "m",
        }),
        "roots/list" => json!({ "roots": [{ "uri": "file:///root", "name": "root" }] }),
        method => panic!("asked with {method}"),
    }
}

fn value_of(schema: &Value) -> Value {
    match schema["type"].as_str().unwrap() {
        "string" if schema["enum"].is_array() => schema["enum"][1].clone(),
        "string" if schema["oneOf"].is_array() => schema["oneOf"][1]["const"].clone(),
        "string" => json!("text"),
        "integer" => json!(7),
        "number" => json!(1.5),
        "boolean" => json!(true),
        "array" => match &schema["items"]["anyOf"] {
            Value::Array(choices) => json!([choices[0]["const"]]),
            _ => json!([schema["items"]["enum"][0]]),
        },
        other => panic!("a form asks for {other}"),
    }
}
