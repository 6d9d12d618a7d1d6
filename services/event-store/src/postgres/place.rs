//! One step of the sequencer: rows of the outbox become the end of the log.
//!
//! In one transaction, which holds the row of the sequencer: only one of an epoch that is still
//! the last one comes to its end. Within a stream the outbox has the order of versions, and a
//! version is visible only when those before it are, so the log has that order too.

use std::sync::Arc;

use domain::{TenantId, Timestamp};
use sqlx::postgres::PgPool;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::open::Pools;
use super::rows::{event_columns, integer, natural, recorded};
use super::sequencer::LEADER;
use super::session::{Trouble, unreadable, within};
use crate::admission::Heads;
use crate::error::StoreError;
use crate::port::Clock;
use crate::recorded::{Position, Recorded};
use crate::subscription::Commit;

/// Most events that get their positions in one transaction.
const STEP_EVENTS: i64 = 5_000;
/// And most bytes of payload, but for the last event.
const STEP_BYTES: i64 = 8 * 1024 * 1024;
/// On which the sequencer tells that the log has a new end.
pub(super) const CHANNEL: &str = "mcp_orch_log";

/// What a step did.
pub(super) enum Step {
    /// Nothing was there.
    Idle,
    /// These have their positions.
    Placed(Commit),
    /// The sequencer has a higher epoch: another leads.
    Fenced,
}

/// Takes the sequencer over for `epoch`. False when it has a higher one.
pub(super) async fn take_over(pool: &PgPool, epoch: u64) -> Result<bool, Trouble> {
    let done = sqlx::query("UPDATE sequencer SET epoch = $1 WHERE epoch <= $1")
        .bind(integer(epoch))
        .execute(pool)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether anything waits for a position.
pub(super) async fn is_due(pool: &PgPool) -> Result<bool, Trouble> {
    let first = sqlx::query("SELECT seq FROM outbox ORDER BY seq LIMIT 1");
    Ok(first.fetch_optional(pool).await?.is_some())
}

/// Gives positions to what waits, at most to the limits of a step.
pub(super) async fn step(pool: &PgPool, clock: &Clock, epoch: u64) -> Result<Step, Trouble> {
    let mut transaction = pool.begin().await?;
    let row =
        sqlx::query("SELECT next_position, recorded_at FROM sequencer WHERE epoch = $1 FOR UPDATE")
            .bind(integer(epoch))
            .fetch_optional(&mut *transaction)
            .await?;
    let Some(row) = row else {
        return Ok(Step::Fenced);
    };
    let mut heads = Heads {
        position: Position::new(natural(row.try_get::<i64, _>(0)? - 1)),
        recorded_at: Timestamp::from_micros(row.try_get(1)?),
        ..Heads::default()
    };
    let mut events = take(&mut transaction).await?;
    if events.is_empty() {
        transaction.rollback().await?;
        return Ok(Step::Idle);
    }
    load_tenants(&mut transaction, &mut heads, &events).await?;
    let now = clock();
    for event in &mut events {
        event.recorded_at = now;
        heads.give_place(event);
    }
    if !write(&mut transaction, epoch, &heads, &events).await? {
        return Ok(Step::Fenced);
    }
    transaction.commit().await?;
    let events: Vec<_> = events.into_iter().map(Arc::new).collect();
    Ok(Step::Placed(events.into()))
}

/// Removes rows of the outbox and returns their events in the order of the rows.
async fn take(connection: &mut PgConnection) -> Result<Vec<Recorded>, Trouble> {
    let rows = sqlx::query(concat!(
        "WITH due AS (
             SELECT w.seq FROM (
                 SELECT o.seq, sum(o.bytes) OVER (ORDER BY o.seq) - o.bytes AS before
                 FROM (SELECT seq, bytes FROM outbox ORDER BY seq LIMIT $1) AS o
             ) AS w WHERE w.before < $2
         ), taken AS (
             DELETE FROM outbox AS o WHERE o.seq = ANY (ARRAY(SELECT due.seq FROM due))
             RETURNING o.seq, o.tenant_id, o.kind, o.stream_id, o.version
         )
         SELECT ",
        event_columns!(),
        " FROM taken AS t CROSS JOIN (SELECT NULL::bigint AS position,
             NULL::bigint AS tenant_position, NULL::bigint AS recorded_at,
             NULL::bytea AS leaf_hash) AS l
         LEFT JOIN LATERAL (SELECT * FROM event AS f WHERE f.tenant_id = t.tenant_id
             AND f.kind = t.kind AND f.stream_id = t.stream_id AND f.version = t.version
             OFFSET 0) AS e ON true
         ORDER BY t.seq"
    ))
    .bind(STEP_EVENTS)
    .bind(STEP_BYTES)
    .fetch_all(connection)
    .await?;
    let events: Result<Vec<_>, _> = rows.iter().map(recorded).collect();
    events.map_err(|error| Trouble::Refused(Arc::new(error)))
}

