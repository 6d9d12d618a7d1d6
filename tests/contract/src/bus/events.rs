//! Publishing and subscribing.

use std::sync::Arc;

use bus::{BusError, Delivery, Event, MAX_EVENT_BYTES, Subscription};

use super::{Fresh, filter, subject};

fn numbered(to: &str, number: u64) -> Event {
    Event::new(subject(to), number.to_string()).with_header("number", number.to_string())
}

fn number_of(event: &Arc<Event>) -> u64 {
    let number = event.header("number").expect("the header is kept");
    assert_eq!(event.payload, number.as_bytes(), "payload and header belong together");
    number.parse().expect("a number")
}

async fn next_event(subscription: &mut Subscription) -> Arc<Event> {
    match subscription.next().await {
        Some(Delivery::Event(event)) => event,
        other => panic!("expected an event, got {other:?}"),
    }
}

async fn publish(bus: &Fresh, event: Event) {
    bus.publish(event).await.expect("published");
}

/// The order of one publisher is kept, over all subjects that a filter matches.
pub async fn events_of_a_publisher_arrive_in_order(bus: Fresh) {
    let mut subscription = bus.subscribe(filter("evt.>"), 1000).await.expect("subscribed");
    for number in 0..500 {
        let to = if number % 2 == 0 { "evt.even" } else { "evt.odd" };
        publish(&bus, numbered(to, number)).await;
    }
    for number in 0..500 {
        let event = next_event(&mut subscription).await;
        assert_eq!(number_of(&event), number);
        assert_eq!(event.subject.as_str(), if number % 2 == 0 { "evt.even" } else { "evt.odd" });
    }
}

/// `*` is one token, `>` is the rest, and nothing else comes in.
pub async fn a_filter_gets_what_it_matches(bus: Fresh) {
    let mut one = bus.subscribe(filter("evt.*.made"), 100).await.expect("subscribed");
    let mut rest = bus.subscribe(filter("evt.server.>"), 100).await.expect("subscribed");
    let mut plain = bus.subscribe(filter("evt.server.made"), 100).await.expect("subscribed");
    let subjects = ["evt.server", "evt.server.made", "evt.key.made", "evt.server.a.b", "evt.end"];
    for (number, to) in (0..).zip(subjects) {
        publish(&bus, numbered(to, number)).await;
    }
    for to in ["evt.end.made", "evt.server.made"] {
        publish(&bus, numbered(to, 9)).await;
    }
    let mut got = Vec::new();
    for (subscription, count) in [(&mut one, 4), (&mut rest, 3), (&mut plain, 2)] {
        let mut subjects = Vec::new();
        for _ in 0..count {
            subjects.push(next_event(subscription).await.subject.to_string());
        }
        got.push(subjects);
    }
    assert_eq!(got[0], ["evt.server.made", "evt.key.made", "evt.end.made", "evt.server.made"]);
    assert_eq!(got[1], ["evt.server.made", "evt.server.a.b", "evt.server.made"]);
    assert_eq!(got[2], ["evt.server.made", "evt.server.made"]);
}

/// Subscribers do not share; one that leaves takes nothing from the others.
pub async fn every_subscriber_gets_every_event_until_it_leaves(bus: Fresh) {
    let mut stays = bus.subscribe(filter("evt.a"), 10).await.expect("subscribed");
    let mut leaves = bus.subscribe(filter("evt.a"), 10).await.expect("subscribed");
    publish(&bus, numbered("evt.a", 1)).await;
    assert_eq!(number_of(&next_event(&mut stays).await), 1);
    assert_eq!(number_of(&next_event(&mut leaves).await), 1);
    drop(leaves);
    publish(&bus, numbered("evt.a", 2)).await;
    assert_eq!(number_of(&next_event(&mut stays).await), 2);
}

