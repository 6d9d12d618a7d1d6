//! The two ends of an exchange.

use std::sync::Arc;

use backplane::exchange::{Answering, Exchange, ExchangeError, FollowUp, Frame};
use backplane::subject;
use bus::{Bus, BusError, InProcessBus, Server};
use bytes::Bytes;
use domain::ServerId;
use proto::internal::v1::{
    ExchangeKind, ExchangeOpen, Finished, Interest, InterestDone, Notification, Paused,
    ServerRequest, SessionCatalogue, finished, interest,
};
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

fn progress(n: u8) -> Notification {
    Notification { method: "notifications/progress".to_owned(), params: Bytes::from(vec![n]) }
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

#[tokio::test]
async fn what_the_upstream_asks_is_answered_by_another_task() {
    let (bus, mut server) = owned().await;
    let (exchange, answering) = opened(&bus, &mut server).await;
    let exchange = Arc::new(exchange);
    let reader = Arc::clone(&exchange);
    let reading = tokio::spawn(async move {
        while let Frame::Request(request) = reader.next().await.unwrap() {
            let answer = match request.method.as_str() {
                "roots/list" => Ok(request.params),
                _ => Err(Bytes::from_static(b"{\"code\":-1}")),
            };
            reader.answer(&request.id, answer).await.unwrap();
        }
    });
    let ask = |id: &str, method: &str| ServerRequest {
        id: id.to_owned(),
        method: method.to_owned(),
        params: Bytes::from_static(b"{}"),
    };
    answering.ask(ask("1", "roots/list")).await.unwrap();
    answering.ask(ask("2", "ping")).await.unwrap();
    for (id, answer) in [("1", Ok(&b"{}"[..])), ("2", Err(&b"{\"code\":-1}"[..]))] {
        let answer = answer.map(Bytes::from_static).map_err(Bytes::from_static);
        let expected = FollowUp::Answer { id: id.to_owned(), answer };
        assert_eq!(soon("the answer", answering.next_follow_up()).await, Some(expected));
    }
    answering.finish(answer()).await.unwrap();
    soon("the end", reading).await.unwrap();
    assert_eq!(exchange.answer("3", Ok(Bytes::new())).await, Err(BusError::Closed));
}

#[tokio::test]
async fn interests_catalogues_and_notifications_pass_both_ways() {
    let (bus, mut server) = owned().await;
    let (exchange, answering) = opened(&bus, &mut server).await;
    let wanted = Interest { id: 7, change: Some(interest::Change::Subscribe("file:///a".into())) };
    exchange.interest(wanted.clone()).await.unwrap();
    exchange.notify("notifications/roots/list_changed", Bytes::new()).await.unwrap();
    assert_eq!(answering.next_follow_up().await, Some(FollowUp::Interest(wanted)));
    let said = Notification {
        method: "notifications/roots/list_changed".to_owned(),
        params: Bytes::new(),
    };
    assert_eq!(answering.next_follow_up().await, Some(FollowUp::Notification(said)));
    let done = InterestDone { id: 7, error: Bytes::new() };
    answering.interest_done(done.clone()).await.unwrap();
    let catalogue = Bytes::from_static(b"{}");
    answering.catalogue(catalogue.clone()).await.unwrap();
    assert_eq!(exchange.next().await, Ok(Frame::InterestDone(done)));
    assert_eq!(exchange.next().await, Ok(Frame::Catalogue(SessionCatalogue { catalogue })));
    answering.paused(Paused { retry_ms: 50 }).await.unwrap();
    assert_eq!(exchange.next().await, Ok(Frame::Paused(Paused { retry_ms: 50 })));
    drop(exchange);
    assert_eq!(soon("the leave", answering.next_follow_up()).await, None);
}

#[tokio::test]
async fn follow_ups_that_cannot_be_read_are_passed_over() {
    let (bus, mut server) = owned().await;
    let first = Bytes::from(prost::Message::encode_to_vec(&request()));
    let client = bus.open(&subject::exchange(SERVER), first).await.unwrap();
    let incoming = soon("the request", server.accept()).await.unwrap();
    let (_, answering) = Answering::accept(incoming).unwrap();
    client.send(Bytes::from_static(&[0xFF; 8])).await.unwrap();
    // A field of a later version.
    client.send(Bytes::from_static(&[0xFA, 0x06, 0x00])).await.unwrap();
    drop(client);
    assert_eq!(soon("the leave", answering.next_follow_up()).await, None);
}

#[tokio::test]
async fn numbers_are_counted_for_an_adoption() {
    let (bus, mut server) = owned().await;
    let (exchange, answering) = opened(&bus, &mut server).await;
    assert_eq!(exchange.last_number(), 0);
    for number in [1, 2] {
        answering.send(Frame::Notification(progress(7)).encode(number)).await.unwrap();
        assert_eq!(exchange.next().await, Ok(Frame::Notification(progress(7))));
        assert_eq!(exchange.last_number(), number);
    }
    // A question that is put again has its own number.
    answering.send(Frame::Request(ServerRequest::default()).encode(1)).await.unwrap();
    exchange.next().await.unwrap();
    assert_eq!(exchange.last_number(), 2);

    let tenant = domain::TenantId::SYSTEM;
    let adopted = Exchange::adopt(&bus, SERVER, tenant, "call-1", 2).await.unwrap();
    assert_eq!(adopted.last_number(), 2);
    let incoming = soon("the adoption", server.accept()).await.unwrap();
    let (open, _) = Answering::accept(incoming).unwrap();
    assert_eq!((open.kind(), open.after_frame), (ExchangeKind::Adoption, 2));
    assert_eq!((open.tenant, open.call_id), (tenant.to_string(), "call-1".to_owned()));
    assert_eq!(open.server, SERVER.to_string());
}

#[tokio::test]
async fn only_who_has_the_last_frame_of_a_kept_call_says_that_it_is_taken() {
    for (orphan_ms, reads_the_end, taken) in
        [(60_000, true, Some("taken")), (60_000, false, None), (0, true, None)]
    {
        let (bus, mut server) = owned().await;
        let open = ExchangeOpen { orphan_ms, ..request() };
        let exchange = Exchange::open(&bus, SERVER, &open).await.unwrap();
        let incoming = soon("the request", server.accept()).await.unwrap();
        let (_, answering) = Answering::accept(incoming).unwrap();
        answering.send(Frame::Finished(answer()).encode(1)).await.unwrap();
        if reads_the_end {
            assert_eq!(exchange.next().await, Ok(Frame::Finished(answer())));
        }
        drop(exchange);
        let said = soon("the leave", answering.cancelled()).await;
        assert_eq!(said.as_deref(), taken, "{orphan_ms} {reads_the_end}");
        if taken.is_some() {
            assert_eq!(soon("the leave", answering.next_follow_up()).await, None);
        }
    }
}
