//! Roles, row-level security and triggers, as a client of the database meets them.

use contract::event_store::{Adapter, TestClock, append, soon, stream, tenant};
use domain::StreamId;
use event_store::{EventStore, PostgresEventStore, postgres};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::harness::{Database, config};

/// Each table with rows of tenants.
const TABLES: [&str; 8] = [
    "stream",
    "event",
    "call_body",
    "command_dedup",
    "reservation",
    "outbox",
    "log",
    "tenant_head",
];

async fn connect(of: &Database, role: &str) -> PgConnection {
    let mut connection =
        PgConnection::connect(&of.server.url(role, of.database.name())).await.unwrap();
    run(&mut connection, "SET search_path = mcp_orch").await.unwrap();
    connection
}

async fn admin(of: &Database) -> PgConnection {
    let mut connection =
        PgConnection::connect(&of.server.admin_url(of.database.name())).await.unwrap();
    run(&mut connection, "SET search_path = mcp_orch").await.unwrap();
    connection
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.map(drop)
}

async fn count(connection: &mut PgConnection, sql: &str) -> i64 {
    let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(connection).await.unwrap();
    row.try_get(0).unwrap()
}

/// Two tenants with an event each.
async fn filled() -> Database {
    let database = Database::start(TestClock::at(0).clock()).await;
    for of in 1..=2 {
        let to = StreamId { tenant: tenant(of), ..stream("a") };
        let done = database.store.append(append(&to, [u64::from(of)])).await.unwrap();
        soon(database.store.wait_position(&done)).await.unwrap();
    }
    database
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_table_of_tenants_has_forced_rules() {
    let database = filled().await;
    let mut admin = admin(&database).await;
    let rows = sqlx::query(
        "SELECT relname::text, relrowsecurity AND relforcerowsecurity
         FROM pg_class WHERE relnamespace = 'mcp_orch'::regnamespace AND relkind IN ('r', 'p')
             AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid
                 AND attname = 'tenant_id')",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    // The tables and their partitions.
    assert_eq!(rows.len(), TABLES.len() + 3 * 16);
    for row in rows {
        let name: String = row.try_get(0).unwrap();
        assert!(row.try_get::<bool, _>(1).unwrap(), "{name} has no forced rules");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_tenant_there_are_no_rows() {
    let database = filled().await;
    let mut app = connect(&database, "mcp_orch_app").await;
    for table in ["stream", "event", "call_body", "command_dedup", "reservation", "log"] {
        assert_eq!(count(&mut app, &format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
    let written = run(
        &mut app,
        "INSERT INTO stream (tenant_id, kind, stream_id, version)
         VALUES ('00000000-0000-0000-0000-000000000001', 'server', 'b', 1)",
    )
    .await;
    assert!(written.unwrap_err().to_string().contains("row-level security"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_sees_and_writes_its_own_rows_only() {
    let database = filled().await;
    let mut app = connect(&database, "mcp_orch_app").await;
    let one = tenant(1).as_uuid();
    run(&mut app, &format!("BEGIN; SET LOCAL mcp_orch.tenant = '{one}'")).await.unwrap();
    for table in ["stream", "event", "log"] {
        let all = format!("SELECT count(*) FROM {table}");
        assert_eq!(count(&mut app, &all).await, 1, "{table}");
        let two = tenant(2).as_uuid();
        let others = format!("SELECT count(*) FROM {table} WHERE tenant_id = '{two}'");
        assert_eq!(count(&mut app, &others).await, 0, "{table}");
    }
    let two = tenant(2).as_uuid();
    let stolen = format!(
        "INSERT INTO event (tenant_id, kind, stream_id, version, event_id, type, schema_version,
             payload, actor_type, actor_id, occurred_at)
         VALUES ('{two}', 'server', 'a', 2, gen_random_uuid(), 'x', 1, '', 'user', '', 0)"
    );
    let refused = run(&mut app, &stolen).await.unwrap_err().to_string();
    assert!(refused.contains("row-level security"), "{refused}");
    run(&mut app, "ROLLBACK").await.unwrap();
    // The tenant went with its transaction.
    assert_eq!(count(&mut app, "SELECT count(*) FROM event").await, 0);
    // A partition is no way around.
    let around = run(&mut app, "SELECT * FROM event_00").await.unwrap_err().to_string();
    assert!(around.contains("permission denied"), "{around}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_roles_own_nothing_and_have_no_power() {
    let database = filled().await;
    let mut admin = admin(&database).await;
    let mighty = "SELECT count(*) FROM pg_roles WHERE rolname IN ('mcp_orch_app', 'mcp_orch_log')
        AND NOT (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)";
    assert_eq!(count(&mut admin, mighty).await, 2);
    let owned = "SELECT count(*) FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
        WHERE rolname IN ('mcp_orch_app', 'mcp_orch_log')";
    assert_eq!(count(&mut admin, owned).await, 0);
    for role in ["mcp_orch_app", "mcp_orch_log"] {
        let mut weak = connect(&database, role).await;
        for sql in [
            "CREATE TABLE mcp_orch.mine (x int)",
            "ALTER TABLE event DISABLE ROW LEVEL SECURITY",
            "DROP TRIGGER event_is_not_changed ON event",
            "TRUNCATE event",
            "UPDATE event SET payload = ''",
            "DELETE FROM event",
            "DELETE FROM log",
            "UPDATE log SET position = position + 1",
            "DELETE FROM lease",
        ] {
            let refused = run(&mut weak, sql).await.expect_err(sql).to_string();
            assert!(
                refused.contains("permission denied") || refused.contains("must be owner"),
                "{sql}: {refused}"
            );
        }
    }
    let mut app = connect(&database, "mcp_orch_app").await;
    for sql in ["UPDATE sequencer SET epoch = 99", "SELECT * FROM outbox", "SELECT * FROM lease"] {
        assert!(run(&mut app, sql).await.is_err(), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_not_changed_even_by_who_owns_it() {
    let database = filled().await;
    let mut admin = admin(&database).await;
    for sql in [
        "UPDATE event SET payload = ''",
        "DELETE FROM event",
        "TRUNCATE event",
        "UPDATE log SET recorded_at = 0",
        "DELETE FROM log WHERE position = 1",
        "TRUNCATE log",
    ] {
        let refused = run(&mut admin, sql).await.expect_err(sql).to_string();
        assert!(refused.contains("an event never changes"), "{sql}: {refused}");
    }
    for part in 0..16 {
        let sql = format!("TRUNCATE event_{part:02}");
        let refused = run(&mut admin, &sql).await.expect_err(&sql).to_string();
        assert!(refused.contains("an event never changes"), "{sql}: {refused}");
    }
    assert_eq!(count(&mut admin, "SELECT count(*) FROM event").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_could_pass_the_rules_by_is_refused() {
    let database = filled().await;
    let clock = TestClock::at(0).clock();
    let mut powerful = config(&database.server, database.database.name(), clock);
    powerful.app_url = SecretString::from(database.server.admin_url(database.database.name()));
    let refused = PostgresEventStore::open(powerful).await.err();
    assert!(
        matches!(refused, Some(postgres::PostgresOpenError::TooPowerful { .. })),
        "{refused:?}"
    );
}
