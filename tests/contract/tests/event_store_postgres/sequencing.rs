//! The sequencer: one epoch gives positions at a time, and who was stopped is refused.

use std::sync::Arc;
use std::time::Duration;

use contract::event_store::{TestClock, append, soon, stream};
use event_store::postgres::LEADER;
use event_store::{
    EventStore, Leases, Position, PostgresEventStore, ReadFilter, Sequencer, StoreError,
};
use fixtures::Postgres;
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{config, migrated};

struct Replica {
    store: PostgresEventStore,
    leadership: watch::Receiver<Option<u64>>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

async fn replica(server: &Postgres, database: &str, name: &str) -> Replica {
    let config = config(server, database, TestClock::at(0).clock());
    let store = PostgresEventStore::open(config).await.unwrap();
    let sequencer = Sequencer::new(store.clone(), name);
    let (leadership, shutdown) = (sequencer.leadership(), CancellationToken::new());
    let running = tokio::spawn(sequencer.run(shutdown.clone()));
    Replica { store, leadership, shutdown, running }
}

impl Replica {
    async fn leads(&mut self) -> u64 {
        let epoch = soon(self.leadership.wait_for(Option::is_some)).await.unwrap();
        epoch.expect("an epoch")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leads_and_another_follows_when_it_gives_up() {
    let server = Postgres::shared().unwrap();
    let database = migrated(&server).await.unwrap();
    let mut one = replica(&server, database.name(), "one").await;
    assert_eq!(one.leads().await, 1);
    let mut two = replica(&server, database.name(), "two").await;
    let done = two.store.append(append(&stream("a"), [1])).await.unwrap();
    assert_eq!(done.last_position, None, "positions come afterwards");
    assert_eq!(two.store.wait_position(&done).await.unwrap(), Position::new(1));
    assert_eq!(*two.leadership.borrow(), None);

    one.shutdown.cancel();
    one.running.await.unwrap();
    assert_eq!(*one.leadership.borrow(), None);
    assert_eq!(two.leads().await, 2);
    let done = one.store.append(append(&stream("a"), [2])).await.unwrap();
    assert_eq!(one.store.wait_position(&done).await.unwrap(), Position::new(2));
    two.shutdown.cancel();
}

/// Another takes the lease while the leader does not know: its next step finds the epoch of the
/// sequencer higher than its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writes_of_a_stale_sequencer_are_refused() {
    let server = Postgres::shared().unwrap();
    let database = migrated(&server).await.unwrap();
    let mut one = replica(&server, database.name(), "one").await;
    assert_eq!(one.leads().await, 1);
    let first = one.store.append(append(&stream("a"), [1])).await.unwrap();
    one.store.wait_position(&first).await.unwrap();

    let mut admin = PgConnection::connect(&server.admin_url(database.name())).await.unwrap();
    sqlx::raw_sql(
        "UPDATE mcp_orch.sequencer SET epoch = 9;
         UPDATE mcp_orch.lease SET holder = 'other', epoch = 9, expires_at = now() + interval '2 s'",
    )
    .execute(&mut admin)
    .await
    .unwrap();
    let marked = one.store.mark_published(1, Position::new(1)).await;
    assert!(matches!(marked, Err(StoreError::Fenced { epoch: 1, .. })), "{marked:?}");
    one.store.mark_published(9, Position::new(1)).await.unwrap();
    assert_eq!(one.store.published().await.unwrap(), Position::new(1));

    // The append is made; its position waits for who leads. That is the same process again,
    // once the other's lease is over, in an epoch of its own.
    let second = one.store.append(append(&stream("a"), [2])).await.unwrap();
    soon(one.leadership.wait_for(Option::is_none)).await.unwrap();
    assert_eq!(one.store.head().await.unwrap(), Position::new(1));
    assert_eq!(soon(one.store.wait_position(&second)).await.unwrap(), Position::new(2));
    assert_eq!(one.leads().await, 10);
    one.shutdown.cancel();
}

/// Both believe that they lead, and both try all the time: the log has no gap and nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_believe_to_lead_place_each_event_once() {
    let server = Postgres::shared().unwrap();
    let database = migrated(&server).await.unwrap();
    let mut replicas = Vec::new();
    for name in ["one", "two"] {
        replicas.push(replica(&server, database.name(), name).await);
    }
    let store = replicas[0].store.clone();
    let usurper = tokio::spawn({
        let url = server.admin_url(database.name());
        async move {
            let mut admin = PgConnection::connect(&url).await.unwrap();
            loop {
                // The lead goes to and fro without either being told.
                sqlx::raw_sql(
                    "UPDATE mcp_orch.lease SET expires_at = '-infinity';
                     UPDATE mcp_orch.lease SET epoch = epoch + 1;",
                )
                .execute(&mut admin)
                .await
                .unwrap();
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
        }
    });
    let mut last = None;
    for n in 1..=600 {
        last = Some(store.append(append(&stream(&format!("{}", n % 9)), [n])).await.unwrap());
    }
    usurper.abort();
    // One of them leads in the end; what it is not told of it looks for.
    let last = last.expect("the last append");
    soon(store.wait_position(&last)).await.unwrap();
    let log = store.read(Position::START, &ReadFilter::all(), 1_000).await.unwrap().events;
    let positions: Vec<_> = log.iter().map(|event| event.position.as_u64()).collect();
    assert_eq!(positions, (1..=600).collect::<Vec<_>>());
    for replica in &replicas {
        replica.shutdown.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lead_is_a_lease_that_ends_by_itself() {
    let server = Postgres::shared().unwrap();
    let database = migrated(&server).await.unwrap();
    let mut one = replica(&server, database.name(), "one").await;
    assert_eq!(one.leads().await, 1);
    // Gone without a word.
    one.running.abort();
    let mut two = replica(&server, database.name(), "two").await;
    assert_eq!(two.leads().await, 2);
    let leases = two.store.leases(LEADER).await.unwrap();
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].holder, "two");
    two.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_every_store_hear_of_each_commit() {
    let server = Postgres::shared().unwrap();
    let database = migrated(&server).await.unwrap();
    let one = replica(&server, database.name(), "one").await;
    let two = replica(&server, database.name(), "two").await;
    let mut followers =
        [&one, &two].map(|one| one.store.subscribe(Position::START, ReadFilter::all()));
    for n in 1..=20 {
        two.store.append(append(&stream("a"), [n])).await.unwrap();
        for follower in &mut followers {
            let event = soon(follower.next()).await.unwrap();
            assert_eq!(event.position, Position::new(n));
        }
    }
    let stores = [Arc::new(one.store), Arc::new(two.store)];
    for store in &stores {
        store.close().await;
    }
    for follower in &mut followers {
        assert!(matches!(soon(follower.next()).await, Err(StoreError::Closed)));
    }
    one.shutdown.cancel();
    two.shutdown.cancel();
}
