//! `mcp-orch demo-server`: a small MCP server over stdio, so that anyone can finish the tour
//! without another server.
//!
//! It serves calls concurrently, one thread each, and writes whole lines only. Nothing here is
//! shared with the gateway's own wire: it is a peer, and small enough to read as an example.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

/// Revisions that the demo server speaks, the newest first.
const REVISIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
/// The largest result that `big_result` makes, in bytes.
const BIG_RESULT_LIMIT: u64 = 8 * 1024 * 1024;
/// The most steps that `countdown` takes, and the longest step in milliseconds.
const COUNTDOWN_LIMIT: (u64, u64) = (1_000, 10_000);

type Running = Arc<Mutex<HashMap<String, Sender<()>>>>;

/// Serves standard input until it ends.
pub(crate) fn run() -> ExitCode {
    let running: Running = Arc::default();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Value>(&line) {
            Ok(message) => handle(&message, &running),
            Err(_) => write(&json!({
                "jsonrpc": "2.0", "id": null,
                "error": { "code": -32700, "message": "Parse error" },
            })),
        }
    }
    ExitCode::SUCCESS
}

fn handle(message: &Value, running: &Running) {
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    let Some(id) = message.get("id").cloned() else {
        if method == "notifications/cancelled" {
            let request = message["params"]["requestId"].to_string();
            // Dropping the sender is what stops the call.
            locked(running).remove(&request);
        }
        return;
    };
    let params = message.get("params").cloned().unwrap_or_else(|| json!({}));
    if method != "tools/call" {
        write(&answer(&id, other(&method, &params)));
        return;
    }
    let (keep, stopped) = channel();
    locked(running).insert(id.to_string(), keep);
    let running = Arc::clone(running);
    std::thread::spawn(move || {
        let outcome = call(&params, &stopped);
        let still_wanted = locked(&running).remove(&id.to_string()).is_some();
        if let (Some(outcome), true) = (outcome, still_wanted) {
            write(&answer(&id, outcome));
        }
    });
}

fn locked(running: &Running) -> std::sync::MutexGuard<'_, HashMap<String, Sender<()>>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

type Outcome = Result<Value, (i32, String)>;
type Stopped = std::sync::mpsc::Receiver<()>;

fn answer(id: &Value, outcome: Outcome) -> Value {
    match outcome {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err((code, message)) => {
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
        }
    }
}

fn write(message: &Value) {
    let mut out = io::stdout().lock();
    // The reader is gone: there is nobody left to tell, and the end of stdin follows.
    let _ = writeln!(out, "{message}").and_then(|()| out.flush());
}

fn other(method: &str, params: &Value) -> Outcome {
    match method {
        "initialize" => Ok(initialize(params)),
        "ping" => Ok(json!({})),
        "tools/list" => Ok(json!({ "tools": tools() })),
        "resources/list" => Ok(json!({ "resources": [{
            "uri": "demo://readme", "name": "readme", "mimeType": "text/plain",
            "description": "What the demo server is for",
        }] })),
        "resources/templates/list" => Ok(json!({ "resourceTemplates": [{
            "uriTemplate": "demo://greeting/{name}", "name": "greeting",
            "mimeType": "text/plain", "description": "A greeting for a name",
        }] })),
        "resources/read" => read(params),
        "prompts/list" => Ok(json!({ "prompts": [{
            "name": "introduce", "description": "Asks a model to introduce a tool",
            "arguments": [{ "name": "tool", "description": "Which tool", "required": true }],
        }] })),
        "prompts/get" => prompt(params),
        _ => Err((-32601, format!("Method not found: {method}"))),
    }
}

fn initialize(params: &Value) -> Value {
    let asked = params["protocolVersion"].as_str().unwrap_or_default();
    let revision = REVISIONS.into_iter().find(|known| *known == asked).unwrap_or(REVISIONS[0]);
    json!({
        "protocolVersion": revision,
        "capabilities": { "tools": {}, "resources": {}, "prompts": {} },
        "serverInfo": { "name": "mcp-orch-demo", "version": env!("CARGO_PKG_VERSION") },
        "instructions": "Tools to try a gateway with: nothing here has an effect.",
    })
}