async fn load_tenants(
    connection: &mut PgConnection,
    heads: &mut Heads,
    events: &[Recorded],
) -> Result<(), Trouble> {
    let mut tenants: Vec<Uuid> = events.iter().map(|event| event.stream.tenant.as_uuid()).collect();
    tenants.sort_unstable();
    tenants.dedup();
    let rows =
        sqlx::query("SELECT tenant_id, position FROM tenant_head WHERE tenant_id = ANY ($1)")
            .bind(tenants)
            .fetch_all(connection)
            .await?;
    for row in rows {
        let tenant = TenantId::from_uuid(row.try_get(0)?);
        heads.tenants.insert(tenant, natural(row.try_get(1)?));
    }
    Ok(())
}

/// Writes the places and the new end, and tells of it. False when the epoch is not the last.
async fn write(
    connection: &mut PgConnection,
    epoch: u64,
    heads: &Heads,
    events: &[Recorded],
) -> Result<bool, Trouble> {
    let (tenants, positions): (Vec<_>, Vec<_>) = heads
        .tenants
        .iter()
        .map(|(tenant, position)| (tenant.as_uuid(), integer(*position)))
        .unzip();
    let mine: i64 = sqlx::query_scalar(
        "WITH mine AS (
             UPDATE sequencer SET next_position = $1, recorded_at = $2 WHERE epoch = $3
             RETURNING epoch
         ), placed AS (
             INSERT INTO log (position, tenant_id, tenant_position, kind, stream_id, version,
                 bytes, recorded_at, leaf_hash)
             SELECT * FROM unnest($4::bigint[], $5::uuid[], $6::bigint[], $7::text[], $8::text[],
                 $9::bigint[], $10::integer[], $11::bigint[], $12::bytea[])
             WHERE EXISTS (SELECT FROM mine)
         ), heads AS (
             INSERT INTO tenant_head (tenant_id, position)
             SELECT * FROM unnest($13::uuid[], $14::bigint[]) WHERE EXISTS (SELECT FROM mine)
             ON CONFLICT (tenant_id) DO UPDATE SET position = excluded.position
         )
         SELECT count(*) FROM mine",
    )
    .bind(integer(heads.position.next().as_u64()))
    .bind(heads.recorded_at.as_micros())
    .bind(integer(epoch))
    .bind(column(events, |event| integer(event.position.as_u64())))
    .bind(column(events, |event| event.stream.tenant.as_uuid()))
    .bind(column(events, |event| integer(event.tenant_position)))
    .bind(column(events, |event| event.stream.kind.as_str()))
    .bind(column(events, |event| event.stream.id.as_str()))
    .bind(column(events, |event| integer(event.version)))
    .bind(column(events, |event| i32::try_from(event.payload.len()).unwrap_or(i32::MAX)))
    .bind(column(events, |event| event.recorded_at.as_micros()))
    .bind(column(events, |event| event.leaf_hash.as_slice()))
    .bind(tenants)
    .bind(positions)
    .fetch_one(&mut *connection)
    .await?;
    if mine == 1 {
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(heads.position.to_string())
            .execute(connection)
            .await?;
    }
    Ok(mine == 1)
}

/// One value of each event.
fn column<'a, T>(events: &'a [Recorded], value: impl Fn(&'a Recorded) -> T) -> Vec<T> {
    events.iter().map(value).collect()
}

/// See [`PostgresEventStore::mark_published`](super::PostgresEventStore::mark_published).
pub(super) async fn mark_published(
    pools: &Pools,
    epoch: u64,
    position: Position,
) -> Result<(), StoreError> {
    let sql = "UPDATE sequencer SET published_position = greatest(published_position, $1)
               WHERE epoch = $2";
    publish(pools, sql, epoch, position).await
}

/// See [`PostgresEventStore::publish_again`](super::PostgresEventStore::publish_again).
pub(super) async fn publish_again(
    pools: &Pools,
    epoch: u64,
    position: Position,
) -> Result<(), StoreError> {
    let sql = "UPDATE sequencer SET published_position = $1 WHERE epoch = $2";
    publish(pools, sql, epoch, position).await
}

async fn publish(
    pools: &Pools,
    sql: &'static str,
    epoch: u64,
    position: Position,
) -> Result<(), StoreError> {
    within(pools.patience, async {
        let query = sqlx::query(sql).bind(integer(position.as_u64())).bind(integer(epoch));
        let done = query.execute(&pools.log).await.map_err(unreadable)?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Fenced { lease: LEADER.to_owned(), epoch });
        }
        Ok(())
    })
    .await
}
