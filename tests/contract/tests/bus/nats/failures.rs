//! What dies, stands still, or was never there.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bus::{
    Bus, BusError, ClientSide, Connectivity, Delivery, Event, NatsBus, PresenceWatch, SharedMemory,
    Subscription,
};
use fixtures::Nats;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{config, connect, url};
use crate::{filter, subject};

/// A silent process is noticed within 4 s; the rest is for a busy machine.
const NOTICED: Duration = Duration::from_millis(5_500);
/// What is said, and not only noticed.
const AT_ONCE: Duration = Duration::from_secs(2);

const PEER_URL: &str = "MCP_ORCH_TEST_PEER_URL";
const PEER_NAMESPACE: &str = "MCP_ORCH_TEST_PEER_NAMESPACE";

async fn until(bus: &NatsBus, wanted: impl Fn(Connectivity) -> bool) {
    let mut connectivity = bus.connectivity();
    let reached = connectivity.wait_for(|connectivity| wanted(*connectivity));
    timeout(Duration::from_secs(20), reached).await.expect("in time").expect("the bus is there");
}

async fn end_of(client: &ClientSide, limit: Duration) -> Option<Result<bytes::Bytes, BusError>> {
    timeout(limit, client.next_frame()).await.expect("an end in time")
}

async fn until_present(watch: &mut PresenceWatch, keys: &[&str]) {
    let reached = async {
        loop {
            let set = watch.next().await.expect("the bus is there");
            if set.iter().map(|present| present.key.as_str()).eq(keys.iter().copied()) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), reached).await.expect("seen in time");
}

async fn next(subscription: &mut Subscription) -> Delivery {
    let next = timeout(Duration::from_secs(20), subscription.next()).await;
    next.expect("in time").expect("the bus is there")
}

