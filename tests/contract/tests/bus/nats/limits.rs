//! Many, large, and slow.

use std::time::Duration;

use bus::{Bus, BusError, Delivery, Event, Incoming, MAX_FRAME_BYTES, NatsBus};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{config, connect, url};
use crate::{filter, subject};

/// A client and a server in two processes, so to say.
async fn two() -> (NatsBus, NatsBus) {
    let namespace = fixtures::nats::namespace();
    let client = connect(config("edge", &url(), &namespace)).await;
    let server = connect(config("worker", &url(), &namespace)).await;
    (client, server)
}

/// Answers each request with itself.
fn echo(mut server: bus::Server) {
    tokio::spawn(async move {
        while let Some(Incoming { first, exchange, .. }) = server.accept().await {
            tokio::spawn(async move {
                let _ = exchange.reply(first).await;
                while let Some(follow_up) = exchange.next_follow_up().await {
                    let _ = exchange.reply(follow_up).await;
                }
            });
        }
    });
}

fn patterned(size_bytes: usize) -> Bytes {
    (0..size_bytes).map(|index| (index * 31 % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_exchanges_are_open_at_the_same_time() {
    const EXCHANGES: usize = 5_000;
    let (client, server) = two().await;
    echo(server.serve(filter("x.a"), EXCHANGES).await.unwrap());
    let opened = (0..EXCHANGES).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let exchange = client.open(&subject("x.a"), number.to_string().into()).await.unwrap();
            let answer = exchange.next_frame().await.unwrap().unwrap();
            assert_eq!(answer, number.to_string());
            exchange
        })
    });
    let mut exchanges = Vec::new();
    for opened in opened.collect::<Vec<_>>() {
        exchanges.push(opened.await.unwrap());
    }
    for (number, exchange) in exchanges.iter().enumerate() {
        exchange.send(format!("again {number}").into()).await.unwrap();
    }
    for (number, exchange) in exchanges.iter().enumerate() {
        let answer = exchange.next_frame().await.unwrap().unwrap();
        assert_eq!(answer, format!("again {number}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_frames_pass_beside_small_ones() {
    let (client, server) = two().await;
    echo(server.serve(filter("x.a"), 10).await.unwrap());
    let large = patterned(MAX_FRAME_BYTES);
    let exchange = client.open(&subject("x.a"), large.clone()).await.unwrap();
    let small = tokio::spawn({
        let client = client.clone();
        async move {
            for _ in 0..100 {
                let asked = subject("x.a");
                let answer = client.request(&asked, "small".into(), Duration::from_secs(10)).await;
                assert_eq!(answer, Ok("small".into()));
            }
        }
    });
    assert!(exchange.next_frame().await.unwrap().unwrap() == large, "the request came back");
    let sizes = [256 * 1024, 256 * 1024 + 1, 1024 * 1024, 5 * 1024 * 1024, 0];
    let send = async {
        for size_bytes in sizes {
            exchange.send(patterned(size_bytes)).await.unwrap();
        }
    };
    let read = async {
        for size_bytes in sizes {
            let frame = exchange.next_frame().await.unwrap().unwrap();
            assert!(frame == patterned(size_bytes), "{size_bytes} bytes came back");
        }
    };
    tokio::join!(send, read);
    small.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_never_reads_costs_itself_only() {
    let (publisher, slow) = two().await;
    let mut never_read = slow.subscribe(filter("beat"), 4).await.unwrap();
    let mut last_seen = slow.subscribe(filter("end"), 4).await.unwrap();
    echo(slow.serve(filter("x.a"), 10).await.unwrap());
    let content = patterned(32 * 1024);
    for _ in 0..4_000 {
        publisher.publish(Event::new(subject("beat"), content.clone())).await.unwrap();
    }
    publisher.publish(Event::new(subject("end"), "")).await.unwrap();
    assert!(matches!(last_seen.next().await, Some(Delivery::Event(_))));
    let answer = publisher.request(&subject("x.a"), "x".into(), Duration::from_secs(10)).await;
    assert_eq!(answer, Ok("x".into()));

    let (mut seen, mut lost) = (0, 0);
    while seen + lost < 4_000 {
        match never_read.next().await.unwrap() {
            Delivery::Event(_) => seen += 1,
            Delivery::Lost(events) => lost += events,
        }
    }
    assert_eq!((seen, lost), (4, 3_996));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_no_event_and_namespaces_are_apart() {
    let (one, two) = two().await;
    let other = connect(config("edge", &url(), &fixtures::nats::namespace())).await;
    let mut all = two.subscribe(filter(">"), 10).await.unwrap();
    let mut of_other = other.subscribe(filter(">"), 10).await.unwrap();
    let _server = two.serve(filter("x.a"), 10).await.unwrap();
    let refusal = other.open(&subject("x.a"), "x".into()).await.map(|_| ());
    assert_eq!(refusal, Err(BusError::NoResponders));
    let _exchange = one.open(&subject("x.a"), "x".into()).await.unwrap();
    one.publish(Event::new(subject("end"), "")).await.unwrap();
    let Some(Delivery::Event(event)) = all.next().await else { panic!("an event") };
    assert_eq!(event.subject.as_str(), "end");
    other.publish(Event::new(subject("own"), "")).await.unwrap();
    let Some(Delivery::Event(event)) = of_other.next().await else { panic!("an event") };
    assert_eq!(event.subject.as_str(), "own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_and_ids_may_be_any_text() {
    let (one, two) = two().await;
    let mut all = two.subscribe(filter(">"), 10).await.unwrap();
    let event = Event::new(subject("beat"), "x")
        .with_id("an id: ü\n")
        .with_header("position", "17")
        .with_header("a name: %41", " padded\r\n");
    one.publish(event.clone()).await.unwrap();
    let Some(Delivery::Event(received)) = all.next().await else { panic!("an event") };
    assert_eq!(received.id, event.id);
    assert_eq!(received.header("position"), Some("17"));
    assert_eq!(received.header("a name: %41"), Some(" padded\r\n"));
}

/// No request is lost on its way to a server that leaves, however many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_a_server_that_leaves_goes_to_another_one() {
    let (client, server) = two().await;
    echo(server.serve(filter("x.a"), 10).await.unwrap());
    let stop = CancellationToken::new();
    let clients = (0..4).map(|_| {
        let (client, stop) = (client.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                let asked = subject("x.a");
                let answer = client.request(&asked, "x".into(), Duration::from_secs(3)).await;
                // Several leaving ones in a row are possible, and safe to repeat.
                assert!(matches!(answer, Ok(_) | Err(BusError::NoResponders)), "{answer:?}");
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for _ in 0..300 {
        drop(server.serve(filter("x.a"), 10).await.unwrap());
    }
    stop.cancel();
    for client in clients {
        client.await.unwrap();
    }
}
