//! Clients of both transports, as plain as they can be.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::stage::soon;

/// A client of Streamable HTTP.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// Up to `/mcp`.
    pub(crate) base: String,
    pub(crate) key: String,
    pub(crate) session: Option<String>,
    pub(crate) accept: &'static str,
}

impl Client {
    pub(crate) fn new(http: reqwest::Client, base: String, key: &str) -> Self {
        let accept = "application/json, text/event-stream";
        Self { http, base, key: key.to_owned(), session: None, accept }
    }

    /// A request to `/mcp` with all headers.
    pub(crate) fn builder(&self, method: Method) -> reqwest::RequestBuilder {
        let mut builder = self
            .http
            .request(method, format!("{}/mcp", self.base))
            .header("accept", self.accept)
            .header("content-type", "application/json")
            .bearer_auth(&self.key);
        if let Some(session) = &self.session {
            builder = builder.header("mcp-session-id", session);
        }
        builder
    }

    pub(crate) async fn send(&self, body: impl Into<reqwest::Body>) -> Response {
        soon(self.builder(Method::POST).body(body).send()).await.unwrap()
    }

    pub(crate) async fn initialize(&mut self, revision: &str) -> Value {
        self.initialize_with(revision, json!({})).await
    }

    /// Opens a session with these capabilities.
    pub(crate) async fn initialize_with(&mut self, revision: &str, capabilities: Value) -> Value {
        let params = json!({
            "protocolVersion": revision, "capabilities": capabilities,
            "clientInfo": {"name": "tester", "version": "1"},
        });
        let response = self.send(message(0, "initialize", &params)).await;
        assert_eq!(response.status(), 200);
        let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        self.session = Some(session);
        let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(self.send(note).await.status(), 202);
        response.json().await.unwrap()
    }

    /// The answer to a request, whatever its status.
    pub(crate) async fn request(&self, method: &str, params: Value) -> Value {
        let response = self.send(message(1, method, &params)).await;
        let text = response.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// The names of the tools that are listed.
    pub(crate) async fn tools(&self) -> Vec<String> {
        names(&self.request("tools/list", json!({})).await)
    }

    /// Opens the stream of what is said unasked.
    pub(crate) async fn listen(&self) -> Stream {
        let response = soon(self.builder(Method::GET).send()).await.unwrap();
        assert_eq!(response.status(), 200);
        Stream::new(response)
    }
}

impl Client {
    /// Sends a request and reads its answer as a stream.
    pub(crate) async fn stream(&self, id: u64, method: &str, params: Value) -> Stream {
        let response = self.send(message(id, method, &params)).await;
        assert_eq!(response.status(), 200);
        Stream::new(response)
    }

    /// Opens the stream of an event, from the next one on.
    pub(crate) async fn resume(&self, last: &str) -> Response {
        soon(self.builder(Method::GET).header("last-event-id", last).send()).await.unwrap()
    }

    /// Answers what the server asked.
    pub(crate) async fn answer(&self, asked: &Value, result: Value) {
        let body = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result});
        assert_eq!(self.send(body.to_string()).await.status(), 202);
    }

    /// Says something that wants no answer.
    pub(crate) async fn notify(&self, method: &str, params: Value) {
        let body = json!({"jsonrpc": "2.0", "method": method, "params": params});
        assert_eq!(self.send(body.to_string()).await.status(), 202);
    }
}

pub(crate) fn names(answer: &Value) -> Vec<String> {
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn message(id: u64, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

/// A stream of events.
pub(crate) struct Stream {
    response: Response,
    text: String,
    /// The id of the last event that had one.
    pub(crate) last_id: Option<String>,
    /// The last `retry` that was said.
    pub(crate) retry: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Event(String, String),
    Comment,
}

impl Stream {
    pub(crate) fn new(response: Response) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self { response, text: String::new(), last_id: None, retry: None }
    }

    /// The next event or comment; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Said> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if block.starts_with(':') {
                    return Some(Said::Comment);
                }
                let field = |name: &str| {
                    let lines = block.lines().filter_map(|line| line.strip_prefix(name));
                    lines.map(str::trim_start).collect::<Vec<_>>().join("\n")
                };
                let said = |name| Some(field(name)).filter(|value| !value.is_empty());
                self.last_id = said("id:").or(self.last_id.take());
                self.retry = said("retry:").or(self.retry.take());
                return Some(Said::Event(field("event:"), field("data:")));
            }
            match soon(self.response.chunk()).await {
                Ok(Some(chunk)) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) => return None,
                Err(error) => panic!("the stream broke: {error}"),
            }
        }
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            match self.next().await {
                // An event without data opens a stream.
                Some(Said::Event(_, data)) if data.is_empty() => {}
                Some(Said::Event(_, data)) => return serde_json::from_str(&data).unwrap(),
                Some(Said::Comment) => {}
                None => panic!("the stream ended"),
            }
        }
    }

    /// Waits for the end; what comes before is passed over.
    pub(crate) async fn end(mut self) {
        while self.next().await.is_some() {}
    }
}

/// A client of HTTP+SSE.
pub(crate) struct SseClient {
    http: reqwest::Client,
    key: String,
    pub(crate) stream: Stream,
    pub(crate) messages_url: String,
}

impl SseClient {
    /// Opens the stream of `client`'s place and reads the endpoint.
    pub(crate) async fn open(client: &Client, origin: &str) -> Self {
        let request = client.http.get(format!("{}/sse", client.base)).bearer_auth(&client.key);
        let response = soon(request.header("accept", "text/event-stream").send()).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut stream = Stream::new(response);
        let Some(Said::Event(event, endpoint)) = stream.next().await else { panic!("no endpoint") };
        assert_eq!(event, "endpoint");
        // The proxy of the public URL takes its prefix off.
        let path = endpoint.strip_prefix("/gateway").unwrap();
        let messages_url = format!("{origin}{path}");
        Self { http: client.http.clone(), key: client.key.clone(), stream, messages_url }
    }

    pub(crate) async fn post(&self, body: String) -> Response {
        let request = self.http.post(&self.messages_url).bearer_auth(&self.key);
        let request = request.header("content-type", "application/json").body(body);
        soon(request.send()).await.unwrap()
    }
}
