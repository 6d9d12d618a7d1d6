//! Calls of stateless clients whose upstream is older and asks the client while they run: they
//! wait behind a signed state.

use std::time::Duration;

use backplane::exchange::{Answering, FollowUp};
use domain::Role;
use domain::call::CallOutcome;
use edge::EdgeLimits;
use proto::internal::v1::{ExchangeOpen, ServerRequest};
use serde_json::{Value, json};

use crate::stage::{Stage, soon, until};
use crate::stateless_client::{Stateless, only_key, retry};
use crate::worker::{Exchanges, Worker, ok, progress};

const ELICIT: &str = r#"{"message":"Name?","requestedSchema":{"type":"object"}}"#;

struct Scene {
    stage: Stage,
    client: Stateless,
    exchanges: Exchanges,
    _worker: Worker,
}

async fn scene(limits: EdgeLimits) -> Scene {
    let stage = Stage::with(limits).await;
    stage.world.add(1, "docs", &["find"]).await;
    let (worker, exchanges) = Worker::by_hand(&stage.world, 1).await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    Scene { stage, client, exchanges, _worker: worker }
}

fn params() -> Value {
    json!({"name": "docs__find", "arguments": {"a": 1}})
}

fn accept(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

async fn ask(answering: &Answering, id: &str, method: &str, params: &'static str) {
    let (id, method) = (id.to_owned(), method.to_owned());
    answering.ask(ServerRequest { id, method, params: params.into() }).await.unwrap();
}

impl Scene {
    /// Calls, and lets the upstream ask for a name: the result that asks, and the upstream's end.
    async fn asked(&mut self) -> (Value, ExchangeOpen, Answering) {
        let client = self.client.clone();
        let calling = async { client.result("tools/call", params()).await };
        let asking = async {
            let (open, answering) = self.exchanges.next().await;
            ask(&answering, "7", "elicitation/create", ELICIT).await;
            (open, answering)
        };
        let (asked, (open, answering)) = tokio::join!(calling, asking);
        assert_eq!(asked["resultType"], "input_required", "{asked}");
        (asked, open, answering)
    }
}

async fn answered(answering: &Answering) -> (String, Value) {
    match soon(answering.next_follow_up()).await {
        Some(FollowUp::Answer { id, answer: Ok(result) }) => {
            (id, serde_json::from_slice(&result).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_question_ends_the_request_and_the_next_try_goes_on_with_the_same_call() {
    let mut scene = scene(EdgeLimits::default()).await;
    let (asked, _, answering) = scene.asked().await;
    let key = only_key(&asked);
    let expected = json!({"method": "elicitation/create",
        "params": {"message": "Name?", "requestedSchema": {"type": "object"}}});
    assert_eq!(asked["inputRequests"][&key], expected);

    // Round two: another question, under another state.
    let again = retry(&params(), &asked, json!({&key: accept("Ada"), "unknown": 1}));
    let retrying = scene.client.result("tools/call", again);
    let going_on = async {
        assert_eq!(answered(&answering).await, ("7".to_owned(), accept("Ada")));
        ask(&answering, "8", "roots/list", "").await;
    };
    let (second, ()) = tokio::join!(retrying, going_on);
    assert_eq!(second["inputRequests"][only_key(&second)]["method"], "roots/list");
    assert_ne!(second["requestState"], asked["requestState"]);

    let roots = json!({"roots": [{"uri": "file:///x"}]});
    let last = retry(&params(), &second, json!({only_key(&second): roots}));
    let retrying = scene.client.result("tools/call", last.clone());
    let finishing = async {
        assert_eq!(answered(&answering).await, ("8".to_owned(), roots.clone()));
        answering.finish(ok(r#"{"content":[{"type":"text","text":"hi"}]}"#)).await.unwrap();
    };
    let (done, ()) = tokio::join!(retrying, finishing);
    assert_eq!(
        (&done["resultType"], &done["content"][0]["text"]),
        (&json!("complete"), &json!("hi"))
    );
    // It ran once, and a state works once.
    assert_eq!(scene.stage.world.finished().len(), 1);
    let (_, error) = scene.client.refused("tools/call", last).await;
    assert_eq!(error["code"], -32602);
}

#[tokio::test]
async fn only_who_asked_gets_further_and_only_with_the_same_request() {
    let mut scene = scene(EdgeLimits::default()).await;
    scene.stage.world.issue("api_key_second", Role::Owner, None).await;
    scene.stage.settled().await;
    let (asked, _, answering) = scene.asked().await;
    let good = retry(&params(), &asked, json!({only_key(&asked): accept("Ada")}));
    let state = asked["requestState"].as_str().unwrap();
    let with = |key: &str, value: Value| {
        let mut params = good.clone();
        params[key] = value;
        params
    };
    let flipped: String = state.chars().rev().collect();
    for wrong in [
        with("requestState", json!(format!("{state}-TAMPERED"))),
        with("requestState", json!(flipped)),
        with("requestState", json!("")),
        with("requestState", json!(7)),
        with("arguments", json!({"a": 2})),
        with("inputResponses", Value::Null),
    ] {
        let (status, error) = scene.client.refused("tools/call", wrong.clone()).await;
        assert_eq!((status, &error["code"]), (200, &json!(-32602)), "{wrong}");
    }
    let others = [
        ("/projects/search/unified", "api_key_second"),
        ("/projects/search/servers/docs", crate::world::KEY),
    ];
    for (place, key) in others {
        let other = Stateless::of(scene.stage.client_of(place, key));
        let mut foreign = good.clone();
        if place.ends_with("docs") {
            foreign["name"] = json!("find");
        }
        let (_, error) = other.refused("tools/call", foreign).await;
        assert_eq!(error["code"], -32602, "{place} {key}");
    }
    // Nothing of that reached the upstream, and the right one still does.
    let retrying = scene.client.result("tools/call", good);
    let finishing = async {
        assert_eq!(answered(&answering).await.1, accept("Ada"));
        answering.finish(ok("{}")).await.unwrap();
    };
    tokio::join!(retrying, finishing);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_what_is_missing_is_asked_again() {
    let mut scene = scene(EdgeLimits::default()).await;
    let client = scene.client.clone();
    let calling = async { client.result("tools/call", params()).await };
    let asking = async {
        let (_, answering) = scene.exchanges.next().await;
        ask(&answering, "1", "elicitation/create", ELICIT).await;
        ask(&answering, "2", "roots/list", "{}").await;
        answering
    };
    let (asked, answering) = tokio::join!(calling, asking);
    // What comes together is asked together.
    assert_eq!(asked["inputRequests"].as_object().unwrap().len(), 2, "{asked}");

    let unfitting = retry(&params(), &asked, json!({"1": 12345}));
    let (_, error) = scene.client.refused("tools/call", unfitting).await;
    assert_eq!(error["code"], -32602);
    let nothing = retry(&params(), &asked, json!({"wrong_key": accept("x")}));
    let again = scene.client.result("tools/call", nothing).await;
    assert_eq!(again["inputRequests"], asked["inputRequests"]);
    let one = retry(&params(), &again, json!({"1": accept("Ada")}));
    let rest = scene.client.result("tools/call", one).await;
    assert_eq!(answered(&answering).await, ("1".to_owned(), accept("Ada")));
    assert_eq!(only_key(&rest), "2");
    let last = retry(&params(), &rest, json!({"2": {"roots": []}}));
    let retrying = scene.client.result("tools/call", last);
    let finishing = async {
        assert_eq!(answered(&answering).await.0, "2");
        answering.finish(ok("{}")).await.unwrap();
    };
    let (done, ()) = tokio::join!(retrying, finishing);
    assert_eq!(done["resultType"], "complete");
}

#[tokio::test]
async fn a_client_is_asked_only_what_it_declared() {
    let mut scene = scene(EdgeLimits::default()).await;
    let client = scene.client.with(json!({"elicitation": {}}));
    let calling = async { client.refused("tools/call", params()).await };
    let asking = async {
        let (_, answering) = scene.exchanges.next().await;
        ask(&answering, "0", "ping", "").await;
        assert_eq!(answered(&answering).await, ("0".to_owned(), json!({})));
        ask(&answering, "1", "tasks/list", "").await;
        let Some(FollowUp::Answer { answer: Err(error), .. }) = answering.next_follow_up().await
        else {
            panic!("not refused");
        };
        assert!(String::from_utf8(error.to_vec()).unwrap().contains("-32601"));
        ask(&answering, "2", "sampling/createMessage", "{}").await;
        let Some(FollowUp::Answer { answer: Err(error), .. }) = answering.next_follow_up().await
        else {
            panic!("not refused");
        };
        assert!(String::from_utf8(error.to_vec()).unwrap().contains("-32021"));
        // An upstream that cannot do without it fails, and the client learns why.
        answering.finish(ok(r#"{"content":[],"isError":true}"#)).await.unwrap();
    };
    let ((status, error), ()) = tokio::join!(calling, asking);
    assert_eq!((status, &error["code"]), (400, &json!(-32021)));
    assert_eq!(error["data"]["requiredCapabilities"], json!({"sampling": {}}));

    // One that can goes on, with what the client offers.
    let calling = async { client.result("tools/call", params()).await };
    let asking = async {
        let (_, answering) = scene.exchanges.next().await;
        ask(&answering, "1", "roots/list", "{}").await;
        ask(&answering, "2", "elicitation/create", ELICIT).await;
        answering
    };
    let (asked, _answering) = tokio::join!(calling, asking);
    assert_eq!(asked["inputRequests"][only_key(&asked)]["method"], "elicitation/create");
}

#[tokio::test]
async fn progress_goes_on_under_the_token_of_the_last_try() {
    let mut scene = scene(EdgeLimits::default()).await;
    let (asked, _, answering) = scene.asked().await;
    let mut again = retry(&params(), &asked, json!({only_key(&asked): accept("Ada")}));
    again["_meta"] = json!({"progressToken": 2});
    let retrying = scene.client.send(9, "tools/call", again);
    let going_on = async {
        answered(&answering).await;
        answering.notify(progress(1)).await.unwrap();
        answering.finish(ok("{}")).await.unwrap();
    };
    let (response, ()) = tokio::join!(retrying, going_on);
    let mut stream = crate::client::Stream::new(response);
    assert_eq!(stream.message().await["params"], json!({"progressToken": 2, "progress": 1}));
    assert_eq!(stream.message().await["id"], 9);
}

#[tokio::test]
async fn a_call_that_waits_too_long_is_cancelled() {
    let limits = EdgeLimits { stale_after: Duration::from_secs(10_000), ..EdgeLimits::default() };
    let mut scene = scene(limits).await;
    let (asked, _, answering) = scene.asked().await;
    scene.stage.world.pass_seconds(301);
    assert!(soon(answering.cancelled()).await.is_some());
    let finished = proto::internal::v1::Finished {
        outcome: proto::events::v1::CallOutcome::Cancelled.into(),
        ..Default::default()
    };
    answering.finish(finished).await.unwrap();
    until("the record", || scene.stage.world.finished().len() == 1).await;
    assert_eq!(scene.stage.world.finished()[0].0.outcome, CallOutcome::Cancelled);
    let late = retry(&params(), &asked, json!({only_key(&asked): accept("Ada")}));
    let (_, error) = scene.client.refused("tools/call", late).await;
    assert_eq!(error["code"], -32602);
}

#[tokio::test]
async fn the_calls_that_wait_are_bounded() {
    let mut limits = EdgeLimits::default();
    limits.stateless.parked_calls_per_key = 1;
    let mut scene = scene(limits).await;
    let (_asked, _, _waiting) = scene.asked().await;
    let client = scene.client.clone();
    let calling = async { client.refused("tools/call", params()).await };
    let asking = async {
        let (_, answering) = scene.exchanges.next().await;
        ask(&answering, "7", "elicitation/create", ELICIT).await;
        answering
    };
    let ((_, error), answering) = tokio::join!(calling, asking);
    assert_eq!(error["data"]["reason"], "RESOURCE_EXHAUSTED");
    assert!(soon(answering.cancelled()).await.is_some());
}

#[tokio::test]
async fn a_key_that_is_revoked_leaves_nothing_waiting() {
    let mut scene = scene(EdgeLimits::default()).await;
    scene.stage.world.issue("api_key_second", Role::Owner, None).await;
    scene.stage.settled().await;
    let place = "/projects/search/unified";
    scene.client = Stateless::of(scene.stage.client_of(place, "api_key_second"));
    let (_, _, answering) = scene.asked().await;
    scene.stage.world.revoke("api_key_second").await;
    assert!(soon(answering.cancelled()).await.is_some());
}