async fn expect_event(subscription: &mut Subscription, payload: &str) {
    match next(subscription).await {
        Delivery::Event(event) => assert_eq!(event.payload, payload),
        Delivery::Lost(_) => panic!("lost instead of {payload}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_back_with_the_server() {
    let mut nats = Nats::start().unwrap();
    let namespace = fixtures::nats::namespace();
    let one = connect(config("control-plane", &nats.url(), &namespace)).await;
    let two = connect(config("edge", &nats.url(), &namespace)).await;
    let mut events = two.subscribe(filter("evt.>"), 100).await.unwrap();
    let mut beats = two.subscribe(filter("beat"), 100).await.unwrap();
    let mut server = two.serve(filter("x.a"), 10).await.unwrap();
    let _announced = one.announce(subject("worker.1"), "x".into()).await.unwrap();
    let mut watch = two.watch(filter(">")).await.unwrap();
    until_present(&mut watch, &["worker.1"]).await;
    one.publish(Event::new(subject("evt.a"), "before").with_id("before")).await.unwrap();
    expect_event(&mut events, "before").await;
    let revision = two.write(&subject("k"), "v".into(), None).await.unwrap();
    two.push(&subject("t"), "before".into()).await.unwrap();
    let client = one.open(&subject("x.a"), "x".into()).await.unwrap();
    let side = server.accept().await.unwrap().exchange;

    nats.stop();
    until(&one, |connectivity| !connectivity.is_connected()).await;
    until(&two, |connectivity| !connectivity.is_connected()).await;
    let begun = Instant::now();
    let refused = one.publish(Event::new(subject("evt.a"), "away").with_id("away")).await;
    assert!(matches!(refused, Err(BusError::Unavailable { .. })), "{refused:?}");
    let refused = one.open(&subject("x.a"), "x".into()).await.map(drop);
    assert!(matches!(refused, Err(BusError::Unavailable { .. })), "{refused:?}");
    assert!(two.read(&subject("k")).await.is_err());
    assert!(begun.elapsed() < AT_ONCE, "nobody waits for a server that is away");
    // Longer than exchanges live without it: both sides get an end while it is away.
    assert_eq!(end_of(&client, NOTICED).await, Some(Err(BusError::Closed)));
    timeout(NOTICED, side.closed()).await.expect("the server's side ends, too");

    nats.start_again().unwrap();
    until(&one, Connectivity::is_connected).await;
    until(&two, Connectivity::is_connected).await;
    // Once the loss is told, nothing more is missing.
    assert_eq!(next(&mut events).await, Delivery::Lost(1));
    assert_eq!(next(&mut beats).await, Delivery::Lost(1));
    one.publish(Event::new(subject("evt.a"), "after").with_id("after")).await.unwrap();
    one.publish(Event::new(subject("beat"), "after")).await.unwrap();
    expect_event(&mut events, "after").await;
    expect_event(&mut beats, "after").await;
    let client = one.open(&subject("x.a"), "again".into()).await.unwrap();
    let incoming = server.accept().await.unwrap();
    assert_eq!(incoming.first, "again");
    incoming.exchange.reply("yes".into()).await.unwrap();
    assert_eq!(end_of(&client, AT_ONCE).await, Some(Ok("yes".into())));
    let mut fresh = one.watch(filter(">")).await.unwrap();
    until_present(&mut fresh, &["worker.1"]).await;
    let present = two.present(&filter(">")).await.unwrap();
    assert_eq!(present.len(), 1, "the announcement stands");
    assert_eq!(two.read(&subject("k")).await, Ok(Some((revision, "v".into()))));
    two.write(&subject("k"), "w".into(), Some(revision)).await.unwrap();
    let entries = async {
        loop {
            two.push(&subject("t"), "after".into()).await.unwrap();
            let entries = two.trail(&subject("t")).await.unwrap();
            if entries.last().is_some_and(|entry| entry == "after") {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), entries).await.expect("trails are kept again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_quick_restart_an_exchange_goes_on_or_ends() {
    let mut nats = Nats::start().unwrap();
    let namespace = fixtures::nats::namespace();
    let one = connect(config("edge", &nats.url(), &namespace)).await;
    let two = connect(config("worker", &nats.url(), &namespace)).await;
    let mut server = two.serve(filter("x.a"), 100).await.unwrap();
    let idle = one.open(&subject("x.a"), "idle".into()).await.unwrap();
    let idle_side = server.accept().await.unwrap().exchange;
    let busy = one.open(&subject("x.a"), "busy".into()).await.unwrap();
    let busy_side = server.accept().await.unwrap().exchange;
    let writer = tokio::spawn(async move {
        let mut number = 0_u64;
        while busy_side.reply(number.to_string().into()).await.is_ok() {
            number += 1;
        }
    });
    let mut expected = 0_u64;
    while expected < 100 {
        assert_eq!(end_of(&busy, AT_ONCE).await, Some(Ok(expected.to_string().into())));
        expected += 1;
    }
    nats.stop();
    nats.start_again().unwrap();

    // What was under way may be lost: then it ends, and nothing is skipped.
    let goes_on = loop {
        match end_of(&busy, Duration::from_secs(15)).await {
            Some(Ok(frame)) if expected < 20_000 => {
                assert_eq!(frame, expected.to_string());
                expected += 1;
            }
            Some(Ok(_)) => break true,
            Some(Err(error)) => {
                assert_eq!(error, BusError::Closed);
                break false;
            }
            None => panic!("nobody finished"),
        }
    };
    drop(busy);
    timeout(NOTICED, writer).await.expect("the server's side learns it").unwrap();
    until(&one, Connectivity::is_connected).await;
    until(&two, Connectivity::is_connected).await;
    // Nothing of this one was under way.
    if idle_side.reply("still".into()).await.is_ok() {
        let frame = end_of(&idle, Duration::from_secs(5)).await;
        assert!(
            frame == Some(Ok("still".into())) || frame == Some(Err(BusError::Closed)),
            "{frame:?}, and the busy one went on: {goes_on}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_the_server_breaks_nothing() {
    let nats = Nats::start().unwrap();
    let namespace = fixtures::nats::namespace();
    let one = connect(config("edge", &nats.url(), &namespace)).await;
    let two = connect(config("worker", &nats.url(), &namespace)).await;
    let mut server = two.serve(filter("x.a"), 10).await.unwrap();
    let client = one.open(&subject("x.a"), "x".into()).await.unwrap();
    let side = server.accept().await.unwrap().exchange;
    nats.pause().unwrap();
    side.reply("while it stood still".into()).await.unwrap();
    assert!(timeout(Duration::from_secs(2), client.next_frame()).await.is_err());
    nats.resume().unwrap();
    let frame = end_of(&client, Duration::from_secs(5)).await;
    assert_eq!(frame, Some(Ok("while it stood still".into())));
    client.send("and on".into()).await.unwrap();
    assert_eq!(side.next_follow_up().await, Some("and on".into()));
}

/// Not a test of its own: the process that is killed by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other half of a_killed_process_is_noticed"]
async fn peer_process() {
    let (Ok(url), Ok(namespace)) = (std::env::var(PEER_URL), std::env::var(PEER_NAMESPACE)) else {
        return;
    };
    let bus = connect(config("worker", &url, &namespace)).await;
    let mut server = bus.serve(filter("x.a"), 10).await.unwrap();
    let client = bus.open(&subject("x.of-parent"), "x".into()).await.unwrap();
    let _announced = bus.announce(subject("worker.1"), "x".into()).await.unwrap();
    writeln!(std::io::stdout(), "ready").unwrap();
    let incoming = server.accept().await.unwrap();
    incoming.exchange.reply("alive".into()).await.unwrap();
    incoming.exchange.closed().await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_is_noticed() {
    let namespace = fixtures::nats::namespace();
    let bus = connect(config("edge", &url(), &namespace)).await;
    let mut server = bus.serve(filter("x.of-parent"), 10).await.unwrap();
    let mut watch = bus.watch(filter(">")).await.unwrap();
    let mut peer = Command::new(std::env::current_exe().unwrap())
        .args(["nats::failures::peer_process", "--exact", "--ignored", "--nocapture"])
        .envs([(PEER_URL, url()), (PEER_NAMESPACE, namespace)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let side = server.accept().await.unwrap().exchange;
    until_present(&mut watch, &["worker.1"]).await;
    let client = bus.open(&subject("x.a"), "x".into()).await.unwrap();
    assert_eq!(end_of(&client, AT_ONCE).await, Some(Ok("alive".into())));
    let waiting = bus.open(&subject("x.a"), "nobody takes it".into()).await.unwrap();

    peer.kill().unwrap();
    peer.wait().unwrap();
    let killed = Instant::now();
    assert_eq!(end_of(&client, NOTICED).await, Some(Err(BusError::Closed)));
    // It cannot be known whether the dead process looked at it.
    assert_eq!(end_of(&waiting, NOTICED).await, Some(Err(BusError::Closed)));
    timeout(NOTICED, side.closed()).await.expect("its own exchanges end, too");
    until_present(&mut watch, &[]).await;
    assert!(killed.elapsed() < NOTICED, "{:?}", killed.elapsed());
    let refused = bus.open(&subject("x.a"), "x".into()).await.map(drop);
    assert_eq!(refused, Err(BusError::NoResponders));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_leaves_says_so() {
    let namespace = fixtures::nats::namespace();
    let bus = connect(config("edge", &url(), &namespace)).await;
    let leaving = connect(config("worker", &url(), &namespace)).await;
    let mut server = leaving.serve(filter("x.a"), 10).await.unwrap();
    let mut own = bus.serve(filter("x.own"), 10).await.unwrap();
    let _announced = leaving.announce(subject("worker.1"), "x".into()).await.unwrap();
    let mut watch = bus.watch(filter(">")).await.unwrap();
    until_present(&mut watch, &["worker.1"]).await;
    let taken = bus.open(&subject("x.a"), "x".into()).await.unwrap();
    let side = server.accept().await.unwrap().exchange;
    let waiting = bus.open(&subject("x.a"), "x".into()).await.unwrap();
    let _theirs = leaving.open(&subject("x.own"), "x".into()).await.unwrap();
    let own_side = own.accept().await.unwrap().exchange;

    drop(leaving);
    assert_eq!(end_of(&taken, AT_ONCE).await, Some(Err(BusError::Closed)));
    assert_eq!(end_of(&waiting, AT_ONCE).await, Some(Err(BusError::NoResponders)));
    timeout(AT_ONCE, own_side.closed()).await.expect("it closed its own exchanges");
    timeout(AT_ONCE, until_present(&mut watch, &[])).await.expect("it withdrew its keys");
    assert!(server.accept().await.is_none(), "what its client gave up is not accepted any more");
    assert_eq!(side.reply("x".into()).await, Err(BusError::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_close_everything_is_refused() {
    let bus = connect(config("edge", &url(), &fixtures::nats::namespace())).await;
    let mut subscription = bus.subscribe(filter("beat"), 10).await.unwrap();
    let mut watch = bus.watch(filter(">")).await.unwrap();
    let announced = bus.announce(subject("edge.1"), "x".into()).await.unwrap();
    until_present(&mut watch, &["edge.1"]).await;
    bus.close().await;
    assert_eq!(subscription.next().await, None);
    while watch.next().await.is_some() {}
    let is_away = |outcome| matches!(outcome, Err(BusError::Unavailable { .. }));
    assert!(is_away(announced.update("y")));
    assert!(is_away(bus.publish(Event::new(subject("beat"), "x")).await));
    assert!(is_away(bus.open(&subject("x.a"), "x".into()).await.map(drop)));
    assert!(is_away(bus.serve(filter("x.a"), 1).await.map(drop)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_connecting_fails_at_once() {
    let port = fixtures::process::free_port().unwrap();
    let begun = Instant::now();
    let refused = NatsBus::connect(config("edge", &format!("nats://127.0.0.1:{port}"), "t")).await;
    assert!(matches!(refused, Err(BusError::Unavailable { .. })));
    assert!(begun.elapsed() < AT_ONCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_too_old_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let info = r#"{"server_id":"S","server_name":"s","version":"2.9.10","go":"go1","host":"h",
            "port":1,"headers":true,"max_payload":1048576,"proto":1,"client_id":1}"#;
        let info = info.replace('\n', "");
        stream.write_all(format!("INFO {info}\r\n").as_bytes()).await.unwrap();
        let mut heard = [0; 4096];
        while stream.read(&mut heard).await.is_ok_and(|bytes| bytes > 0) {
            stream.write_all(b"PONG\r\n").await.unwrap();
        }
    });
    let refused = NatsBus::connect(config("edge", &format!("nats://127.0.0.1:{port}"), "t")).await;
    let Err(BusError::Unavailable { detail }) = refused else { panic!("{refused:?}") };
    assert!(detail.contains("2.9.10") && detail.contains("2.10"), "{detail}");
}
