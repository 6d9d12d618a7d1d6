//! From each earlier version with data to the last one, and databases that do not fit.

use contract::event_store::{TestClock, append, soon, stream};
use event_store::postgres::{MigrateError, PostgresOpenError, SCHEMA_VERSION};
use event_store::{
    EventStore, Expected, Position, PostgresEventStore, ReadFilter, Sequencer, leaf_hash, postgres,
};
use fixtures::Postgres;
use secrecy::SecretString;
use sqlx::{Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::harness::config;

/// What a store of version 1 left behind: an event with a place and one without.
const DATA_OF_1: &str = "
    SET search_path = mcp_orch;
    BEGIN; SET LOCAL mcp_orch.tenant = '00000000-0000-0000-0000-000000000001';
    INSERT INTO stream (tenant_id, kind, stream_id, version)
    VALUES ('00000000-0000-0000-0000-000000000001', 'server', 'a', 2);
    INSERT INTO event (tenant_id, kind, stream_id, version, event_id, type, schema_version,
        payload, actor_type, actor_id, occurred_at)
    SELECT '00000000-0000-0000-0000-000000000001', 'server', 'a', n,
        ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'server.registered', 1, '{}', 'user',
        'ada', 5 FROM generate_series(1, 2) AS n;
    INSERT INTO outbox (tenant_id, kind, stream_id, version, bytes)
    VALUES ('00000000-0000-0000-0000-000000000001', 'server', 'a', 2, 2);
    INSERT INTO log (position, tenant_id, tenant_position, kind, stream_id, version, bytes,
        recorded_at, leaf_hash)
    VALUES (1, '00000000-0000-0000-0000-000000000001', 1, 'server', 'a', 1, 2, 7,
        decode(repeat('00', 32), 'hex'));
    INSERT INTO tenant_head VALUES ('00000000-0000-0000-0000-000000000001', 1);
    UPDATE sequencer SET epoch = 3, next_position = 2, recorded_at = 7, published_position = 1;
    COMMIT;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_version_1_with_data_goes_on_in_the_last_one() {
    let server = Postgres::shared().unwrap();
    let database = server.database().await.unwrap();
    let url = SecretString::from(server.admin_url(database.name()));
    postgres::migrate_to(&url, 1).await.unwrap();
    let open = || PostgresEventStore::open(config(&server, database.name(), clock()));
    let refused = open().await.err();
    let older = PostgresOpenError::Older { found: 1, needed: SCHEMA_VERSION };
    assert_eq!(refused.map(|refused| refused.to_string()), Some(older.to_string()));
    let mut admin = PgConnection::connect(&server.admin_url(database.name())).await.unwrap();
    sqlx::raw_sql(DATA_OF_1).execute(&mut admin).await.unwrap();

    postgres::migrate(&url).await.unwrap();
    postgres::migrate(&url).await.unwrap();
    let store = open().await.unwrap();
    assert_eq!(store.head().await.unwrap(), Position::new(1));
    assert_eq!(store.published().await.unwrap(), Position::new(1));
    let shutdown = CancellationToken::new();
    // Its lead is the first of the table of leases; epochs of the sequencer go on.
    tokio::spawn(Sequencer::new(store.clone(), "one").run(shutdown.clone()));
    let next = event_store::Append { expected: Expected::Exactly(2), ..append(&stream("a"), [3]) };
    let done = store.append(next).await.unwrap();
    assert_eq!(soon(store.wait_position(&done)).await.unwrap(), Position::new(3));
    let log = store.read(Position::START, &ReadFilter::all(), 9).await.unwrap().events;
    assert_eq!(log.len(), 3);
    assert!(log[1..].iter().all(|event| event.leaf_hash == leaf_hash(event)));
    assert_eq!(log[1].recorded_at, log[0].recorded_at, "the time does not fall");
    shutdown.cancel();
}

fn clock() -> event_store::Clock {
    TestClock::at(0).clock()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_fit_is_refused_with_what_to_do() {
    let server = Postgres::shared().unwrap();
    let database = server.database().await.unwrap();
    let url = SecretString::from(server.admin_url(database.name()));
    // The roles are of the server; another test may not have made them yet.
    let other = server.database().await.unwrap();
    postgres::migrate(&SecretString::from(server.admin_url(other.name()))).await.unwrap();

    let open = || PostgresEventStore::open(config(&server, database.name(), clock()));
    let refused = open().await.err().expect("an empty database");
    assert!(matches!(refused, PostgresOpenError::NotPrepared), "{refused}");
    assert!(refused.to_string().contains("mcp-orch migrate"));

    postgres::migrate(&url).await.unwrap();
    let mut admin = PgConnection::connect(&server.admin_url(database.name())).await.unwrap();
    sqlx::raw_sql("INSERT INTO mcp_orch.schema_version VALUES (99)")
        .execute(&mut admin)
        .await
        .unwrap();
    let refused = open().await.err();
    assert!(matches!(refused, Some(PostgresOpenError::Newer { found: 99, .. })), "{refused:?}");
    let refused = postgres::migrate(&url).await.err();
    assert!(matches!(refused, Some(MigrateError::Newer { found: 99 })), "{refused:?}");

    let mut nowhere = config(&server, "no_such_database", clock());
    let refused = PostgresEventStore::open(nowhere.clone()).await.err();
    assert!(matches!(refused, Some(PostgresOpenError::Unreachable { .. })), "{refused:?}");
    nowhere.log_url = SecretString::from("http://user:secret@example.org/x");
    nowhere.app_url = nowhere.log_url.clone();
    let refused = PostgresEventStore::open(nowhere).await.err().expect("a wrong URL");
    assert!(matches!(refused, PostgresOpenError::InvalidUrl { .. }), "{refused}");
    assert!(!format!("{refused} {refused:?}").contains("secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_migrations_at_once_are_one() {
    let server = Postgres::shared().unwrap();
    let database = server.database().await.unwrap();
    let url = SecretString::from(server.admin_url(database.name()));
    let (one, two) = tokio::join!(postgres::migrate(&url), postgres::migrate(&url));
    one.unwrap();
    two.unwrap();
    PostgresEventStore::open(config(&server, database.name(), clock())).await.unwrap();
}
