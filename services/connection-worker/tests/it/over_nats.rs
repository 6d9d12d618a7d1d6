//! Edge, worker and control-plane as three processes would be: each with a connection of its own
//! to a real NATS server.

use std::sync::Arc;
use std::time::Duration;

use backplane::exchange::{Exchange, Frame};
use bus::{Bus, NatsBus, NatsConfig};
use domain::ServerId;
use domain::connection::ConnectionState;
use fixtures::nats::Nats;
use proto::events::v1::CallOutcome;
use proto::internal::v1::ExchangeOpen;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::stage::{
    self, Authority, LIMIT, Stage, finish, fixture, next, result, tenant, until_gone,
};

async fn connect(url: &str, namespace: &str, service: &'static str) -> Arc<NatsBus> {
    let config = NatsConfig {
        urls: vec![url.to_owned()],
        service,
        nkey_seed: None,
        ca: None,
        namespace: namespace.to_owned(),
        replicas: 1,
    };
    Arc::new(NatsBus::connect(config).await.unwrap())
}

async fn structured(bus: &dyn Bus, server: ServerId, tool: &str) -> Option<Value> {
    let open = stage::open(server, tool, json!({}));
    let exchange = Exchange::open(bus, server, &open).await.ok()?;
    loop {
        if let Frame::Finished(finished) = exchange.next().await.ok()? {
            let is_answered = finished.outcome() == CallOutcome::Ok;
            return is_answered.then(|| result(&finished)["structuredContent"].clone());
        }
    }
}

async fn until_answered(bus: &dyn Bus, server: ServerId, tool: &str) -> Value {
    let answered = async {
        loop {
            if let Some(value) = structured(bus, server, tool).await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, answered).await.unwrap()
}

/// An edge that opens a call, hears two frames of it, and is killed.
fn doomed_edge(url: String, namespace: String, open: ExchangeOpen) -> oneshot::Receiver<u64> {
    let (heard, hears) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (bus, exchange) = runtime.block_on(async {
            let bus = connect(&url, &namespace, "edge").await;
            let server = open.server.parse().unwrap();
            let exchange = Exchange::open(&*bus, server, &open).await.unwrap();
            next(&exchange).await;
            next(&exchange).await;
            (bus, exchange)
        });
        let last = exchange.last_number();
        // A process that is killed says no farewell.
        std::mem::forget((bus, exchange));
        runtime.shutdown_background();
        heard.send(last).unwrap();
    });
    hears
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_of_an_edge_that_was_killed_goes_on_at_another_edge() {
    let (url, namespace) = (fixtures::nats::url().unwrap(), fixtures::nats::namespace());
    let control = connect(&url, &namespace, "control-plane").await;
    let stage = Stage::over(control).await;
    let authority = Authority::serve(&*stage.bus).await;
    let (transport, launch) = fixture(&[]);
    let server = stage.announce(transport, launch).await;
    let worker = connect(&url, &namespace, "worker").await;
    authority.grant(worker.instance(), &[(server, 1)]);
    let _worker = stage.employ_over(worker, |_| {}).await;
    stage.until_state(server, ConnectionState::Active).await;
    let edge = connect(&url, &namespace, "edge").await;
    until_answered(&*edge, server, "env").await;

    let mut open = stage::open(server, "slow", json!({}));
    let params = json!({
        "name": "slow",
        "arguments": {"ms": 9_000, "steps": 18},
        "_meta": {"progressToken": "token"},
    });
    open.params = params.to_string().into();
    (open.progress_token, open.orphan_ms) = ("\"token\"".into(), 20_000);
    let last = doomed_edge(url, namespace, open.clone()).await.unwrap();
    assert_eq!(last, 2);
    // At once: nobody knows yet that the first one is gone.
    let adopted = Exchange::adopt(&*edge, server, tenant(), &open.call_id, last).await.unwrap();
    let (notifications, finished) = finish(&adopted).await;
    assert_eq!(finished.outcome(), CallOutcome::Ok);
    assert_eq!((notifications.len(), adopted.last_number()), (16, 19));
    let stats = until_answered(&*edge, server, "stats").await;
    assert_eq!((&stats["executions"], &stats["cancels_received"]), (&json!(2), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bus_is_away_nothing_is_served_and_afterwards_everything_is() {
    let mut nats = Nats::start().unwrap();
    let (url, namespace) = (nats.url(), fixtures::nats::namespace());
    let stage = Stage::over(connect(&url, &namespace, "control-plane").await).await;
    let authority = Authority::serve(&*stage.bus).await;
    let (transport, launch) = fixture(&[]);
    let server = stage.announce(transport, launch).await;
    let worker = connect(&url, &namespace, "worker").await;
    let name = worker.instance().to_owned();
    authority.grant(&name, &[(server, 1)]);
    let _worker = stage.employ_over(worker, |_| {}).await;
    stage.until_state(server, ConnectionState::Active).await;
    let edge = connect(&url, &namespace, "edge").await;
    let pid = until_answered(&*edge, server, "env").await["pid"].as_u64().unwrap();

    nats.stop();
    until_gone(pid).await;
    authority.grant(&name, &[(server, 2)]);
    nats.start_again().unwrap();
    let back = until_answered(&*edge, server, "env").await;
    assert_ne!(back["pid"].as_u64().unwrap(), pid);
    stage::soon("it is recorded", || stage.record.epochs(server).contains(&2)).await;
}
