//! A server that dies, connections that are cut, and what is there afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use contract::event_store::{TestClock, append, number, soon, stream, tenant};
use domain::StreamId;
use event_store::{
    AppendError, CommitHook, EventStore, Position, PostgresEventStore, ReadFilter, Sequencer,
};
use fixtures::Postgres;
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::harness::{Database, config, migrated};

/// Ends every connection that is in the middle of an append, from the server's side.
struct Cut {
    url: String,
    armed: AtomicBool,
}

#[async_trait]
impl CommitHook for Cut {
    async fn before_commit(&self, _events: usize) {
        if self.armed.swap(false, Ordering::SeqCst) {
            let mut admin = PgConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE state = 'idle in transaction' AND datname = current_database()
                     AND usename = 'mcp_orch_app'",
            )
            .execute(&mut admin)
            .await
            .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_in_a_commit_leaves_an_unknown_outcome_that_a_retry_clears() {
    let server = Postgres::shared().unwrap();
    let database = migrated(&server).await.unwrap();
    let cut = Arc::new(Cut { url: server.admin_url(database.name()), armed: false.into() });
    let mut config = config(&server, database.name(), TestClock::at(0).clock());
    config.hook = Some(Arc::clone(&cut) as Arc<dyn CommitHook>);
    let store = PostgresEventStore::open(config).await.unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(Sequencer::new(store.clone(), "one").run(shutdown.clone()));
    store.append(append(&stream("a"), [1])).await.unwrap();
    cut.armed.store(true, Ordering::SeqCst);
    let answer = store.append(append(&stream("a"), [2])).await;
    assert!(matches!(answer, Err(AppendError::OutcomeUnknown { .. })), "{answer:?}");
    let again = store.append(append(&stream("a"), [2])).await.unwrap();
    let position = soon(store.wait_position(&again)).await.unwrap();
    assert_eq!((again.first_version, position), (2, Position::new(2)));
    shutdown.cancel();
}

/// Stopped as by a crash, twice, under load; then everything goes on without a hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_goes_on_when_the_server_is_back() {
    let server = Postgres::start().unwrap();
    let mut one = Database::on(server, TestClock::at(0).clock()).await;
    let store = one.store.clone();
    let mut follower = store.subscribe(Position::START, ReadFilter::all());
    let stop = CancellationToken::new();
    let writers: Vec<_> = (0..8_u64)
        .map(|writer| tokio::spawn(write_until(store.clone(), writer, stop.clone())))
        .collect();
    let mut seen = Vec::new();
    for _ in 0..2 {
        for _ in 0..200 {
            seen.push(soon(next(&mut follower)).await);
        }
        one.server.stop_immediately().unwrap();
        let began = Instant::now();
        let mut refused = store.append(append(&stream("away"), [u64::from(u32::MAX)])).await;
        if matches!(refused, Err(AppendError::OutcomeUnknown { .. })) {
            // It was sent over a connection that ended; another there is not.
            refused = store.append(append(&stream("away"), [u64::from(u32::MAX)])).await;
        }
        assert!(matches!(refused, Err(AppendError::Unavailable { .. })), "{refused:?}");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        let began = Instant::now();
        store.head().await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        one.server.start_again().unwrap();
    }
    for _ in 0..200 {
        seen.push(soon(next(&mut follower)).await);
    }
    stop.cancel();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(soon(writer).await.unwrap());
    }
    let last = store.append(append(&stream("last"), [u64::from(u32::MAX) + 1])).await.unwrap();
    let last = soon(store.wait_position(&last)).await.unwrap();
    while seen.last().is_none_or(|event| event.position < last) {
        seen.push(soon(next(&mut follower)).await);
    }
    // Each event once, at its position, and everything that was answered.
    let positions: Vec<_> = seen.iter().map(|event| event.position.as_u64()).collect();
    assert_eq!(positions, (1..=last.as_u64()).collect::<Vec<_>>());
    let mut there: Vec<_> = seen.iter().map(|event| number(event)).collect();
    there.sort_unstable();
    assert!(there.windows(2).all(|pair| pair[0] != pair[1]), "an event is there twice");
    for number in acknowledged {
        assert!(there.binary_search(&number).is_ok(), "{number} was answered and is lost");
    }
}

/// The next event; while the server is away, tries again.
async fn next(follower: &mut event_store::Subscription) -> Arc<event_store::Recorded> {
    loop {
        match follower.next().await {
            Ok(event) => return event,
            Err(event_store::StoreError::Unavailable { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Appends and retries what has no outcome. Returns the numbers that were answered.
async fn write_until(store: PostgresEventStore, writer: u64, stop: CancellationToken) -> Vec<u64> {
    let mut answered = Vec::new();
    let to = StreamId { tenant: tenant((writer % 3) as u8), ..stream(&format!("w{writer}")) };
    for turn in 1.. {
        let n = writer * 1_000_000 + turn;
        loop {
            match store.append(append(&to, [n])).await {
                Ok(_) => break answered.push(n),
                Err(AppendError::Unavailable { .. } | AppendError::OutcomeUnknown { .. }) => {
                    if stop.is_cancelled() {
                        return answered;
                    }
                }
                Err(other) => panic!("{other}"),
            }
        }
        if stop.is_cancelled() {
            return answered;
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_appends_to_a_server_that_is_away_are_refused_soon() {
    let server = Postgres::start().unwrap();
    let mut one = Database::on(server, TestClock::at(0).clock()).await;
    one.store.append(append(&stream("a"), [1])).await.unwrap();
    one.server.stop_immediately().unwrap();
    let began = Instant::now();
    let appends = (2..102_u64).map(|n| {
        let store = one.store.clone();
        let to = StreamId { tenant: tenant((n % 30) as u8), ..stream("a") };
        tokio::spawn(async move { store.append(append(&to, [n])).await })
    });
    for answer in futures::future::join_all(appends).await {
        let answer = answer.unwrap();
        let told = matches!(
            answer,
            Err(AppendError::Unavailable { .. } | AppendError::OutcomeUnknown { .. })
        );
        assert!(told, "{answer:?}");
    }
    // However many tenants: who waits for a connection learns of those that found none.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}
