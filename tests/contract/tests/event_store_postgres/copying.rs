//! From SQLite: the same log in another place, or nothing.

use std::path::Path;

use contract::event_store::{
    Store, TestClock, all, append, event, event_id, soon, stream, tenant, time,
};
use domain::{StreamId, StreamKind};
use event_store::{
    Append, Body, Claim, CopyError, EventStore, Expected, Idempotency, Leases, NewEvent, Position,
    PostgresEventStore, ReadFilter, ReservationChange, ReservationSet, Retention, Sequencer,
    SqliteConfig, SqliteEventStore, copy, postgres,
};
use fixtures::Postgres;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::harness::{config, migrated};

async fn sqlite(path: &Path, clock: &TestClock) -> SqliteEventStore {
    SqliteEventStore::prepare(path).await.unwrap();
    SqliteEventStore::open(SqliteConfig::new(path, clock.clock())).await.unwrap()
}

/// Something of everything, of several tenants, over more than one page.
async fn fill(store: &SqliteEventStore, clock: &TestClock) {
    for n in 1..=1_300_u64 {
        if n % 100 == 0 {
            clock.advance(1);
        }
        let kind = if n % 3 == 0 { StreamKind::Call } else { StreamKind::Server };
        let to = StreamId::new(tenant((n % 4) as u8), kind, format!("s{}", n % 70));
        let retention = match n % 5 {
            0 => Some(Retention::Forever),
            1 => Some(Retention::Until(time(5_000))),
            _ => None,
        };
        let bytes = format!("body {n}").into();
        let body = retention.map(|retention| Body { bytes, retention });
        let payload = vec![(n % 256) as u8; (n % 90) as usize].into();
        let mut batch = Append::new(
            to.clone(),
            Expected::Any,
            vec![NewEvent { body, payload, causation_id: Some(event_id(n / 2)), ..event(n) }],
        );
        if n % 50 == 0 {
            let set = match n % 100 {
                0 => ReservationSet::global("project_id"),
                _ => ReservationSet::of_tenant(to.tenant, "name"),
            };
            let (value, holder) = (format!("v{n}"), format!("h{n}"));
            batch.reservations = vec![ReservationChange::Take { set, value, holder }];
            batch.idempotency = Some(Idempotency {
                key: format!("k{n}"),
                request_hash: [n as u8; 32],
                expires_at: time(9_000),
            });
        }
        store.append(batch).await.unwrap();
    }
    let claim = Claim {
        name: "server/a".to_owned(),
        holder: "w1".to_owned(),
        ttl: std::time::Duration::from_secs(9),
        note: "".into(),
    };
    for _ in 0..3 {
        let lease = store.claim(std::slice::from_ref(&claim)).await.unwrap().remove(0).unwrap();
        store.release("w1", &[("server/a".to_owned(), lease.epoch)]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_the_same_log() {
    let directory = TempDir::new().unwrap();
    let clock = TestClock::at(1_000);
    let source = sqlite(&directory.path().join("events.db"), &clock).await;
    fill(&source, &clock).await;
    let server = Postgres::shared().unwrap();
    let database = migrated(&server).await.unwrap();
    let url = SecretString::from(server.admin_url(database.name()));
    let copied = copy(&source, &url).await.unwrap();
    assert_eq!((copied.events, copied.bodies), (1_300, 520));
    assert_eq!((copied.keys, copied.reservations), (26, 26));

    let target = PostgresEventStore::open(config(&server, database.name(), clock.clock()));
    let target = target.await.unwrap();
    let log = all(&source, &ReadFilter::all()).await;
    assert_eq!(all(&target, &ReadFilter::all()).await, log);
    for (store, position) in
        [(&source as &dyn Store, Position::new(1_300)), (&target, Position::new(1_300))]
    {
        assert_eq!(store.head().await.unwrap(), position);
        assert_eq!(store.position_at(time(1_004)).await.unwrap(), Position::new(499));
    }
    for event in &log {
        let body = source.body(event.stream.tenant, event.event_id).await.unwrap();
        assert_eq!(target.body(event.stream.tenant, event.event_id).await.unwrap(), body);
    }
    goes_on(&server, database.name(), &target).await;

    let again = copy(&source, &url).await;
    assert!(matches!(again, Err(CopyError::NotEmpty)), "{again:?}");
}

/// Keys, names, versions, epochs and positions go on where they were.
async fn goes_on(_server: &Postgres, _database: &str, target: &PostgresEventStore) {
    use event_store::Directory;

    let of = tenant(100 % 4);
    let former = target.former(of, "k100", &[100; 32]).await.unwrap().unwrap();
    assert!(former.replayed);
    assert_eq!(former.last_position, Some(Position::new(100)));
    let global = ReservationSet::global("project_id");
    assert_eq!(target.holder(&global, "v100").await.unwrap().as_deref(), Some("h100"));
    let shutdown = CancellationToken::new();
    tokio::spawn(Sequencer::new(target.clone(), "one").run(shutdown.clone()));
    let next = append(&StreamId::new(tenant(1), StreamKind::Server, "s1"), [5_000]);
    let done = target.append(next).await.unwrap();
    assert!(done.first_version > 1);
    assert_eq!(soon(target.wait_position(&done)).await.unwrap(), Position::new(1_301));
    let log = target.read(Position::new(1_300), &ReadFilter::all(), 9).await.unwrap();
    assert_eq!(log.events[0].tenant_position, 326);
    let claim = Claim {
        name: "server/a".to_owned(),
        holder: "w2".to_owned(),
        ttl: std::time::Duration::from_secs(9),
        note: "".into(),
    };
    let lease = target.claim(&[claim]).await.unwrap().remove(0).unwrap();
    assert_eq!(lease.epoch, 4);
    shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_empty_or_not_migrated_takes_nothing() {
    let directory = TempDir::new().unwrap();
    let clock = TestClock::at(0);
    let source = sqlite(&directory.path().join("events.db"), &clock).await;
    source.append(append(&stream("a"), [1])).await.unwrap();
    let server = Postgres::shared().unwrap();

    let bare = server.database().await.unwrap();
    let url = SecretString::from(server.admin_url(bare.name()));
    let refused = copy(&source, &url).await;
    assert!(matches!(refused, Err(CopyError::NotMigrated)), "{refused:?}");

    // An append without a position yet: no log shows it.
    postgres::migrate(&url).await.unwrap();
    let used = PostgresEventStore::open(config(&server, bare.name(), clock.clock())).await.unwrap();
    used.append(append(&stream("b"), [2])).await.unwrap();
    let refused = copy(&source, &url).await;
    assert!(matches!(refused, Err(CopyError::NotEmpty)), "{refused:?}");
    assert_eq!(used.head().await.unwrap(), Position::START);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_log_is_copied_too() {
    let directory = TempDir::new().unwrap();
    let clock = TestClock::at(0);
    let source = sqlite(&directory.path().join("events.db"), &clock).await;
    let server = Postgres::shared().unwrap();
    let database = migrated(&server).await.unwrap();
    let url = SecretString::from(server.admin_url(database.name()));
    assert_eq!(copy(&source, &url).await.unwrap().events, 0);
}
