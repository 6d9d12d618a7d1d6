//! The bus contract over its adapters, and what only one of them promises.

#![expect(clippy::unwrap_used, reason = "a helper of tests panics as a test does")]

use std::sync::Arc;

use bus::{Bus, BusError, Delivery, Event, InProcessBus, InProcessConfig, Subject, SubjectFilter};

mod nats;

mod in_process {
    use super::{Arc, Bus, InProcessBus};

    contract::bus_contract!(async { Arc::new(InProcessBus::default()) as Arc<dyn Bus> });
}

mod in_process_memory {
    use super::{Arc, InProcessBus};

    contract::shared_memory_contract!(async {
        let bus = InProcessBus::default();
        let other = bus.another_instance();
        (Arc::new(bus) as Arc<_>, Arc::new(other) as Arc<_>)
    });
}

#[test]
fn every_adapter_runs_every_case() {
    assert_eq!(in_process::CASES, nats::one_connection::CASES);
    assert_eq!(in_process::CASES, nats::two_connections::CASES);
    assert_eq!(in_process_memory::CASES, nats::memory::CASES);
}

fn filter(text: &str) -> SubjectFilter {
    SubjectFilter::new(text).unwrap()
}

fn subject(text: &str) -> Subject {
    Subject::new(text).unwrap()
}

#[tokio::test]
async fn the_in_process_bus_ends_with_its_last_handle() {
    let bus = InProcessBus::default();
    let other = bus.clone();
    let mut subscription = bus.subscribe(filter(">"), 10).await.unwrap();
    let mut server = bus.serve(filter("srv.a"), 10).await.unwrap();
    let mut watch = bus.watch(filter(">")).await.unwrap();
    let announcement = bus.announce(subject("worker.1"), "x".into()).await.unwrap();
    let client = bus.open(&subject("srv.a"), "x".into()).await.unwrap();
    drop(bus);
    other.publish(Event::new(subject("evt.a"), "last")).await.unwrap();
    drop(other);

    assert!(matches!(subscription.next().await, Some(Delivery::Event(_))));
    assert_eq!(subscription.next().await, None);
    assert_eq!(watch.next().await.map(|set| set.len()), Some(1));
    assert_eq!(watch.next().await, None);
    assert!(matches!(announcement.update("y"), Err(BusError::Unavailable { .. })));
    let incoming = server.accept().await.unwrap();
    incoming.exchange.reply("still".into()).await.unwrap();
    assert_eq!(client.next_frame().await, Some(Ok("still".into())));
    assert!(server.accept().await.is_none());
}

#[tokio::test]
async fn the_in_process_bus_loses_what_is_above_the_capacity_and_nothing_else() {
    let bus = InProcessBus::default();
    let mut subscription = bus.subscribe(filter("evt.a"), 2).await.unwrap();
    let event = |payload: &'static str| Event::new(subject("evt.a"), payload);
    for payload in ["a", "b", "c", "d"] {
        bus.publish(event(payload)).await.unwrap();
    }
    assert_eq!(subscription.try_next(), Some(Delivery::Event(Arc::new(event("a")))));
    bus.publish(event("e")).await.unwrap();
    assert_eq!(subscription.try_next(), Some(Delivery::Event(Arc::new(event("b")))));
    assert_eq!(subscription.try_next(), Some(Delivery::Lost(2)));
    assert_eq!(subscription.try_next(), Some(Delivery::Event(Arc::new(event("e")))));
    assert_eq!(subscription.try_next(), None);
}

#[tokio::test]
async fn the_in_process_bus_limits_its_registrations() {
    let config = InProcessConfig { registrations: 1, ..InProcessConfig::default() };
    let bus = InProcessBus::new(config);
    let subscription = bus.subscribe(filter("evt.a"), 1).await.unwrap();
    let server = bus.serve(filter("srv.a"), 1).await.unwrap();
    let watch = bus.watch(filter("a")).await.unwrap();
    let busy = |refusal: BusError| matches!(refusal, BusError::Busy { .. });
    assert!(busy(bus.subscribe(filter("evt.b"), 1).await.unwrap_err()));
    assert!(busy(bus.serve(filter("srv.b"), 1).await.unwrap_err()));
    assert!(busy(bus.watch(filter("b")).await.unwrap_err()));
    drop((subscription, server, watch));
    bus.subscribe(filter("evt.b"), 1).await.unwrap();
    bus.serve(filter("srv.b"), 1).await.unwrap();
    bus.watch(filter("b")).await.unwrap();
}
