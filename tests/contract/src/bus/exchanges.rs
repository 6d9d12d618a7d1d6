//! Requests, their streams of frames, and their ends.

use std::sync::Arc;
use std::time::Duration;

use bus::{BusError, ClientSide, Incoming, Server};
use bytes::Bytes;

use super::{Fresh, filter, subject};

async fn serve(bus: &Fresh, served: &str) -> Server {
    bus.serve(filter(served), 100).await.expect("served")
}

async fn accept(server: &mut Server) -> Incoming {
    server.accept().await.expect("the bus is there")
}

async fn open(bus: &Fresh, to: &str, first: &'static str) -> ClientSide {
    bus.open(&subject(to), first.into()).await.expect("opened")
}

async fn frame(client: &ClientSide) -> Bytes {
    client.next_frame().await.expect("a frame").expect("no error")
}

/// The caller learns it without waiting, also after the last server left.
pub async fn nobody_serving_is_no_responders_at_once(bus: Fresh) {
    let answer = bus.open(&subject("srv.a"), "x".into()).await.map(|_| ());
    assert_eq!(answer, Err(BusError::NoResponders));
    drop(serve(&bus, "srv.a").await);
    let answer = bus.request(&subject("srv.a"), "x".into(), Duration::from_secs(10)).await;
    assert_eq!(answer, Err(BusError::NoResponders));
}

/// A finish is the end of the stream, not an error.
pub async fn frames_arrive_in_order_until_the_finish(bus: Fresh) {
    let mut server = serve(&bus, "srv.a").await;
    let client = open(&bus, "srv.a", "question").await;
    let incoming = accept(&mut server).await;
    assert_eq!(incoming.first, "question");
    assert_eq!(incoming.subject.as_str(), "srv.a");
    tokio::spawn(async move {
        for number in 0..500 {
            incoming.exchange.reply(number.to_string().into()).await.expect("replied");
        }
        incoming.exchange.finish();
    });
    for number in 0..500 {
        assert_eq!(frame(&client).await, number.to_string());
    }
    assert_eq!(client.next_frame().await, None);
    assert_eq!(client.next_frame().await, None);
}

/// Both directions are open at the same time.
pub async fn follow_ups_are_answered_within_the_exchange(bus: Fresh) {
    let mut server = serve(&bus, "srv.a").await;
    let client = open(&bus, "srv.a", "0").await;
    let incoming = accept(&mut server).await;
    let side = tokio::spawn(async move {
        while let Some(follow_up) = incoming.exchange.next_follow_up().await {
            let answer = [b"to ", follow_up.as_ref()].concat();
            incoming.exchange.reply(answer.into()).await.expect("replied");
        }
    });
    for number in 0..100 {
        client.send(number.to_string().into()).await.expect("sent");
        assert_eq!(frame(&client).await, format!("to {number}"));
    }
    drop(client);
    side.await.expect("follow-ups end with their client");
}

/// This is how a call is cancelled: all that the server does on the exchange ends.
pub async fn a_client_that_leaves_is_seen_by_the_server(bus: Fresh) {
    let mut server = serve(&bus, "srv.a").await;
    let client = open(&bus, "srv.a", "x").await;
    let side = accept(&mut server).await.exchange;
    assert!(!side.is_closed());
    client.send("last words".into()).await.expect("sent");
    let side = Arc::new(side);
    let waiting = tokio::spawn({
        let side = Arc::clone(&side);
        async move { side.closed().await }
    });
    drop(client);
    waiting.await.expect("closed");
    assert!(side.is_closed());
    side.closed().await;
    assert_eq!(side.next_follow_up().await, Some("last words".into()));
    assert_eq!(side.next_follow_up().await, None);
    assert_eq!(side.reply("x".into()).await, Err(BusError::Closed));
}

/// What was sent before arrives; then the break is an error, once.
pub async fn a_server_that_leaves_is_seen_by_the_client(bus: Fresh) {
    let mut server = serve(&bus, "srv.a").await;
    let client = open(&bus, "srv.a", "x").await;
    let side = accept(&mut server).await.exchange;
    side.reply("before".into()).await.expect("replied");
    drop(side);
    assert_eq!(frame(&client).await, "before");
    assert_eq!(client.next_frame().await, Some(Err(BusError::Closed)));
    assert_eq!(client.next_frame().await, None);
    assert_eq!(client.send("x".into()).await, Err(BusError::Closed));

    let client = Arc::new(open(&bus, "srv.a", "x").await);
    let side = accept(&mut server).await.exchange;
    let waiting = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.next_frame().await }
    });
    drop(side);
    assert_eq!(waiting.await.expect("woken"), Some(Err(BusError::Closed)));
}

