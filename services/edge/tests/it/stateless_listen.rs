//! Subscriptions of stateless clients.

use std::sync::Arc;

use backplane::exchange::FollowUp;
use domain::Role;
use edge::EdgeLimits;
use proto::internal::v1::{ExchangeKind, Interest, InterestDone, Notification, interest};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use crate::client::Stream;
use crate::stage::{Stage, soon};
use crate::stateless_client::{SUBSCRIPTION_KEY, Stateless};
use crate::worker::Worker;

async fn started() -> (Stage, Stateless) {
    let stage = Stage::start().await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    (stage, client)
}

async fn listening(client: &Stateless, id: u64, filter: Value) -> (Stream, Value) {
    let params = json!({"notifications": filter});
    let mut stream = Stream::new(client.send(id, "subscriptions/listen", params).await);
    let first = stream.message().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["_meta"][SUBSCRIPTION_KEY], id);
    (stream, first["params"]["notifications"].clone())
}

#[tokio::test]
async fn who_listens_hears_what_it_asked_for_under_its_own_id() {
    let (stage, client) = started().await;
    let filter = json!({"toolsListChanged": true, "promptsListChanged": false});
    let (mut tools, accepted) = listening(&client, 7, filter).await;
    assert_eq!(accepted, json!({"toolsListChanged": true}));
    let prompts = json!({"promptsListChanged": true});
    let (mut prompts, _) = listening(&client, 8, prompts).await;
    // The same prompts and other tools, then other prompts.
    stage.world.observe_catalogue(1, &[r#"{"name":"seek"}"#.to_owned()]).await;
    let said = tools.message().await;
    assert_eq!(said["method"], "notifications/tools/list_changed");
    assert_eq!(said["params"]["_meta"][SUBSCRIPTION_KEY], 7);
    stage.world.add(2, "time", &[]).await;
    let said = prompts.message().await;
    assert_eq!(said["method"], "notifications/prompts/list_changed");
    assert_eq!(said["params"]["_meta"][SUBSCRIPTION_KEY], 8);
}

#[tokio::test]
async fn a_subscription_ends_with_its_stream_its_key_or_the_edge() {
    let mut limits = EdgeLimits::default();
    limits.stateless.subscriptions_per_key = 1;
    let stage = Stage::with(limits).await;
    stage.world.add(1, "docs", &["find"]).await;
    stage.world.issue("api_key_second", Role::Owner, None).await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    let filter = json!({"toolsListChanged": true});
    let (stream, _) = listening(&client, 1, filter.clone()).await;
    let listen = json!({"notifications": filter});
    let (_, error) = client.refused("subscriptions/listen", listen).await;
    assert_eq!(error["data"]["reason"], "RESOURCE_EXHAUSTED");
    drop(stream);
    // Going away makes room.
    let again = async {
        loop {
            let params = json!({"notifications": filter});
            let response = client.send(2, "subscriptions/listen", params).await;
            if response.headers()["content-type"] == "text/event-stream" {
                return Stream::new(response);
            }
        }
    };
    let mut stream = soon(again).await;
    stream.message().await;

    let place = "/projects/search/unified";
    let second = Stateless::of(stage.client_of(place, "api_key_second"));
    let (revoked, _) = listening(&second, 3, filter.clone()).await;
    stage.world.revoke("api_key_second").await;
    revoked.end().await;

    stage.shutdown.cancel();
    let end = stream.message().await;
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!(2), &json!("complete")));
    assert_eq!(end["result"]["_meta"][SUBSCRIPTION_KEY], 2);
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_filter_must_be_one() {
    let (_stage, client) = started().await;
    for params in [
        json!({}),
        json!({"notifications": []}),
        json!({"notifications": {"toolsListChanged": "yes"}}),
        json!({"notifications": {"resourceSubscriptions": [1]}}),
    ] {
        let (status, error) = client.refused("subscriptions/listen", params).await;
        assert_eq!((status, &error["code"]), (200, &json!(-32602)));
    }
}

/// What an attachment's worker was told to want.
type Change = Option<interest::Change>;

/// Serves the attachment of server 1: resources that end in `none` are not there. What is sent
/// into the second channel is said to be updated.
async fn telling(stage: &Stage) -> (Worker, mpsc::Receiver<Change>, mpsc::Sender<String>) {
    let (wants, wanted) = mpsc::channel(16);
    let (updates, updated) = mpsc::channel::<String>(16);
    let updated = Arc::new(Mutex::new(updated));
    let worker = Worker::start(&stage.world, 1, move |open, answering| {
        let (wants, updated) = (wants.clone(), Arc::clone(&updated));
        async move {
            assert_eq!(open.kind(), ExchangeKind::Attachment);
            let mut updated = updated.lock().await;
            loop {
                let follow_up = tokio::select! {
                    follow_up = answering.next_follow_up() => follow_up,
                    Some(uri) = updated.recv() => {
                        let params = format!(r#"{{"uri":"{uri}","title":1.0}}"#).into();
                        let method = "notifications/resources/updated".to_owned();
                        answering.notify(Notification { method, params }).await.unwrap();
                        continue;
                    }
                };
                let Some(follow_up) = follow_up else { return };
                let FollowUp::Interest(Interest { id, change }) = follow_up else { continue };
                let is_there = |uri: &String| !uri.ends_with("none");
                let error = match &change {
                    Some(interest::Change::Subscribe(uri)) if !is_there(uri) => {
                        r#"{"code":-32002,"message":"none"}"#
                    }
                    _ => "",
                };
                answering.interest_done(InterestDone { id, error: error.into() }).await.unwrap();
                wants.send(change).await.unwrap();
            }
        }
    });
    (worker.await, wanted, updates)
}

#[tokio::test]
async fn updates_of_resources_come_from_servers_that_can_tell_of_them() {
    let stage = Stage::start().await;
    for (number, name, capabilities) in
        [(1, "docs", json!({"resources": {"subscribe": true}})), (2, "mute", json!({}))]
    {
        stage.world.register(number, name).await;
        let catalogue = json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities, "tools": [],
            "resources": [{"uri": "file:///a", "name": "a"}], "resourceTemplates": [],
            "prompts": [],
        });
        stage.world.observe_whole_catalogue(number, &catalogue.to_string()).await;
    }
    let (_worker, mut wanted, updates) = telling(&stage).await;
    stage.settled().await;
    let client = Stateless::new(&stage);
    let (good, none) = ("mcp+docs+file:///a", "mcp+docs+file:///none");
    let asked = [good, none, "mcp+mute+file:///a", "mcp+nobody+file:///a", "nonsense"];
    let filter = json!({"resourceSubscriptions": asked, "toolsListChanged": true});
    let (mut stream, accepted) = listening(&client, 3, filter).await;
    let expected = json!({"toolsListChanged": true, "resourceSubscriptions": [good]});
    assert_eq!(accepted, expected);
    let (mut deaf, _) = listening(&client, 4, json!({"promptsListChanged": true})).await;
    for uri in ["file:///b", "file:///ab", "file:///a/part", "file:///a"] {
        updates.send(uri.to_owned()).await.unwrap();
    }
    for uri in ["mcp+docs+file:///a/part", good] {
        let said = stream.message().await;
        assert_eq!(said["method"], "notifications/resources/updated");
        let params = json!({"uri": uri, "title": 1.0, "_meta": {SUBSCRIPTION_KEY: 3}});
        assert_eq!(said["params"], params);
    }
    drop(stream);
    // What nobody wants any more is given up.
    loop {
        let change = soon(wanted.recv()).await.unwrap();
        if let Some(interest::Change::Unsubscribe(uri)) = change {
            assert_eq!(uri, "file:///a");
            break;
        }
    }
    stage.shutdown.cancel();
    assert_eq!(deaf.message().await["id"], 4);
}
