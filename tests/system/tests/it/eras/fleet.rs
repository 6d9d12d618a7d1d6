//! Servers of both eras, over every transport, in one project.

use fixtures::Upstream;
use serde_json::{Value, json};

use crate::harness::{
    Client, Everything, Options, Orch, Sdk, conformance_stdio, everything_http, everything_stdio,
    python_server,
};

/// A system with a server of SDK 1 for Node.js and a fixture as children of each client's own, a
/// server of SDK 2 for Python that keeps to the era of its first message, one behind SSE, and a
/// fixture that speaks both eras over Streamable HTTP.
pub(super) struct Fleet {
    pub(super) orch: Orch,
    _everything: Everything,
    _fixture: Upstream,
}

impl Fleet {
    pub(super) async fn start() -> Self {
        let everything = everything_http("sse").await;
        let fixture = Upstream::conformance::<&str>([]).unwrap();
        let mut npm = everything_stdio("npm");
        npm["isolation"] = json!("session");
        let mut child = conformance_stdio("child", &["--era", "sessions"]);
        child["isolation"] = json!("session");
        let time = json!({
            "name": "time", "type": "stdio", "command": python_server("mcp-server-time"),
            "args": ["--local-timezone", "UTC"],
        });
        let sse = json!({ "name": "sse", "type": "sse", "url": everything.url });
        let http =
            json!({ "name": "fixture", "type": "streamable_http", "url": fixture.mcp_url() });
        let orch = Orch::start(Options::default()).await;
        for server in [npm, child, time, sse, http] {
            orch.register(&server).await;
        }
        orch.active(&["npm", "child", "time", "sse", "fixture"]).await;
        Self { orch, _everything: everything, _fixture: fixture }
    }

    /// A client that can be asked.
    pub(super) async fn connect(&self, sdk: Sdk, transport: &str) -> Client {
        Client::connect(sdk, &self.connection(transport)).await
    }

    fn connection(&self, transport: &str) -> Value {
        let ready = &self.orch.ready;
        let url = if transport == "sse" { &ready.sse_url } else { &ready.mcp_url };
        let authorization = format!("Bearer {}", self.orch.api_key);
        json!({
            "transport": transport, "url": url, "capable": true,
            "headers": { "Authorization": authorization },
        })
    }
}
