//! What an upstream says reaches the client byte for byte, but for the spans that must change.

use fixtures::Upstream;
use serde_json::{Value, json};

use crate::harness::{Options, Orch, conformance_stdio};

/// Results with what a parser would change: the order of keys, the spelling of numbers, escapes,
/// white space, numbers beyond 64 bits, fields that nobody knows.
const RESULTS: [&str; 4] = [
    r#"{"content":[{"type":"text","text":"\u0041\/é"}],"structuredContent":{"z":1.0,"a":1e2,"n":123456789012345678901234567890},"isError":false}"#,
    r#"{ "structuredContent" : { "deep":[[],{},[null , true]], "b":2, "a":-0.0 } ,"content":[ ] , "x-unknown": {"kept":[1,2.50,"3"]} }"#,
    r#"{"content":[{"type":"new-kind","payload":{"uri":"not-a-resource"},"_meta":{"k":1E-7}}],"_meta":{"vendor/one":"\ud83d\ude00"}}"#,
    r#"{"isError":false,"content":[{"type":"text","text":"","annotations":{"priority":0.30}}],"structuredContent":[1,"2",{"three":3}]}"#,
];

#[tokio::test(flavor = "multi_thread")]
async fn results_survive_byte_for_byte_over_every_transport_and_in_both_eras() {
    for era in ["sessions", "both"] {
        let fixture = Upstream::conformance(["--era", era]).unwrap();
        let orch = Orch::start(Options::default()).await;
        orch.register(
            &json!({ "name": "http", "type": "streamable_http", "url": fixture.mcp_url() }),
        )
        .await;
        orch.register(&json!({ "name": "sse", "type": "sse", "url": fixture.sse_url() })).await;
        orch.register(&conformance_stdio("stdio", &["--era", era])).await;
        orch.active(&["http", "sse", "stdio"]).await;
        let raw = Raw::new(&orch);
        for server in ["http", "sse", "stdio"] {
            for result in RESULTS {
                let said = raw.call(&format!("{server}__test_raw_result"), result).await;
                let at = said.find("\"result\":").expect("a result") + "\"result\":".len();
                assert_eq!(said[at..].strip_suffix('}').unwrap(), result, "{era} {server}");
            }
        }
    }
}

/// A client that looks at bytes.
struct Raw {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Raw {
    fn new(orch: &Orch) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { client, url: orch.ready.mcp_url.clone(), key: orch.api_key.clone() }
    }

    async fn call(&self, tool: &str, result: &str) -> String {
        let session = self.initialize().await;
        let params = json!({ "name": tool, "arguments": { "result": result } });
        let answer = self.post(Some(&session), "tools/call", params).await;
        assert_eq!(answer.headers()["content-type"], "application/json");
        answer.text().await.unwrap()
    }

    async fn initialize(&self) -> String {
        let params = json!({
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "system-test", "version": "1" },
        });
        let answer = self.post(None, "initialize", params).await;
        answer.headers()["mcp-session-id"].to_str().unwrap().to_owned()
    }

    async fn post(&self, session: Option<&str>, method: &str, params: Value) -> reqwest::Response {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let mut request = self.client.post(&self.url).bearer_auth(&self.key);
        request = request.header("accept", "application/json, text/event-stream");
        request = request.header("content-type", "application/json").body(body.to_string());
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        request.send().await.unwrap()
    }
}