fn tools() -> Value {
    let number = json!({ "type": "number" });
    let read_only = json!({ "readOnlyHint": true });
    json!([
        { "name": "echo", "description": "Says what it was told", "annotations": read_only,
          "inputSchema": { "type": "object", "required": ["message"],
            "properties": { "message": { "type": "string" } } } },
        { "name": "add", "description": "Adds two numbers", "annotations": read_only,
          "inputSchema": { "type": "object", "required": ["a", "b"],
            "properties": { "a": number, "b": number } },
          "outputSchema": { "type": "object", "required": ["sum"],
            "properties": { "sum": number } } },
        { "name": "countdown", "description": "Takes its time and reports progress",
          "annotations": read_only,
          "inputSchema": { "type": "object", "properties": {
            "steps": { "type": "integer", "default": 5, "maximum": COUNTDOWN_LIMIT.0 },
            "step_ms": { "type": "integer", "default": 200, "maximum": COUNTDOWN_LIMIT.1 } } } },
        { "name": "big_result", "description": "Answers with as many bytes as asked",
          "annotations": read_only,
          "inputSchema": { "type": "object", "properties": {
            "bytes": { "type": "integer", "default": 100_000, "maximum": BIG_RESULT_LIMIT } } } },
        { "name": "fail", "description": "Always fails, as a tool does",
          "inputSchema": { "type": "object", "properties": {
            "message": { "type": "string" } } } },
    ])
}

fn text(text: impl Into<String>) -> Value {
    json!({ "content": [{ "type": "text", "text": text.into() }], "isError": false })
}

fn call(params: &Value, stopped: &Stopped) -> Option<Outcome> {
    let arguments = &params["arguments"];
    Some(match params["name"].as_str().unwrap_or_default() {
        "echo" => match arguments["message"].as_str() {
            Some(message) => Ok(text(message)),
            None => Err((-32602, "message must be a string".to_owned())),
        },
        "add" => match (arguments["a"].as_f64(), arguments["b"].as_f64()) {
            (Some(a), Some(b)) => {
                let mut result = text((a + b).to_string());
                result["structuredContent"] = json!({ "sum": a + b });
                Ok(result)
            }
            _ => Err((-32602, "a and b must be numbers".to_owned())),
        },
        "countdown" => return countdown(arguments, &params["_meta"]["progressToken"], stopped),
        "big_result" => {
            let bytes = arguments["bytes"].as_u64().unwrap_or(100_000).min(BIG_RESULT_LIMIT);
            Ok(text("x".repeat(usize::try_from(bytes).unwrap_or_default())))
        }
        "fail" => {
            let message = arguments["message"].as_str().unwrap_or("this tool always fails");
            Ok(json!({ "content": [{ "type": "text", "text": message }], "isError": true }))
        }
        unknown => Err((-32602, format!("Unknown tool: {unknown}"))),
    })
}

/// `None` when it was cancelled: nothing is answered then.
fn countdown(arguments: &Value, token: &Value, stopped: &Stopped) -> Option<Outcome> {
    let steps = arguments["steps"].as_u64().unwrap_or(5).min(COUNTDOWN_LIMIT.0);
    let step_ms = arguments["step_ms"].as_u64().unwrap_or(200).min(COUNTDOWN_LIMIT.1);
    for step in 1..=steps {
        match stopped.recv_timeout(Duration::from_millis(step_ms)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return None,
        }
        if !token.is_null() {
            write(&json!({
                "jsonrpc": "2.0", "method": "notifications/progress",
                "params": { "progressToken": token, "progress": step, "total": steps },
            }));
        }
    }
    Some(Ok(text(format!("{steps} steps taken"))))
}

fn read(params: &Value) -> Outcome {
    let uri = params["uri"].as_str().unwrap_or_default();
    let body = match uri.strip_prefix("demo://greeting/") {
        Some(name) if !name.is_empty() => format!("Hello, {name}!"),
        _ if uri == "demo://readme" => "A server to try a gateway with.".to_owned(),
        _ => return Err((-32002, "Resource not found".to_owned())),
    };
    Ok(json!({ "contents": [{ "uri": uri, "mimeType": "text/plain", "text": body }] }))
}

fn prompt(params: &Value) -> Outcome {
    if params["name"] != "introduce" {
        return Err((-32602, "Unknown prompt".to_owned()));
    }
    let tool = params["arguments"]["tool"].as_str().unwrap_or("echo");
    Ok(json!({ "messages": [{ "role": "user", "content": {
        "type": "text", "text": format!("Introduce the tool {tool} in one sentence.") } }] }))
}
