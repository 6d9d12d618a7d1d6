//! Calls of stateless clients that wait for input: found from any edge, and taken over when theirs
//! is gone.

use backplane::exchange::FollowUp;
use edge::EdgeLimits;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::keeper::{Call, Keeper};
use crate::stateless_client::{Stateless, only_key, retry};
use crate::worker::ok;

const ELICIT: &str = r#"{"message":"Name?","requestedSchema":{"type":"object"}}"#;

async fn kept(edges: usize) -> (Fleet, Keeper) {
    let fleet = Fleet::start(edges, EdgeLimits::default()).await;
    fleet.world.add(1, "docs", &["find"]).await;
    let keeper = Keeper::start(&fleet.world, 1).await;
    fleet.settled().await;
    (fleet, keeper)
}

fn params() -> Value {
    json!({"name": "docs__find", "arguments": {"a": 1}})
}

fn accept() -> Value {
    json!({"action": "accept", "content": {"name": "Ada"}})
}

/// Calls through one edge, and lets the upstream ask.
async fn asked(fleet: &Fleet, keeper: &mut Keeper, edge: usize) -> (Value, Call) {
    let client = Stateless::of(fleet.client(edge));
    let calling = client.result("tools/call", params());
    let asking = async {
        let call = keeper.next().await;
        call.ask("7", "elicitation/create", ELICIT).await;
        call
    };
    let (asked, call) = tokio::join!(calling, asking);
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    (asked, call)
}

/// Brings the answer to another edge, where the call goes on to its end.
async fn answered(fleet: &Fleet, edge: usize, asked: &Value, call: &Call) {
    let client = Stateless::of(fleet.client(edge));
    let again = retry(&params(), asked, json!({only_key(asked): accept()}));
    let retrying = client.result("tools/call", again.clone());
    let finishing = async {
        match call.follow_up().await {
            FollowUp::Answer { id, answer: Ok(answer) } => {
                let answer: Value = serde_json::from_slice(&answer).unwrap();
                assert_eq!((id.as_str(), answer), ("7", accept()));
            }
            other => panic!("{other:?}"),
        }
        call.finish(ok(r#"{"content":[{"type":"text","text":"hi"}]}"#)).await;
    };
    let (done, ()) = tokio::join!(retrying, finishing);
    assert_eq!(done["content"][0]["text"], "hi", "{done}");
    // A state works once, wherever.
    for edge in (0..fleet.edges.len()).filter(|edge| fleet.is_alive(*edge)) {
        let client = Stateless::of(fleet.client(edge));
        let (_, error) = client.refused("tools/call", again.clone()).await;
        assert_eq!(error["code"], -32602, "{error}");
    }
    assert_eq!(fleet.world.finished().len(), 1);
}

#[tokio::test]
async fn input_that_comes_to_another_edge_reaches_the_call() {
    let (fleet, mut keeper) = kept(2).await;
    let (asked, call) = asked(&fleet, &mut keeper, 0).await;
    answered(&fleet, 1, &asked, &call).await;
    assert_eq!((keeper.begun(), keeper.adopted()), (1, 0));
}

#[tokio::test]
async fn a_call_that_waits_outlives_its_edge() {
    let (mut fleet, mut keeper) = kept(2).await;
    let (asked, call) = asked(&fleet, &mut keeper, 0).await;
    fleet.edges[0].kill();
    call.edge_is_gone().await;
    answered(&fleet, 1, &asked, &call).await;
    assert_eq!((keeper.begun(), keeper.adopted()), (1, 1));
}

#[tokio::test]
async fn a_draining_edge_leaves_the_calls_that_wait_to_others() {
    let (mut fleet, mut keeper) = kept(2).await;
    let (asked, call) = asked(&fleet, &mut keeper, 0).await;
    fleet.edges[0].terminate();
    fleet.edges[0].ended().await;
    answered(&fleet, 1, &asked, &call).await;
    assert_eq!((keeper.begun(), keeper.adopted()), (1, 1));
}

#[tokio::test]
async fn nobody_else_gets_further_with_a_state_at_another_edge() {
    let (mut fleet, mut keeper) = kept(2).await;
    fleet.world.issue("api_key_second", domain::Role::Owner, None).await;
    fleet.settled().await;
    let (asked, call) = asked(&fleet, &mut keeper, 0).await;
    let good = retry(&params(), &asked, json!({only_key(&asked): accept()}));
    let other = Stateless::of(fleet.client_with(1, "api_key_second"));
    let (_, error) = other.refused("tools/call", good.clone()).await;
    assert_eq!(error["code"], -32602);
    fleet.edges[0].kill();
    call.edge_is_gone().await;
    let (_, error) = other.refused("tools/call", good).await;
    assert_eq!(error["code"], -32602);
    answered(&fleet, 1, &asked, &call).await;
}
