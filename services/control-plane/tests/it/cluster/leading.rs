//! One replica leads: it alone publishes and beats, and the next one goes on where it was.

use std::collections::BTreeMap;

use bus::{Bus as _, Delivery, Subscription};
use prost::Message as _;
use proto::internal::v1::{Beat, StoredEvent};

use super::{Cluster, eventually};

/// Everything that is published, by position, and how often.
struct Heard {
    events: Subscription,
    all: BTreeMap<u64, u32>,
    order: Vec<u64>,
}

impl Heard {
    async fn on(cluster: &Cluster) -> Self {
        let events = cluster.bus.subscribe("evt.>".parse().unwrap(), 10_000).await.unwrap();
        Self { events, all: BTreeMap::new(), order: Vec::new() }
    }

    fn take(&mut self) {
        while let Some(delivery) = self.events.try_next() {
            let Delivery::Event(event) = delivery else { panic!("{delivery:?}") };
            let position = StoredEvent::decode(event.payload.clone()).unwrap().position;
            *self.all.entry(position).or_default() += 1;
            self.order.push(position);
        }
    }

    async fn until(&mut self, position: u64) {
        eventually(async || {
            self.take();
            self.all.contains_key(&position).then_some(())
        })
        .await;
    }
}

async fn head(cluster: &Cluster) -> u64 {
    use event_store::EventStore as _;
    cluster.store.head().await.unwrap().as_u64()
}

#[tokio::test]
async fn only_the_one_that_leads_publishes_and_the_next_goes_on_where_it_was() {
    let cluster = Cluster::new();
    let mut heard = Heard::on(&cluster).await;
    let (one, other, owner) = cluster.two().await;
    owner.caller.register(&owner.project, "a").await;
    let first = head(&cluster).await;
    heard.until(first).await;
    assert!(heard.all.values().all(|times| *times == 1), "{:?}", heard.all);

    // Nobody leads: commands go on, nothing is published.
    one.follow();
    owner.caller.register(&owner.project, "b").await;
    let second = head(&cluster).await;
    let mut beats = cluster.bus.subscribe(backplane::subject::beat().into(), 10).await.unwrap();
    while beats.try_next().is_some() {}
    tokio::time::timeout(std::time::Duration::from_millis(1_500), beats.next()).await.unwrap_err();
    heard.take();
    assert!(!heard.all.contains_key(&second));

    other.lead(2);
    heard.until(second).await;
    let events: Vec<u64> = (1..=second).collect();
    assert_eq!(heard.all.keys().copied().collect::<Vec<_>>(), events, "none is missing");
    // A configuration event is recognized when it comes again.
    let mut last_run = heard.order.iter().rev();
    assert_eq!(last_run.next(), Some(&second));
    let beat = tokio::time::timeout(std::time::Duration::from_secs(5), beats.next()).await;
    let Ok(Some(Delivery::Event(beat))) = beat else { panic!("{beat:?}") };
    assert!(Beat::decode(beat.payload.clone()).unwrap().position >= first);

    // Leading again after another: each once, and no two at the same time.
    other.follow();
    one.lead(3);
    let made = other.caller(&owner).register(&owner.project, "c").await;
    heard.until(head(&cluster).await).await;
    assert!(!made.id.is_empty());
}

#[tokio::test]
async fn a_follower_of_the_bus_sees_no_gap_when_the_leader_stops() {
    let cluster = Cluster::new();
    let (one, other, owner) = cluster.two().await;
    let clock = cluster.clock.clone();
    let stop = tokio_util::sync::CancellationToken::new();
    let replica = backplane::Replica::start(
        std::sync::Arc::new(cluster.bus.clone()),
        "edge",
        std::sync::Arc::new(move || clock.now()),
        stop.clone(),
    );
    replica.ready().await.unwrap();
    other.lead(2);
    one.stop().await;
    let made = other.caller(&owner).register(&owner.project, "after").await;
    let id = made.id.parse().unwrap();
    eventually(async || replica.read().server(&id).is_some().then_some(())).await;
    stop.cancel();
}