/// Such a request may be repeated, so it must not look like a broken one.
pub async fn a_server_that_leaves_before_it_took_the_request_has_not_seen_it(bus: Fresh) {
    let server = serve(&bus, "srv.a").await;
    let client = open(&bus, "srv.a", "x").await;
    drop(server);
    assert_eq!(client.next_frame().await, Some(Err(BusError::NoResponders)));
    assert_eq!(client.next_frame().await, None);
}

/// Neither side can add to what is finished; a follow-up is not lost without a word.
pub async fn a_finished_exchange_takes_nothing_more(bus: Fresh) {
    let mut server = serve(&bus, "srv.a").await;
    let client = open(&bus, "srv.a", "x").await;
    let side = accept(&mut server).await.exchange;
    side.finish();
    assert_eq!(side.reply("late".into()).await, Err(BusError::Closed));
    assert_eq!(side.next_follow_up().await, None);
    drop(side);
    assert_eq!(client.next_frame().await, None);
    assert_eq!(client.send("late".into()).await, Err(BusError::Closed));
}

/// One request goes to one server, and each server gets some.
pub async fn a_group_of_servers_shares_the_requests(bus: Fresh) {
    let mut tasks = Vec::new();
    for name in ["one", "two"] {
        let mut server = serve(&bus, if name == "one" { "srv.a" } else { "srv.*" }).await;
        tasks.push(tokio::spawn(async move {
            loop {
                let incoming = accept(&mut server).await;
                incoming.exchange.reply(name.into()).await.expect("replied");
                incoming.exchange.finish();
            }
        }));
    }
    let mut answers = Vec::new();
    for _ in 0..100 {
        let client = open(&bus, "srv.a", "x").await;
        answers.push(frame(&client).await);
        assert_eq!(client.next_frame().await, None, "only one server answers");
    }
    for name in ["one", "two"] {
        assert!(answers.iter().any(|answer| answer == name), "{name} got nothing of 100");
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A filter with wildcards serves its subjects and no others.
pub async fn a_server_gets_only_the_subjects_it_serves(bus: Fresh) {
    let mut server = serve(&bus, "srv.one.>").await;
    let other = bus.open(&subject("srv.two.a"), "x".into()).await.map(|_| ());
    assert_eq!(other, Err(BusError::NoResponders));
    let _client = open(&bus, "srv.one.a.b", "x").await;
    assert_eq!(accept(&mut server).await.subject.as_str(), "srv.one.a.b");
}

/// The short form: one question, one answer; an end without an answer is an error.
pub async fn a_request_gives_the_first_frame(bus: Fresh) {
    let mut server = serve(&bus, "srv.a").await;
    tokio::spawn(async move {
        let incoming = accept(&mut server).await;
        let answer = [b"re: ", incoming.first.as_ref()].concat();
        incoming.exchange.reply(answer.into()).await.expect("replied");
        incoming.exchange.finish();
        accept(&mut server).await.exchange.finish();
        drop(accept(&mut server).await);
    });
    let asked = subject("srv.a");
    let ask = || bus.request(&asked, "question".into(), Duration::from_secs(10));
    assert_eq!(ask().await, Ok("re: question".into()));
    assert_eq!(ask().await, Err(BusError::Closed));
    assert_eq!(ask().await, Err(BusError::Closed));
}

/// A server that does not answer costs the caller its timeout, and sees it leave.
pub async fn a_request_gives_up_in_time(bus: Fresh) {
    let mut server = serve(&bus, "srv.a").await;
    let answer = bus.request(&subject("srv.a"), "x".into(), Duration::from_millis(50)).await;
    assert_eq!(answer, Err(BusError::TimedOut { timeout_ms: 50 }));
    accept(&mut server).await.exchange.closed().await;
}

/// Frames of one exchange never turn up in another.
pub async fn many_exchanges_run_side_by_side(bus: Fresh) {
    const EXCHANGES: usize = 1000;
    const FRAMES: usize = 20;
    let mut server = bus.serve(filter("srv.a"), EXCHANGES).await.expect("served");
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            tokio::spawn(async move {
                for number in 0..FRAMES {
                    let follow_up = incoming.exchange.next_follow_up().await.expect("sent");
                    let answer = [incoming.first.as_ref(), b"/", follow_up.as_ref()].concat();
                    assert!(follow_up == number.to_string());
                    incoming.exchange.reply(answer.into()).await.expect("replied");
                }
                incoming.exchange.finish();
            });
        }
    });
    let clients = (0..EXCHANGES).map(|exchange| {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move {
            let first = exchange.to_string();
            let client = bus.open(&subject("srv.a"), first.into()).await.expect("opened");
            for number in 0..FRAMES {
                client.send(number.to_string().into()).await.expect("sent");
                assert_eq!(frame(&client).await, format!("{exchange}/{number}"));
            }
            assert_eq!(client.next_frame().await, None);
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("the exchange is its own");
    }
}
