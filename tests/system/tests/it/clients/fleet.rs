//! The mixed fleet that the clients meet.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{
    Client, Everything, Options, Orch, Sdk, everything_http, everything_stdio, python_server,
    stdio_fixture,
};

/// A system with five servers over three transports.
pub(super) struct Fleet {
    pub(super) orch: Orch,
    _upstreams: [Everything; 2],
    /// Each tool of each server under the name that the unified endpoint must give it.
    pub(super) tools: BTreeSet<String>,
}

impl Fleet {
    pub(super) async fn start() -> Self {
        let sse = everything_http("sse").await;
        let streamable = everything_http("streamableHttp").await;
        let time = python_server("mcp-server-time");
        let servers = [
            everything_stdio("all-stdio"),
            json!({ "name": "all-sse", "type": "sse", "url": sse.url }),
            json!({ "name": "all-http", "type": "streamable_http", "url": streamable.url }),
            json!({
                "name": "time", "type": "stdio", "command": time,
                "args": ["--local-timezone", "UTC"],
            }),
            stdio_fixture("fixture", &["--page-size", "4", "--tools", "3"]),
        ];
        let orch = Orch::start(Options::default()).await;
        for server in &servers {
            orch.register(server).await;
        }
        let names: Vec<&str> =
            servers.iter().map(|server| server["name"].as_str().unwrap()).collect();
        orch.active(&names).await;
        let mut tools = BTreeSet::new();
        for server in &servers {
            tools.extend(own_tools(server).await);
        }
        Self { orch, _upstreams: [sse, streamable], tools }
    }

    /// The unified endpoint over a transport, as a client's connection.
    pub(super) fn connection(&self, transport: &str) -> Value {
        let ready = &self.orch.ready;
        let url = if transport == "sse" { &ready.sse_url } else { &ready.mcp_url };
        let authorization = format!("Bearer {}", self.orch.api_key);
        json!({
            "transport": transport, "url": url,
            "headers": { "Authorization": authorization },
        })
    }
}

/// What a server offers to a client that speaks to it without a gateway, prefixed.
async fn own_tools(server: &Value) -> Vec<String> {
    let transport = match server["type"].as_str().unwrap() {
        "streamable_http" => "http",
        other => other,
    };
    let mut connection = server.clone();
    connection["transport"] = json!(transport);
    // What a server asks over Streamable HTTP comes on the stream of its call: there the gateway
    // says of its clients that they can be asked.
    connection["capable"] = json!(transport == "http");
    let mut client = Client::connect(Sdk::Python, &connection).await;
    let names = client.tools().await;
    client.close().await;
    let server = server["name"].as_str().unwrap();
    names.iter().map(|name| format!("{server}__{name}")).collect()
}
