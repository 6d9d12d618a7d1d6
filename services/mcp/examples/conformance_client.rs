//! A client for the conformance suite: the last argument is the server's URL. It connects in
//! whatever era the server speaks, uses all that the server offers, and answers what it is asked
//! for. What a scenario wants called is in `MCP_CONFORMANCE_CONTEXT`, if it says so.

#![expect(clippy::print_stderr, reason = "this program has nothing else to say it with")]

use std::error::Error;

use bytes::Bytes;
use mcp::client::{
    ClientOptions, Connected, Connection, ConnectionEvent, Connector, Events, Frame, HttpTarget,
    LearnLimits, Reply, RequestOptions, ServerRequest, Target, learn_catalogue,
};
use mcp::{Catalogue, ListKind};
use serde_json::{Map, Value, json};

type Failure = Box<dyn Error>;

/// The most rounds of one request that the server answers with questions.
const MAX_ROUNDS: usize = 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().next_back().ok_or("no URL is given")?;
    let target = HttpTarget { url: url.parse()?, headers: http::HeaderMap::new() };
    let options = ClientOptions {
        capabilities: Bytes::from_static(
            br#"{"elicitation":{"form":{"applyDefaults":true}},"sampling":{},"roots":{}}"#,
        ),
        ..ClientOptions::default()
    };
    let Connected { connection, events } =
        Connector::new().connect(Target::StreamableHttp(target), &options).await?;
    tokio::select! {
        done = use_all(&connection) => done?,
        () = answer_events(&connection, events) => return Err("the connection ended".into()),
    }
    connection.close().await;
    Ok(())
}

async fn answer_events(connection: &Connection, mut events: Events) {
    while let Some(event) = events.next().await {
        if let ConnectionEvent::Request(request) = event {
            respond(connection, &request).await;
        }
    }
}

async fn use_all(connection: &Connection) -> Result<(), Failure> {
    let catalogue = learn_catalogue(connection, &LearnLimits::default()).await.catalogue;
    for (name, arguments) in wanted_calls(&catalogue)? {
        let outcome =
            request(connection, "tools/call", json!({"name": name, "arguments": arguments}));
        if let Reply::Error(error) = outcome.await? {
            eprintln!("{name}: {}", String::from_utf8_lossy(&error));
        }
    }
    for resource in catalogue.items(ListKind::Resources) {
        request(connection, "resources/read", json!({"uri": resource.key()})).await?;
    }
    for prompt in catalogue.items(ListKind::Prompts) {
        request(connection, "prompts/get", json!({"name": prompt.key()})).await?;
    }
    Ok(())
}

/// The calls that the scenario names, else one of each tool.
fn wanted_calls(catalogue: &Catalogue) -> Result<Vec<(String, Value)>, Failure> {
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").unwrap_or_else(|_| "{}".to_owned());
    let context: Value = serde_json::from_str(&context)?;
    if let Some(calls) = context["toolCalls"].as_array() {
        let call = |call: &Value| {
            (call["name"].as_str().unwrap_or_default().to_owned(), call["arguments"].clone())
        };
        return Ok(calls.iter().map(call).collect());
    }
    let mut calls = Vec::new();
    let mut first_schema = None;
    for tool in catalogue.items(ListKind::Tools) {
        let definition: Value = serde_json::from_slice(tool.raw())?;
        let schema = &definition["inputSchema"];
        let mut arguments = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let value = match property["type"].as_str() {
                Some("number" | "integer") => json!(7),
                Some("boolean") => json!(true),
                // An echo of a schema gets the first one that was listed.
                Some("object") if name == "schema" => first_schema.clone().unwrap_or(json!({})),
                Some("object") => json!({}),
                Some("array") => json!([]),
                _ => json!("text"),
            };
            arguments.insert(name.clone(), value);
        }
        first_schema.get_or_insert_with(|| schema.clone());
        calls.push((tool.key().to_owned(), Value::Object(arguments)));
    }
    Ok(calls)
}

/// Sends a request, answers what the server asks in between, and sends it again with the answers
/// where that is how the server asks.
async fn request(connection: &Connection, method: &str, params: Value) -> Result<Reply, Failure> {
    let mut again = params.clone();
    for _ in 0..MAX_ROUNDS {
        let reply = exchange(connection, method, &again).await?;
        let Reply::Result(result) = &reply else { return Ok(reply) };
        let result: Value = serde_json::from_slice(result)?;
        if result["resultType"] != "input_required" {
            return Ok(reply);
        }
        // Something else in between has nothing to do with it.
        if params["name"] == "test_mrtr_echo_state" {
            exchange(connection, method, &json!({"name": "test_mrtr_unrelated", "arguments": {}}))
                .await?;
        }
        again = params.clone();
        let asked = result["inputRequests"].as_object().into_iter().flatten();
        let answers = asked.map(|(key, asked)| {
            let method = asked["method"].as_str().unwrap_or_default();
            (key.clone(), answer(method, &asked["params"]).unwrap_or(Value::Null))
        });
        again["inputResponses"] = Value::Object(answers.collect());
        if let Some(state) = result.get("requestState") {
            again["requestState"] = state.clone();
        }
    }
    Err("the server does not stop asking".into())
}

async fn exchange(connection: &Connection, method: &str, params: &Value) -> Result<Reply, Failure> {
    let params = Bytes::from(params.to_string());
    let mut pending = connection.request(method, Some(params), RequestOptions::default());
    loop {
        match pending.next().await.ok_or("there is no answer")?? {
            Frame::Request(request) => respond(connection, &request).await,
            Frame::Reply(reply) => return Ok(reply),
            Frame::Progress(_) | Frame::Notification { .. } | Frame::Paused { .. } => {}
        }
    }
}

async fn respond(connection: &Connection, request: &ServerRequest) {
    let params = request.params.as_deref().unwrap_or(b"{}");
    let params = serde_json::from_slice(params).unwrap_or(Value::Null);
    let answer = match answer(&request.method, &params) {
        Some(result) => Ok(Bytes::from(result.to_string())),
        None => Err(Bytes::from_static(br#"{"code":-32601,"message":"Method not found"}"#)),
    };
    if let Err(error) = connection.respond(&request.id, answer).await {
        eprintln!("{}: {error}", request.method);
    }
}

/// What a client answers that accepts everything and fills in defaults.
fn answer(method: &str, params: &Value) -> Option<Value> {
    match method {
        "elicitation/create" => {
            let properties = params["requestedSchema"]["properties"].as_object();
            let content: Map<String, Value> = properties
                .into_iter()
                .flatten()
                .filter_map(|(name, property)| {
                    let default = property.get("default").cloned();
                    let yes = || (property["type"] == "boolean").then_some(json!(true));
                    Some((name.clone(), default.or_else(yes)?))
                })
                .collect();
            Some(json!({"action": "accept", "content": content}))
        }
        "sampling/createMessage" => Some(json!({
            "role": "assistant", "model": "none", "content": {"type": "text", "text": "text"},
        })),
        "roots/list" => Some(json!({"roots": [{"uri": "file:///root"}]})),
        _ => None,
    }
}
