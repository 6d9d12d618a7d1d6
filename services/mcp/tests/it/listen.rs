//! What a stateless server tells of on its own.

use mcp::client::{Connected, ConnectionEvent, InterestError};
use mcp::{ErrorObject, ListKind};
use serde_json::{Value, json};

use crate::peer::{EventWriter, HttpPeer, HttpRequest, Peer, next_event, note, soon};
use crate::stateless::{over_http, over_pipes};

fn capabilities() -> Value {
    json!({
        "tools": {"listChanged": true},
        "prompts": {"listChanged": false},
        "resources": {"listChanged": true, "subscribe": true},
    })
}

fn acknowledged(asked: &Value) -> Value {
    tagged(
        "notifications/subscriptions/acknowledged",
        asked,
        json!({
            "notifications": asked["params"]["notifications"],
        }),
    )
}

/// A notification that names the request it belongs to.
fn tagged(method: &str, asked: &Value, mut params: Value) -> Value {
    params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": asked["id"]});
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// Takes the next request to listen, for this, and grants it.
async fn grant(peer: &mut HttpPeer, wanted: Value) -> (Value, EventWriter) {
    let post: HttpRequest = peer.next_message("subscriptions/listen").await;
    assert_eq!(post.header("mcp-method"), Some("subscriptions/listen"));
    let asked = post.message.clone();
    assert_eq!(asked["params"]["notifications"], wanted);
    let stream = post.stream();
    stream.message(acknowledged(&asked)).await;
    (asked, stream)
}

fn lists() -> Value {
    json!({"toolsListChanged": true, "resourcesListChanged": true})
}

fn lists_and(uris: &[&str]) -> Value {
    json!({
        "toolsListChanged": true, "resourcesListChanged": true, "resourceSubscriptions": uris,
    })
}

#[tokio::test]
async fn changes_of_the_lists_that_can_change_are_listened_for_from_the_start() {
    let (mut peer, mut connected) = over_http(capabilities()).await;
    let (asked, stream) = grant(&mut peer, lists()).await;
    stream.message(tagged("notifications/tools/list_changed", &asked, json!({}))).await;
    let event = next_event(&mut connected.events).await;
    assert_eq!(event, ConnectionEvent::ListChanged(ListKind::Tools));
    assert_eq!(connected.connection.in_flight(), 0);
    soon(connected.connection.close()).await;
    stream.closed().await;
}

#[tokio::test]
async fn a_server_whose_lists_do_not_change_is_not_listened_to() {
    let (mut peer, connected) = over_pipes(json!({"tools": {}})).await;
    connected.connection.notify("notifications/mark", None).await.unwrap();
    assert_eq!(peer.read().await["method"], "notifications/mark");
}

#[tokio::test]
async fn a_resource_is_added_by_a_second_request_before_the_first_is_closed() {
    let (mut peer, mut connected) = over_http(capabilities()).await;
    let (first_asked, first) = grant(&mut peer, lists()).await;
    let changed = tagged("notifications/tools/list_changed", &first_asked, json!({}));
    // What comes after the acknowledgement proves that it was read.
    first.message(changed.clone()).await;
    next_event(&mut connected.events).await;
    let server = async {
        let (asked, stream) = grant(&mut peer, lists_and(&["a:b"])).await;
        (peer, asked, stream)
    };
    let (done, (mut peer, asked, second)) =
        tokio::join!(soon(connected.connection.subscribe("a:b")), server);
    assert_eq!(done, Ok(()));
    // The first one is still read for a moment, then closed.
    first.message(changed).await;
    let event = next_event(&mut connected.events).await;
    assert_eq!(event, ConnectionEvent::ListChanged(ListKind::Tools));
    first.closed().await;
    let updated = tagged("notifications/resources/updated", &asked, json!({"uri": "a:b"}));
    second.message(updated.clone()).await;
    let event = next_event(&mut connected.events).await;
    assert_eq!(event, note("notifications/resources/updated", &updated["params"].to_string()));
    // Once is enough.
    assert_eq!(soon(connected.connection.subscribe("a:b")).await, Ok(()));
    assert!(!peer.has_more());
    soon(connected.connection.unsubscribe("a:b")).await.unwrap();
    let (_, _third) = grant(&mut peer, lists()).await;
    second.closed().await;
}

#[tokio::test]
async fn a_resource_that_the_server_does_not_acknowledge_is_refused() {
    let (mut peer, connected) = over_http(json!({"resources": {}})).await;
    let server = async {
        let post = peer.next_message("subscriptions/listen").await;
        let asked = post.message.clone();
        let stream = post.stream();
        let granted = json!({"notifications": {}});
        let method = "notifications/subscriptions/acknowledged";
        stream.message(tagged(method, &asked, granted)).await;
        stream
    };
    let (done, stream) = tokio::join!(soon(connected.connection.subscribe("a:b")), server);
    let Err(InterestError::Refused(error)) = done else { panic!("{done:?}") };
    assert_eq!(ErrorObject::parse(&error).code, -32601);
    // Nothing is wanted any more.
    stream.closed().await;
}

#[tokio::test]
async fn a_server_that_cannot_be_listened_to_refuses_in_its_own_words() {
    let (mut peer, connected) = over_http(json!({"resources": {}})).await;
    let server = async {
        let post = peer.next_message("subscriptions/listen").await;
        let error = json!({"code": -32601, "message": "no listening here"});
        let body = json!({"jsonrpc": "2.0", "id": post.message["id"], "error": error});
        let status = http::StatusCode::NOT_FOUND;
        post.reply((status, [("content-type", "application/json")], body.to_string()));
    };
    let (done, ()) = tokio::join!(soon(connected.connection.subscribe("a:b")), server);
    let Err(InterestError::Refused(error)) = done else { panic!("{done:?}") };
    assert_eq!(ErrorObject::parse(&error).message, "no listening here");
}

#[tokio::test]
async fn listening_goes_on_after_the_server_ended_it_and_all_counts_as_changed() {
    let (mut peer, mut connected) = over_http(json!({"tools": {"listChanged": true}})).await;
    let wanted = json!({"toolsListChanged": true});
    let (asked, stream) = grant(&mut peer, wanted.clone()).await;
    // In good order.
    stream.answer(&asked, json!({"resultType": "complete"})).await;
    drop(stream);
    let (_, stream) = grant(&mut peer, wanted.clone()).await;
    let event = next_event(&mut connected.events).await;
    assert_eq!(event, ConnectionEvent::ListChanged(ListKind::Tools));
    // And not.
    drop(stream);
    let (_, _stream) = grant(&mut peer, wanted).await;
    let event = next_event(&mut connected.events).await;
    assert_eq!(event, ConnectionEvent::ListChanged(ListKind::Tools));
}

/// Takes the next request to listen over pipes and grants it.
async fn grant_over_pipes(peer: &mut Peer, wanted: Value) -> Value {
    let asked = peer.read().await;
    assert_eq!(asked["method"], "subscriptions/listen", "{asked}");
    assert_eq!(asked["params"]["notifications"], wanted);
    peer.write(acknowledged(&asked)).await;
    asked
}

#[tokio::test]
async fn over_pipes_each_request_is_told_apart_by_its_id() {
    let (mut peer, connected) = over_pipes(capabilities()).await;
    let Connected { connection, mut events } = connected;
    let first = grant_over_pipes(&mut peer, lists()).await;
    // What comes after the acknowledgement proves that it was read.
    peer.write(tagged("notifications/tools/list_changed", &first, json!({}))).await;
    next_event(&mut events).await;
    let server = grant_over_pipes(&mut peer, lists_and(&["a:b", "c:d"]));
    let both = async { tokio::join!(connection.subscribe("c:d"), connection.subscribe("a:b")) };
    let (done, second) = tokio::join!(soon(both), server);
    assert_eq!(done, (Ok(()), Ok(())));
    // The first is cancelled once the second has taken its place.
    let cancelled = peer.read().await;
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], first["id"]);
    let updated = tagged("notifications/resources/updated", &second, json!({"uri": "c:d"}));
    peer.write(updated.clone()).await;
    let event = next_event(&mut events).await;
    assert_eq!(event, note("notifications/resources/updated", &updated["params"].to_string()));
}
