//! Learning a catalogue from an upstream over pipes.

use std::time::Duration;

use mcp::ListKind;
use mcp::client::{
    CatalogueOutcome, Connected, LearnLimits, ListError, ListFailure, learn_catalogue,
};
use serde_json::{Value, json};

use crate::peer::{Peer, sessions, soon};

fn keys(outcome: &CatalogueOutcome, kind: ListKind) -> Vec<&str> {
    outcome.catalogue.items(kind).iter().map(mcp::catalogue::Item::key).collect()
}

/// Learns while the peer answers each request with what `answer` makes of it; `None` is silence.
async fn learn(
    limits: LearnLimits,
    answer: impl Fn(&str, &Value) -> Option<Value>,
) -> (CatalogueOutcome, Vec<String>) {
    let (mut peer, connected) = Peer::connected(sessions()).await;
    let Connected { connection, .. } = &connected;
    let mut asked = Vec::new();
    let serve = async {
        loop {
            let request = peer.read().await;
            let method = request["method"].as_str().unwrap().to_owned();
            if let Some(answer) = answer(&method, &request["params"]) {
                let member = if answer.get("code").is_some() { "error" } else { "result" };
                peer.write(json!({"jsonrpc": "2.0", "id": request["id"], member: answer})).await;
            }
            asked.push(method);
        }
    };
    let outcome = tokio::select! {
        outcome = soon(learn_catalogue(connection, &limits)) => outcome,
        () = serve => unreachable!("serves for ever"),
    };
    (outcome, asked)
}

fn usual(method: &str, params: &Value) -> Option<Value> {
    Some(match (method, params["cursor"].as_str()) {
        ("tools/list", None) => {
            json!({"tools": [{"name": "a"}, {"name": "b"}], "nextCursor": "\"2\n"})
        }
        ("tools/list", Some("\"2\n")) => json!({"tools": [], "nextCursor": "3"}),
        ("tools/list", Some("3")) => json!({"tools": [{"name": "c", "x": 1}]}),
        ("resources/list", _) => json!({"resources": [{"uri": "a:b"}], "nextCursor": null}),
        ("prompts/list", _) => json!({"prompts": [{"name": "p"}]}),
        _ => json!({"code": -32601, "message": "Method not found"}),
    })
}

#[tokio::test]
async fn every_page_of_every_declared_list_is_taken() {
    let (outcome, asked) = learn(LearnLimits::default(), usual).await;
    assert_eq!(outcome.failures, []);
    assert_eq!(keys(&outcome, ListKind::Tools), ["a", "b", "c"]);
    assert_eq!(keys(&outcome, ListKind::Resources), ["a:b"]);
    assert_eq!(keys(&outcome, ListKind::Prompts), ["p"]);
    assert_eq!(keys(&outcome, ListKind::ResourceTemplates), [""; 0]);
    assert_eq!(outcome.catalogue.protocol_version, "2025-06-18");
    assert_eq!(asked.len(), 6);
    let stored = outcome.catalogue.to_json();
    assert_eq!(mcp::Catalogue::from_json(&stored).unwrap(), outcome.catalogue);
}

#[tokio::test]
async fn a_list_that_hangs_is_named_and_holds_up_no_other() {
    let limits = LearnLimits { list_timeout: Duration::from_millis(200), ..LearnLimits::default() };
    let hangs = |method: &str, params: &Value| {
        if method == "tools/list" { None } else { usual(method, params) }
    };
    let (outcome, _) = learn(limits, hangs).await;
    let failure = ListFailure { list: ListKind::Tools, error: ListError::Timeout };
    assert_eq!(outcome.failures, std::slice::from_ref(&failure));
    assert_eq!(failure.to_string(), "tools/list: no answer in time");
    assert_eq!(keys(&outcome, ListKind::Resources), ["a:b"]);
}

#[tokio::test]
async fn each_fault_of_a_list_has_its_name() {
    let fault = async |tools: Value| {
        let limits =
            LearnLimits { max_pages: 5, max_items: 8, max_bytes: 400, ..LearnLimits::default() };
        let answer = |method: &str, params: &Value| {
            if method == "tools/list" { Some(tools.clone()) } else { usual(method, params) }
        };
        let (outcome, _) = learn(limits, answer).await;
        assert_eq!(keys(&outcome, ListKind::Prompts), ["p"]);
        let [failure] = <[_; 1]>::try_from(outcome.failures).unwrap();
        failure.error
    };
    let message = "nope".to_owned();
    let refused = ListError::Refused { code: -1, message };
    assert_eq!(fault(json!({"code": -1, "message": "nope"})).await, refused);
    assert_eq!(fault(json!({"tools": {}})).await, ListError::NotAList);
    assert_eq!(fault(json!({"tools": [{"title": "nameless"}]})).await, ListError::NotAList);
    assert_eq!(fault(json!({"tools": [], "nextCursor": "1"})).await, ListError::Circle);
    let nine: Vec<_> = (0..9).map(|n| json!({"name": n.to_string()})).collect();
    assert_eq!(fault(json!({"tools": nine})).await, ListError::TooMuch("items"));
    let large = json!({"name": "x".repeat(500)});
    assert_eq!(fault(json!({"tools": [large]})).await, ListError::TooMuch("bytes"));
}

#[tokio::test]
async fn an_item_without_a_readable_name_hides_no_other() {
    let odd = |method: &str, params: &Value| match method {
        "tools/list" => Some(json!({"tools": [{"name": 7}, {"name": "a"}, null, {"title": "x"}]})),
        _ => usual(method, params),
    };
    let (outcome, _) = learn(LearnLimits::default(), odd).await;
    assert_eq!(outcome.failures, []);
    assert_eq!(keys(&outcome, ListKind::Tools), ["a"]);
}

#[tokio::test]
async fn pages_without_end_are_cut_off() {
    let limits = LearnLimits { max_pages: 5, ..LearnLimits::default() };
    let endless = |method: &str, params: &Value| {
        let page = params["cursor"].as_str().map_or(0, |cursor| cursor.parse::<u32>().unwrap());
        let next = (page + 1).to_string();
        Some(match method {
            "tools/list" => json!({"tools": [], "nextCursor": next}),
            _ => usual(method, params)?,
        })
    };
    let (outcome, asked) = learn(limits, endless).await;
    assert_eq!(outcome.failures.len(), 1);
    assert_eq!(outcome.failures[0].error, ListError::TooMuch("pages"));
    assert_eq!(asked.iter().filter(|method| *method == "tools/list").count(), 5);
}
