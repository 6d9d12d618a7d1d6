//! A client of the stateless revision, over both transports.

use reqwest::Response;
use serde_json::{Value, json};

use crate::client::{Client, SseClient};
use crate::stage::{Stage, soon};

pub(crate) const VERSION: &str = "2026-07-28";
pub(crate) const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
pub(crate) const CLIENT_KEY: &str = "io.modelcontextprotocol/clientInfo";
pub(crate) const LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";
pub(crate) const SUBSCRIPTION_KEY: &str = "io.modelcontextprotocol/subscriptionId";
pub(crate) const SERVER_KEY: &str = "io.modelcontextprotocol/serverInfo";

/// Says all that it must with each request.
#[derive(Clone)]
pub(crate) struct Stateless {
    client: Client,
    pub(crate) capabilities: Value,
}

impl Stateless {
    /// Of the unified endpoint, with the Owner's key; it offers all that can be asked.
    pub(crate) fn new(stage: &Stage) -> Self {
        Self::of(stage.client())
    }

    pub(crate) fn of(client: Client) -> Self {
        let capabilities = json!({"elicitation": {}, "sampling": {}, "roots": {}});
        Self { client, capabilities }
    }

    pub(crate) fn with(&self, capabilities: Value) -> Self {
        Self { capabilities, ..self.clone() }
    }

    /// The body of a request with its metadata; what `params` has of it counts more.
    pub(crate) fn body(&self, id: u64, method: &str, params: &Value) -> Value {
        let mut meta = json!({
            VERSION_KEY: VERSION,
            CAPABILITIES_KEY: self.capabilities,
            CLIENT_KEY: {"name": "tester", "version": "2"},
        });
        if let Some(more) = params.get("_meta").and_then(Value::as_object) {
            meta.as_object_mut().unwrap().extend(more.clone());
        }
        let mut params = params.clone();
        params["_meta"] = meta;
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    }

    /// Sends a body with these headers beside those that all requests have.
    pub(crate) async fn post(&self, body: &Value, headers: &[(&str, &str)]) -> Response {
        let mut request = self.client.builder(reqwest::Method::POST).body(body.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        soon(request.send()).await.unwrap()
    }

    /// Sends a request with the headers that its body calls for.
    pub(crate) async fn send(&self, id: u64, method: &str, params: Value) -> Response {
        let body = self.body(id, method, &params);
        let name = ["name", "uri", "taskId"].iter().find_map(|key| params[key].as_str());
        let mut headers = vec![("mcp-protocol-version", VERSION), ("mcp-method", method)];
        headers.extend(name.map(|name| ("mcp-name", name)));
        self.post(&body, &headers).await
    }

    /// The status and the answer.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> (u16, Value) {
        let response = self.send(1, method, params).await;
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} {text}")))
    }

    /// The result of a request that has one.
    pub(crate) async fn result(&self, method: &str, params: Value) -> Value {
        let (status, answer) = self.ask(method, params).await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer["result"].is_object(), "{answer}");
        answer["result"].clone()
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.result("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// The status and the error of a request that has one.
    pub(crate) async fn refused(&self, method: &str, params: Value) -> (u16, Value) {
        let (status, answer) = self.ask(method, params).await;
        assert!(answer["error"].is_object(), "{answer}");
        (status, answer["error"].clone())
    }

    /// Posts a request to a stream's endpoint, without headers of this revision.
    pub(crate) async fn post_sse(&self, sse: &SseClient, id: u64, method: &str, params: Value) {
        let response = sse.post(self.body(id, method, &params).to_string()).await;
        assert_eq!(response.status(), 202);
    }
}

/// The tries of one request: its parameters with what goes back.
pub(crate) fn retry(params: &Value, asked: &Value, responses: Value) -> Value {
    let mut params = params.clone();
    params["inputResponses"] = responses;
    params["requestState"] = asked["requestState"].clone();
    params
}

/// The only key under which something is asked.
pub(crate) fn only_key(asked: &Value) -> String {
    let requests = asked["inputRequests"].as_object().unwrap_or_else(|| panic!("{asked}"));
    assert_eq!(requests.len(), 1, "{asked}");
    requests.keys().next().unwrap().clone()
}
