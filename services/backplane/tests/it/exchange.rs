//! The two ends of an exchange.

use backplane::exchange::{Answering, Exchange, ExchangeError, Frame};
use backplane::subject;
use bus::{Bus, BusError, InProcessBus, Server};
use bytes::Bytes;
use domain::ServerId;
use proto::internal::v1::{ExchangeOpen, Finished, Notification, finished};
use uuid::Uuid;

use crate::wait::soon;

const SERVER: ServerId = ServerId::from_uuid(Uuid::from_u128(1));

async fn owned() -> (InProcessBus, Server) {
    let bus = InProcessBus::default();
    let server = bus.serve(subject::exchange(SERVER).into(), 4).await.unwrap();
    (bus, server)
}

fn request() -> ExchangeOpen {
    let params = Bytes::from_static(br#"{"name":"read"}"#);
    ExchangeOpen { method: "tools/call".to_owned(), params, ..ExchangeOpen::default() }
}

fn answer() -> Finished {
    let result = finished::Answer::Result(Bytes::from_static(b"{}"));
    Finished { answer: Some(result), ..Finished::default() }
}

async fn opened(bus: &InProcessBus, server: &mut Server) -> (Exchange, Answering) {
    let exchange = Exchange::open(bus, SERVER, &request()).await.unwrap();
    let incoming = soon("the request", server.accept()).await.unwrap();
    let (open, answering) = Answering::accept(incoming).unwrap();
    assert_eq!(open, request());
    (exchange, answering)
}

#[tokio::test]
async fn notifications_come_in_order_before_the_answer() {
    let (bus, mut server) = owned().await;
    let (exchange, answering) = opened(&bus, &mut server).await;
    let progress = |n: u8| Notification {
        method: "notifications/progress".to_owned(),
        params: Bytes::from(vec![n]),
    };
    for n in 0..3 {
        answering.notify(progress(n)).await.unwrap();
    }
    answering.finish(answer()).await.unwrap();
    for n in 0..3 {
        assert_eq!(exchange.next().await, Ok(Frame::Notification(progress(n))));
    }
    assert_eq!(exchange.next().await, Ok(Frame::Finished(answer())));
    let closed = exchange.cancel("too late").await;
    assert_eq!(closed, Err(BusError::Closed));
}

#[tokio::test]
async fn a_cancel_reaches_the_worker_and_the_answer_still_comes() {
    let (bus, mut server) = owned().await;
    let (exchange, answering) = opened(&bus, &mut server).await;
    exchange.cancel("the user said so").await.unwrap();
    let reason = soon("the cancel", answering.cancelled()).await;
    assert_eq!(reason.as_deref(), Some("the user said so"));
    answering.finish(answer()).await.unwrap();
    assert_eq!(exchange.next().await, Ok(Frame::Finished(answer())));
}

#[tokio::test]
async fn an_edge_that_leaves_cancels() {
    let (bus, mut server) = owned().await;
    let (exchange, answering) = opened(&bus, &mut server).await;
    drop(exchange);
    assert_eq!(soon("the leave", answering.cancelled()).await, None);
    assert_eq!(answering.finish(answer()).await, Err(BusError::Closed));
}

#[tokio::test]
async fn a_worker_that_leaves_breaks_the_exchange() {
    let (bus, mut server) = owned().await;
    let (exchange, answering) = opened(&bus, &mut server).await;
    drop(answering);
    let broken = soon("the end", exchange.next()).await;
    assert_eq!(broken, Err(ExchangeError::Bus(BusError::Closed)));
    let still = soon("the end", exchange.next()).await;
    assert_eq!(still, Err(ExchangeError::Bus(BusError::Closed)));
}

#[tokio::test]
async fn nobody_owns_the_server() {
    let refused = Exchange::open(&InProcessBus::default(), SERVER, &request()).await;
    assert_eq!(refused.err(), Some(BusError::NoResponders));
}

#[tokio::test]
async fn a_request_that_cannot_be_read_breaks_the_exchange() {
    let (bus, mut server) = owned().await;
    let garbage = Bytes::from_static(&[0xFF; 8]);
    let client = bus.open(&subject::exchange(SERVER), garbage).await.unwrap();
    let incoming = soon("the request", server.accept()).await.unwrap();
    assert!(Answering::accept(incoming).is_err());
    assert_eq!(soon("the end", client.next_frame()).await, Some(Err(BusError::Closed)));
}
