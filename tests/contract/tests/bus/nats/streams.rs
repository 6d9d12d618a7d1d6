//! What JetStream keeps.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::Info;
use bus::{Bus, Delivery, Event, SharedMemory, nats};
use tokio::time::timeout;

use super::{config, connect, url};
use crate::{filter, subject};

async fn jetstream() -> jetstream::Context {
    jetstream::new(async_nats::connect(url()).await.unwrap())
}

async fn info(jetstream: &jetstream::Context, stream: &str) -> Info {
    jetstream.get_stream(stream).await.unwrap().cached_info().clone()
}

/// The kept events, oldest first: their subjects and ids.
async fn kept(jetstream: &jetstream::Context, namespace: &str) -> Vec<(String, String)> {
    let stream = jetstream.get_stream(format!("{namespace}_events")).await.unwrap();
    let state = &stream.cached_info().state;
    let mut kept = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let id = message.headers.get("Nats-Msg-Id").map(ToString::to_string);
        kept.push((message.subject.to_string(), id.unwrap_or_default()));
    }
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_event_is_kept_and_heard_once() {
    let namespace = fixtures::nats::namespace();
    let one = connect(config("control-plane", &url(), &namespace)).await;
    let two = connect(config("control-plane", &url(), &namespace)).await;
    let mut heard = two.subscribe(filter("evt.>"), 10).await.unwrap();
    for bus in [&one, &two, &one] {
        bus.publish(Event::new(subject("evt.a.b"), "x").with_id("id-1")).await.unwrap();
    }
    one.publish(Event::new(subject("evt.a.c"), "end").with_id("id-2")).await.unwrap();
    one.publish(Event::new(subject("beat"), "not kept")).await.unwrap();
    for id in ["id-1", "id-2"] {
        let Some(Delivery::Event(event)) = heard.next().await else { panic!("an event") };
        assert_eq!(event.id.as_deref(), Some(id));
    }
    let expected = [("evt.a.b", "id-1"), ("evt.a.c", "id-2")];
    let expected = expected.map(|(s, id)| (format!("{namespace}.e.{s}"), id.to_owned()));
    assert_eq!(kept(&jetstream().await, &namespace).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_streams_are_as_promised() {
    let namespace = fixtures::nats::namespace();
    let bus = connect(config("control-plane", &url(), &namespace)).await;
    bus.publish(Event::new(subject("evt.a"), "x")).await.unwrap();
    bus.write(&subject("k"), "v".into(), None).await.unwrap();
    bus.push(&subject("t"), "x".into()).await.unwrap();
    let jetstream = jetstream().await;

    let events = info(&jetstream, &format!("{namespace}_events")).await.config;
    assert_eq!(events.storage, jetstream::stream::StorageType::File);
    assert_eq!(events.retention, jetstream::stream::RetentionPolicy::Limits);
    assert!(events.duplicate_window >= Duration::from_secs(60) && events.max_messages > 0);

    let values = info(&jetstream, &format!("KV_{namespace}_memory")).await.config;
    assert_eq!(values.max_age, Duration::from_secs(2 * 60 * 60));
    assert_eq!(values.max_messages_per_subject, 1);
    let bucket = jetstream.get_key_value(format!("{namespace}_memory")).await.unwrap();
    assert_eq!(bucket.get("k").await.unwrap(), Some("v".into()), "it is a bucket for others, too");

    let trails = info(&jetstream, &format!("{namespace}_trails")).await.config;
    assert_eq!(trails.storage, jetstream::stream::StorageType::Memory);
    assert_eq!(trails.max_messages_per_subject, 256);
    assert_eq!(trails.max_age, Duration::from_secs(5 * 60));
    assert!(trails.max_bytes > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_somebody_removed_is_made_again() {
    let namespace = fixtures::nats::namespace();
    let bus = connect(config("control-plane", &url(), &namespace)).await;
    bus.publish(Event::new(subject("evt.a"), "x").with_id("1")).await.unwrap();
    let revision = bus.write(&subject("k"), "v".into(), None).await.unwrap();
    let jetstream = jetstream().await;
    for stream in [format!("{namespace}_events"), format!("KV_{namespace}_memory")] {
        jetstream.delete_stream(stream).await.unwrap();
    }
    bus.publish(Event::new(subject("evt.a"), "y").with_id("2")).await.unwrap();
    assert_eq!(kept(&jetstream, &namespace).await.len(), 1);
    assert_eq!(bus.read(&subject("k")).await, Ok(None));
    bus.remove(&subject("k")).await.unwrap();
    assert_eq!(
        bus.write(&subject("k"), "w".into(), Some(revision)).await,
        Err(bus::MemoryError::Changed)
    );
    bus.write(&subject("k"), "w".into(), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuilt_stream_has_the_same_events_and_disturbs_nobody() {
    let namespace = fixtures::nats::namespace();
    let config = || config("control-plane", &url(), &namespace);
    let bus = connect(config()).await;
    let numbered = |number: u32| {
        Event::new(subject(&format!("evt.t.server.{number}")), number.to_string())
            .with_id(format!("id-{number}"))
            .with_header("position", number.to_string())
    };
    for number in [3, 1, 99] {
        bus.publish(numbered(number)).await.unwrap();
    }
    let mut heard = bus.subscribe(filter("evt.>"), 2_000).await.unwrap();

    let mut rebuild = nats::rebuild(config()).await.unwrap();
    assert!(rebuild.publish(Event::new(subject("beat"), "x")).await.is_err());
    for number in 0..1_000 {
        rebuild.publish(numbered(number)).await.unwrap();
    }
    assert_eq!(rebuild.finish().await, Ok(1_000));
    // The publisher's latest one, which the rebuild had already, and the next one.
    bus.publish(numbered(999)).await.unwrap();
    bus.publish(numbered(1_000)).await.unwrap();

    let expected = (0..=1_000)
        .map(|number| (format!("{namespace}.e.evt.t.server.{number}"), format!("id-{number}")));
    assert!(kept(&jetstream().await, &namespace).await.into_iter().eq(expected));
    for number in [999, 1_000] {
        let next = timeout(Duration::from_secs(5), heard.next()).await.unwrap();
        let Some(Delivery::Event(event)) = next else { panic!("{next:?}") };
        assert_eq!(event.header("position"), Some(number.to_string().as_str()));
    }
}
