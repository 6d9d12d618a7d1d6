//! What the conformance suite calls, with what it does not look at: a project with three servers
//! and prefixes gives the very answers that the server gives alone, over both transports and in
//! both eras of clients, whatever the era and transport of the server.

use fixtures::Upstream;
use serde_json::{Value, json};

use super::peer::{Peer, Told, Wire};
use crate::harness::{Options, Orch, conformance_stdio};

/// The servers of the project, by name.
const SERVERS: [&str; 3] = ["both", "sessions", "child"];

#[tokio::test(flavor = "multi_thread")]
async fn sessions_over_streamable_http_get_what_the_server_says() {
    compare(Wire::Streamable, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_over_sse_get_what_the_server_says() {
    compare(Wire::Sse, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stateless_clients_over_streamable_http_get_what_the_server_says() {
    compare(Wire::Streamable, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stateless_clients_over_sse_get_what_the_server_says() {
    compare(Wire::Sse, true).await;
}

async fn compare(wire: Wire, stateless: bool) {
    let fixture = Upstream::conformance::<&str>([]).unwrap();
    let older = Upstream::conformance(["--era", "sessions"]).unwrap();
    let orch = Orch::start(Options::default()).await;
    let http =
        |name: &str, url: &str| json!({ "name": name, "type": "streamable_http", "url": url });
    let mut child = conformance_stdio("child", &["--era", "sessions"]);
    child["isolation"] = json!("session");
    for server in [http("both", &fixture.mcp_url()), http("sessions", &older.mcp_url()), child] {
        orch.register(&server).await;
    }
    orch.active(&SERVERS).await;
    let (alone, through) = match wire {
        Wire::Streamable => (fixture.mcp_url(), &orch.ready.mcp_url),
        Wire::Sse => (fixture.sse_url(), &orch.ready.sse_url),
    };
    let mut alone = Peer::open(wire, stateless, &alone, "none").await;
    let mut through = Peer::open(wire, stateless, through, &orch.api_key).await;
    for server in SERVERS {
        same_lists(&mut alone, &mut through, server).await;
        for (method, params) in scenarios() {
            let expected = alone.ask(method, params.clone()).await;
            let told = through.ask(method, of_server(server, method, params.clone())).await;
            let what = format!("{wire:?} stateless={stateless} {server} {method} {params}");
            same(&what, server, &expected, &told);
            // What a child of the session logs belongs to no call: over Streamable HTTP it is on
            // the session's own stream.
            let apart = server == "child" && !stateless && wire == Wire::Streamable;
            said_the_same(&what, &expected, &told, !apart);
        }
    }
}

/// Each request that has an answer of its own.
fn scenarios() -> Vec<(&'static str, Value)> {
    let tools = [
        ("test_simple_text", json!({})),
        ("test_image_content", json!({})),
        ("test_audio_content", json!({})),
        ("test_embedded_resource", json!({})),
        ("test_multiple_content_types", json!({})),
        ("test_resource_link", json!({})),
        ("test_error_handling", json!({})),
        ("json_schema_2020_12_tool", json!({ "name": "n", "phone": "1" })),
        ("test_custom_headers", json!({ "region": "eu-1", "query": "q" })),
        ("test_structured_content", json!({ "value": { "z": 1, "a": [null, 2.5, "3"] } })),
        ("test_tool_with_logging", json!({})),
        ("test_sampling", json!({ "prompt": "Say it" })),
        ("test_elicitation", json!({ "message": "Who?" })),
        ("test_elicitation_sep1034_defaults", json!({})),
        ("test_elicitation_sep1330_enums", json!({})),
        ("test_list_roots", json!({})),
        ("test_input_required_result_elicitation", json!({})),
        ("test_input_required_result_sampling", json!({})),
        ("test_input_required_result_list_roots", json!({})),
        ("test_input_required_result_request_state", json!({})),
        ("test_input_required_result_multiple_inputs", json!({})),
        ("test_input_required_result_multi_round", json!({})),
        ("test_input_required_result_capabilities", json!({})),
        ("greet", json!({ "name": "you" })),
        ("no_such_tool", json!({})),
    ];
    let mut all: Vec<_> = tools
        .into_iter()
        .map(|(name, arguments)| ("tools/call", json!({ "name": name, "arguments": arguments })))
        .collect();
    for token in [json!("a token"), json!(7)] {
        let name = "test_tool_with_progress";
        let meta = json!({ "progressToken": token });
        all.push(("tools/call", json!({ "name": name, "arguments": {}, "_meta": meta })));
    }
    let arguments = json!({ "arg1": "one", "arg2": "two" });
    let embedded = json!({ "resourceUri": "test://example-resource" });
    all.extend([
        ("prompts/get", json!({ "name": "test_simple_prompt" })),
        ("prompts/get", json!({ "name": "test_prompt_with_arguments", "arguments": arguments })),
        (
            "prompts/get",
            json!({ "name": "test_prompt_with_embedded_resource", "arguments": embedded }),
        ),
        ("prompts/get", json!({ "name": "test_prompt_with_image" })),
        ("prompts/get", json!({ "name": "test_input_required_result_prompt" })),
    ]);
    for uri in [
        "test://static-text",
        "test://static-binary",
        "test://template/123/data",
        "test://input-required",
        "test://nothing-here",
    ] {
        all.push(("resources/read", json!({ "uri": uri })));
    }
    let complete = |reference: Value, name: &str, value: &str| {
        let argument = json!({ "name": name, "value": value });
        ("completion/complete", json!({ "ref": reference, "argument": argument }))
    };
    let prompt = json!({ "type": "ref/prompt", "name": "test_prompt_with_arguments" });
    let template = json!({ "type": "ref/resource", "uri": "test://template/{id}/data" });
    all.extend([complete(prompt, "arg1", "pa"), complete(template, "id", "1")]);
    all
}

fn prefix(server: &str) -> String {
    format!("mcp+{server}+")
}

/// The request as a client of the project sends it.
fn of_server(server: &str, method: &str, mut params: Value) -> Value {
    let tool = |name: &Value| json!(format!("{server}__{}", name.as_str().unwrap()));
    let resource = |uri: &Value| json!(format!("{}{}", prefix(server), uri.as_str().unwrap()));
    match method {
        "resources/read" => params["uri"] = resource(&params["uri"]),
        "completion/complete" if params["ref"]["type"] == "ref/prompt" => {
            params["ref"]["name"] = tool(&params["ref"]["name"]);
        }
        "completion/complete" => params["ref"]["uri"] = resource(&params["ref"]["uri"]),
        _ => params["name"] = tool(&params["name"]),
    }
    params
}

fn same(what: &str, server: &str, expected: &Told, told: &Told) {
    // Inputs that are required together have no order.
    let asked = |told: &Told| {
        let mut asked = told.asked.clone();
        asked.sort_unstable();
        asked
    };
    assert_eq!(asked(told), asked(expected), "{what}: what the client was asked");
    let (direct, through) = (&expected.answer["error"], &told.answer["error"]);
    assert_eq!(through["code"], direct["code"], "{what}: {}", told.answer);
    let plain = |answer: &Value| {
        let mut result = without_prefix(server, &answer["result"]);
        // What belongs to the hop, not to the answer.
        if let Some(result) = result.as_object_mut() {
            for field in ["_meta", "resultType", "ttlMs", "cacheScope"] {
                result.remove(field);
            }
        }
        result
    };
    assert_eq!(plain(&told.answer), plain(&expected.answer), "{what}");
}

fn said_the_same(what: &str, expected: &Told, told: &Told, logs: bool) {
    let said = |told: &Told, method: &str, fields: &[&str]| -> Vec<Vec<Value>> {
        let of_method = told.notifications.iter().filter(|it| it["method"] == method);
        let shown = |it: &Value| fields.iter().map(|field| it["params"][*field].clone()).collect();
        of_method.map(shown).collect()
    };
    let mut kinds =
        vec![("notifications/progress", &["progressToken", "progress", "total", "message"][..])];
    if logs {
        kinds.push(("notifications/message", &["level", "data"][..]));
    }
    for (method, fields) in kinds {
        assert_eq!(said(told, method, fields), said(expected, method, fields), "{what}");
    }
}

fn without_prefix(server: &str, value: &Value) -> Value {
    serde_json::from_str(&value.to_string().replace(&prefix(server), "")).unwrap()
}

/// The lists show each item as the server does, but for its name or URI.
async fn same_lists(alone: &mut Peer, through: &mut Peer, server: &str) {
    for (method, list, key) in [
        ("tools/list", "tools", "name"),
        ("prompts/list", "prompts", "name"),
        ("resources/list", "resources", "uri"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate"),
    ] {
        let direct = alone.ask(method, json!({})).await.answer["result"][list].clone();
        let mut listed = Vec::new();
        let mut params = json!({});
        loop {
            let page = through.ask(method, params).await.answer["result"].clone();
            listed.extend(page[list].as_array().unwrap().clone());
            match page.get("nextCursor") {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => break,
            }
        }
        let start = if key == "name" { format!("{server}__") } else { prefix(server) };
        let mut shown: Vec<Value> = listed
            .into_iter()
            .filter(|item| item[key].as_str().unwrap().starts_with(&start))
            .map(|mut item| {
                item[key] = item[key].as_str().unwrap()[start.len()..].into();
                item
            })
            .collect();
        let mut direct = direct.as_array().unwrap().clone();
        for item in shown.iter_mut().chain(&mut direct) {
            // Only sessions of 2025-11-25 say how a tool runs as a task.
            item.as_object_mut().unwrap().remove("execution");
        }
        let name = |item: &Value| item[key].as_str().unwrap().to_owned();
        shown.sort_by_key(name);
        direct.sort_by_key(name);
        assert_eq!(shown, direct, "{server} {method}");
    }
}
