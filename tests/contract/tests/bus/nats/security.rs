//! The configuration that is deployed: each service does its work, and nothing else.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event as Word};
use bus::{Bus, BusError, Delivery, Event, NatsBus, NatsConfig, SharedMemory};
use fixtures::SecuredNats;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::{filter, subject};

const LIMIT: Duration = Duration::from_secs(10);

fn config(nats: &SecuredNats, service: &'static str) -> NatsConfig {
    NatsConfig {
        urls: vec![nats.url()],
        service,
        nkey_seed: Some(nats.seed(service).unwrap().into()),
        ca: Some(nats.ca().to_owned()),
        namespace: bus::nats::DEFAULT_NAMESPACE.to_owned(),
        replicas: 1,
    }
}

async fn connect(nats: &SecuredNats, service: &'static str) -> NatsBus {
    NatsBus::connect(config(nats, service)).await.unwrap()
}

/// One question, answered once.
async fn ask(client: &NatsBus, server: &NatsBus, to: &str) {
    let mut served = server.serve(filter(to), 10).await.unwrap();
    let answer = tokio::spawn(async move {
        let incoming = served.accept().await.unwrap();
        incoming.exchange.reply(incoming.first.clone()).await.unwrap();
        incoming.exchange.finish();
    });
    assert_eq!(client.request(&subject(to), "x".into(), LIMIT).await, Ok("x".into()), "{to}");
    answer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_does_its_work() {
    let nats = SecuredNats::start().unwrap();
    let control_plane = connect(&nats, "control-plane").await;
    let worker = connect(&nats, "worker").await;
    let edge = connect(&nats, "edge").await;
    let other_edge = connect(&nats, "edge").await;

    let mut of_worker = worker.subscribe(filter("evt.*.server.>"), 10).await.unwrap();
    let mut of_edge = edge.subscribe(filter("beat"), 10).await.unwrap();
    control_plane.publish(Event::new(subject("evt.t.server.x"), "e").with_id("1")).await.unwrap();
    control_plane.publish(Event::new(subject("beat"), "b")).await.unwrap();
    assert!(matches!(of_worker.next().await, Some(Delivery::Event(_))));
    assert!(matches!(of_edge.next().await, Some(Delivery::Event(_))));

    for to in ["journal", "snapshot", "catalogue"] {
        ask(&worker, &control_plane, to).await;
        ask(&edge, &control_plane, to).await;
    }
    ask(&worker, &control_plane, "lease").await;
    ask(&worker, &control_plane, "lease.release").await;
    ask(&edge, &worker, "x.1").await;
    ask(&control_plane, &worker, "worker.test").await;
    ask(&control_plane, &worker, "worker.stderr.1").await;
    ask(&edge, &other_edge, &format!("edge.{}", other_edge.instance())).await;

    let key = format!("worker.{}", worker.instance());
    let mut watch = edge.watch(filter("worker.*")).await.unwrap();
    let _announced = worker.announce(subject(&key), "w".into()).await.unwrap();
    timeout(LIMIT, async { while watch.next().await.unwrap().is_empty() {} }).await.unwrap();

    let revision = edge.write(&subject("session.1"), "s".into(), None).await.unwrap();
    let read = other_edge.read(&subject("session.1")).await;
    assert_eq!(read, Ok(Some((revision, "s".into()))));
    edge.push(&subject("stream.1"), "frame".into()).await.unwrap();
    let seen =
        async { while other_edge.trail(&subject("stream.1")).await.unwrap() != ["frame"] {} };
    timeout(LIMIT, seen).await.unwrap();
    other_edge.drop_trail(&subject("stream.1")).await.unwrap();
    other_edge.remove(&subject("session.1")).await.unwrap();
    assert_eq!(edge.read(&subject("session.1")).await, Ok(None));

    let mut rebuild = bus::nats::rebuild(config(&nats, "control-plane")).await.unwrap();
    rebuild.publish(Event::new(subject("evt.t.server.x"), "e").with_id("1")).await.unwrap();
    assert_eq!(rebuild.finish().await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused() {
    let nats = SecuredNats::start().unwrap();
    let refused = |config| async {
        let refused = NatsBus::connect(config).await.map(drop);
        assert!(matches!(refused, Err(BusError::Unavailable { .. })), "{refused:?}");
    };
    refused(NatsConfig { nkey_seed: None, ..config(&nats, "worker") }).await;
    let other = SecuredNats::start().unwrap();
    let seed = Some(other.seed("worker").unwrap().into());
    refused(NatsConfig { nkey_seed: seed, ..config(&nats, "worker") }).await;
    let ca = Some(other.ca().to_owned());
    refused(NatsConfig { ca, ..config(&nats, "worker") }).await;
    // A worker's key does not make an edge.
    let seed = Some(nats.seed("worker").unwrap().into());
    refused(NatsConfig { nkey_seed: seed, ..config(&nats, "edge") }).await;
}

/// A connection with the key of a service, and what the server says to it.
async fn raw(nats: &SecuredNats, service: &str) -> (Client, mpsc::Receiver<String>) {
    let (sender, words) = mpsc::channel(16);
    let client = ConnectOptions::with_nkey(nats.seed(service).unwrap())
        .add_root_certificates(nats.ca().to_owned())
        .require_tls(true)
        .event_callback(move |event| {
            let sender = sender.clone();
            async move {
                if let Word::ServerError(error) = event {
                    let _ = sender.send(error.to_string().to_lowercase()).await;
                }
            }
        })
        .connect(nats.url())
        .await
        .unwrap();
    (client, words)
}

async fn is_refused(words: &mut mpsc::Receiver<String>, what: &str, subject: &str) {
    let word = timeout(LIMIT, words.recv()).await.expect("the server says so").unwrap();
    let expected = [what, "permissions violation", &subject.to_lowercase()];
    assert!(expected.iter().all(|part| word.contains(part)), "{word}, not {expected:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_cannot_read_an_edges_replies_nor_speak_for_the_control_plane() {
    let nats = SecuredNats::start().unwrap();
    let edge = connect(&nats, "edge").await;
    let worker = connect(&nats, "worker").await;
    let (spy, mut words) = raw(&nats, "worker").await;
    let reads = [
        format!("_INBOX.edge.{}.>", edge.instance()),
        "_INBOX.>".to_owned(),
        ">".to_owned(),
        "mcp_orch.r.journal".to_owned(),
        "mcp_orch.r.edge.>".to_owned(),
        "mcp_orch.t.>".to_owned(),
        "$KV.mcp_orch_memory.>".to_owned(),
    ];
    let mut overheard = Vec::new();
    for read in reads {
        overheard.push(spy.subscribe(read.clone()).await.unwrap());
        is_refused(&mut words, "subscription", &read).await;
    }
    let queue = spy.queue_subscribe("mcp_orch.r.journal", "servers".to_owned()).await.unwrap();
    is_refused(&mut words, "subscription", "mcp_orch.r.journal").await;
    let writes = [
        "mcp_orch.e.evt.t.server.x",
        "mcp_orch.e.beat",
        "mcp_orch.b.evt.t.server.x",
        "mcp_orch.p.k.edge.1",
        "mcp_orch.r.x.1",
        "$KV.mcp_orch_memory.session.1",
        "$JS.API.STREAM.DELETE.mcp_orch_events",
        "$JS.API.STREAM.MSG.GET.KV_mcp_orch_memory",
    ];
    for write in writes {
        spy.publish(write, "forged".into()).await.unwrap();
        is_refused(&mut words, "publish", write).await;
    }
    // The edge's exchange goes on, and nobody else saw a word of it.
    ask(&edge, &worker, "x.1").await;
    overheard.push(queue);
    for mut subscriber in overheard {
        assert!(timeout(Duration::ZERO, subscriber.next()).await.is_err(), "nothing was heard");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_cannot_publish_events_nor_serve_for_others() {
    let nats = SecuredNats::start().unwrap();
    let (spy, mut words) = raw(&nats, "edge").await;
    for read in ["_INBOX.worker.>", "mcp_orch.r.x.>", "mcp_orch.r.lease", "mcp_orch.r.journal"] {
        let _refused = spy.subscribe(read).await.unwrap();
        is_refused(&mut words, "subscription", read).await;
    }
    for write in ["mcp_orch.e.evt.t.server.x", "mcp_orch.r.lease", "mcp_orch.p.k.worker.1"] {
        spy.publish(write, "forged".into()).await.unwrap();
        is_refused(&mut words, "publish", write).await;
    }
}