/// Every event is either delivered or counted, in its place; later ones come again.
pub async fn a_slow_subscriber_is_told_what_it_lost_and_where(bus: Fresh) {
    let mut slow = bus.subscribe(filter("evt.a"), 4).await.expect("subscribed");
    let mut quick = bus.subscribe(filter("evt.a"), 1000).await.expect("subscribed");
    for number in 0..100 {
        publish(&bus, numbered("evt.a", number)).await;
    }
    for number in 0..100 {
        assert_eq!(number_of(&next_event(&mut quick).await), number);
    }
    let (mut position, mut lost_in_all) = (0, 0);
    while position < 100 {
        match slow.next().await.expect("the bus is there") {
            Delivery::Event(event) => {
                assert_eq!(number_of(&event), position, "a loss stands in its place");
                position += 1;
            }
            Delivery::Lost(lost) => {
                assert!(lost > 0);
                position += lost;
                lost_in_all += lost;
            }
        }
    }
    assert!(lost_in_all > 0, "a queue of 4 cannot hold 100");
    publish(&bus, numbered("evt.a", 100)).await;
    assert_eq!(number_of(&next_event(&mut slow).await), 100);
}

/// A publisher that does not know whether it published may publish again.
pub async fn a_repeated_id_is_delivered_once(bus: Fresh) {
    let mut subscription = bus.subscribe(filter("evt.a"), 10).await.expect("subscribed");
    for (id, number) in [("x", 1), ("x", 1), ("y", 2), ("x", 1), ("y", 2), ("z", 3)] {
        publish(&bus, numbered("evt.a", number).with_id(id)).await;
    }
    for (id, number) in [("x", 1), ("y", 2), ("z", 3)] {
        let event = next_event(&mut subscription).await;
        assert_eq!((event.id.as_deref(), number_of(&event)), (Some(id), number));
    }
}

/// Also when the repetitions come from several tasks at the same time.
pub async fn concurrent_repetitions_are_delivered_once(bus: Fresh) {
    let mut subscription = bus.subscribe(filter("evt.a"), 1000).await.expect("subscribed");
    let publishers = (0..4).map(|_| {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move {
            for number in 0..100 {
                publish(&bus, numbered("evt.a", number).with_id(format!("id-{number}"))).await;
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.expect("published");
    }
    publish(&bus, numbered("evt.a", 100)).await;
    for number in 0..=100 {
        assert_eq!(number_of(&next_event(&mut subscription).await), number);
    }
}

/// Without an id there is nothing to recognize.
pub async fn events_without_an_id_all_count(bus: Fresh) {
    let mut subscription = bus.subscribe(filter("evt.a"), 10).await.expect("subscribed");
    for _ in 0..3 {
        publish(&bus, numbered("evt.a", 7)).await;
    }
    for _ in 0..3 {
        assert_eq!(number_of(&next_event(&mut subscription).await), 7);
    }
}

/// The limit counts everything that travels, and is said in the error.
pub async fn an_event_above_the_limit_is_refused(bus: Fresh) {
    let mut subscription = bus.subscribe(filter("evt.a"), 10).await.expect("subscribed");
    let fits = Event::new(subject("evt.a"), vec![7; MAX_EVENT_BYTES - 100]);
    let above = fits.clone().with_header("filling", "x".repeat(100));
    let refusal = bus.publish(above.with_id("again")).await.expect_err("too large");
    assert!(
        matches!(refusal, BusError::TooLarge { limit_bytes: MAX_EVENT_BYTES, .. }),
        "{refusal:?}"
    );
    publish(&bus, fits.with_id("again")).await;
    assert_eq!(next_event(&mut subscription).await.payload.len(), MAX_EVENT_BYTES - 100);
}

/// There is one order of events, whoever looks.
pub async fn subscribers_agree_on_the_order_of_concurrent_publishers(bus: Fresh) {
    let mut first = bus.subscribe(filter("evt.>"), 1000).await.expect("subscribed");
    let mut second = bus.subscribe(filter("evt.a"), 1000).await.expect("subscribed");
    let publishers = (0..4u64).map(|publisher| {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move {
            for number in 0..100 {
                publish(&bus, numbered("evt.a", publisher * 1000 + number)).await;
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.expect("published");
    }
    let mut order = Vec::new();
    for _ in 0..400 {
        let number = number_of(&next_event(&mut first).await);
        assert_eq!(number, number_of(&next_event(&mut second).await));
        order.push(number);
    }
    for publisher in 0..4u64 {
        let own: Vec<_> = order.iter().copied().filter(|n| n / 1000 == publisher).collect();
        assert!(own.is_sorted() && own.len() == 100, "the order of one publisher is kept");
    }
}
