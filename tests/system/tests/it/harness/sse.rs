//! A bare client of HTTP with server-sent events.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// One event of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: String,
}

/// Reads the next event, which may have no more than an id; comments are skipped.
pub(crate) async fn read_event(
    response: &mut Response,
    buffer: &mut Vec<u8>,
) -> Result<Event, String> {
    loop {
        let text = String::from_utf8_lossy(buffer).replace("\r\n", "\n");
        if let Some((block, rest)) = text.split_once("\n\n") {
            let event = parse(block);
            *buffer = rest.as_bytes().to_vec();
            if !event.data.is_empty() || !event.name.is_empty() || !event.id.is_empty() {
                return Ok(event);
            }
            continue;
        }
        match response.chunk().await.map_err(|error| format!("{error:?}"))? {
            Some(chunk) => buffer.extend_from_slice(&chunk),
            None => return Err("the stream ended".to_owned()),
        }
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        let Some((field, value)) = line.split_once(':') else { continue };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => value.clone_into(&mut event.id),
            "event" => value.clone_into(&mut event.name),
            "data" if event.data.is_empty() => value.clone_into(&mut event.data),
            "data" => event.data = format!("{}\n{value}", event.data),
            _ => {}
        }
    }
    event
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// An initialized session; its stream is read by a task.
#[derive(Debug)]
pub(crate) struct SseClient {
    client: Client,
    key: String,
    /// Where messages are posted.
    pub(crate) endpoint: String,
    waiting: Waiting,
    notifications: Arc<Mutex<Vec<Value>>>,
    next_id: AtomicU64,
    reader: JoinHandle<()>,
}

impl SseClient {
    /// Opens a stream and initializes.
    pub(crate) async fn open(url: &str, key: &str) -> Self {
        let session = Self::open_stream(url, key).await;
        let params = json!({
            "protocolVersion": "2024-11-05", "capabilities": {},
            "clientInfo": { "name": "system-test", "version": "1" },
        });
        session.result("initialize", params).await;
        session.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        session
    }

    /// Opens a stream and says nothing yet.
    pub(crate) async fn open_stream(url: &str, key: &str) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        let request = client.get(url).bearer_auth(key).header(ACCEPT, "text/event-stream");
        let mut response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        let mut buffer = Vec::new();
        let first = read_event(&mut response, &mut buffer).await.unwrap();
        assert_eq!(first.name, "endpoint", "{first:?}");
        let endpoint = response.url().join(&first.data).unwrap().to_string();
        let waiting = Waiting::default();
        let answers = Arc::clone(&waiting);
        let notifications = Arc::new(Mutex::new(Vec::new()));
        let notified = Arc::clone(&notifications);
        let reader = tokio::spawn(async move {
            while let Ok(event) = read_event(&mut response, &mut buffer).await {
                let message: Value = serde_json::from_str(&event.data).unwrap_or_default();
                if !message["method"].is_null() {
                    notified.lock().unwrap().push(message);
                } else if let Some(id) = message["id"].as_u64()
                    && let Some(answer) = answers.lock().unwrap().remove(&id)
                {
                    let _ = answer.send(message);
                }
            }
        });
        let key = key.to_owned();
        Self { client, key, endpoint, waiting, notifications, next_id: AtomicU64::new(1), reader }
    }

    /// The methods of the notifications that came, in their order.
    pub(crate) fn notified(&self) -> Vec<String> {
        let notifications = self.notifications.lock().unwrap();
        notifications.iter().filter_map(|it| it["method"].as_str().map(str::to_owned)).collect()
    }

    /// Posts one message, which has to be accepted.
    pub(crate) async fn post(&self, message: &Value) {
        let request = self.client.post(&self.endpoint).bearer_auth(&self.key);
        let request = request.header(CONTENT_TYPE, "application/json").body(message.to_string());
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 202, "{}", response.text().await.unwrap());
    }

    /// One request's whole answer, error or result.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let id = self.next_id.fetch_add(1, Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, sender);
        self.post(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        let answer = tokio::time::timeout(LIMIT, receiver).await;
        answer.unwrap_or_else(|_| panic!("{method} was not answered")).expect("the stream ended")
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
}

impl Drop for SseClient {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
