//! Writing what was admitted, in the open transaction.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use domain::{StreamId, TenantId, Timestamp};
use sqlx::PgConnection;

use super::facts::Locked;
use super::rows::integer;
use super::session::Trouble;
use crate::admission::Admitted;
use crate::append::{Appended, Body, Idempotency, ReservationChange, ReservationSet, Retention};
use crate::recorded::Recorded;

/// Writes all of `admitted`, in order. `versions` are those of the streams afterwards.
pub(super) async fn write(
    connection: &mut PgConnection,
    tenant: TenantId,
    admitted: &[Admitted],
    locked: &Locked,
    versions: &HashMap<StreamId, u64>,
    now: Timestamp,
) -> Result<(), Trouble> {
    write_versions(connection, tenant, locked, versions).await?;
    let events: Vec<_> = admitted.iter().flat_map(|one| &one.events).collect();
    write_events(connection, tenant, &events).await?;
    let bodies: Vec<_> = admitted.iter().flat_map(|one| &one.bodies).collect();
    write_bodies(connection, tenant, &bodies).await?;
    for one in admitted {
        if let Some((idempotency, appended)) = &one.command {
            write_command(connection, idempotency, appended, now).await?;
        }
        for change in &one.reservations {
            write_reservation(connection, change).await?;
        }
    }
    Ok(())
}

/// Of the streams whose rows do not have their version already.
async fn write_versions(
    connection: &mut PgConnection,
    tenant: TenantId,
    locked: &Locked,
    versions: &HashMap<StreamId, u64>,
) -> Result<(), Trouble> {
    let (mut kinds, mut ids, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for (stream, row) in &locked.rows {
        let version = versions.get(stream).copied().unwrap_or(0);
        if version != *row {
            kinds.push(stream.kind.as_str());
            ids.push(stream.id.as_str());
            changed.push(integer(version));
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE stream AS s SET version = w.version
         FROM unnest($2::text[], $3::text[], $4::bigint[]) AS w (kind, id, version)
         WHERE s.tenant_id = $1 AND s.kind = w.kind AND s.stream_id = w.id",
    )
    .bind(tenant.as_uuid())
    .bind(kinds)
    .bind(ids)
    .bind(changed)
    .execute(connection)
    .await?;
    Ok(())
}

/// The events and their outbox rows, whose numbers follow the order of the events.
async fn write_events(
    connection: &mut PgConnection,
    tenant: TenantId,
    events: &[&Arc<Recorded>],
) -> Result<(), Trouble> {
    sqlx::query(
        "WITH n AS (
             SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::uuid[], $6::text[],
                 $7::bigint[], $8::bytea[], $9::text[], $10::text[], $11::text[], $12::uuid[],
                 $13::text[], $14::bigint[]) WITH ORDINALITY
             AS n (kind, stream_id, version, event_id, type, schema_version, payload, key_id,
                 actor_type, actor_id, causation_id, correlation_id, occurred_at, number)
         ), written AS (
             INSERT INTO event (tenant_id, kind, stream_id, version, event_id, type,
                 schema_version, payload, key_id, actor_type, actor_id, causation_id,
                 correlation_id, occurred_at)
             SELECT $1, kind, stream_id, version, event_id, type, schema_version, payload, key_id,
                 actor_type, actor_id, causation_id, correlation_id, occurred_at
             FROM n ORDER BY number
         )
         INSERT INTO outbox (tenant_id, kind, stream_id, version, bytes)
         SELECT $1, kind, stream_id, version, octet_length(payload) FROM n ORDER BY number",
    )
    .bind(tenant.as_uuid())
    .bind(column(events, |event| event.stream.kind.as_str()))
    .bind(column(events, |event| event.stream.id.as_str()))
    .bind(column(events, |event| integer(event.version)))
    .bind(column(events, |event| event.event_id.as_uuid()))
    .bind(column(events, |event| &*event.event_type))
    .bind(column(events, |event| i64::from(event.schema_version)))
    .bind(column(events, |event| event.payload.as_ref()))
    .bind(column(events, |event| event.key_id.as_deref()))
    .bind(column(events, |event| &*event.actor_type))
    .bind(column(events, |event| event.actor_id.as_str()))
    .bind(column(events, |event| event.causation_id.map(|id| id.as_uuid())))
    .bind(column(events, |event| event.correlation_id.as_deref()))
    .bind(column(events, |event| event.occurred_at.as_micros()))
    .execute(connection)
    .await?;
    Ok(())
}

/// One value of each event.
pub(super) fn column<'a, T>(
    events: &[&'a Arc<Recorded>],
    value: impl Fn(&'a Recorded) -> T,
) -> Vec<T> {
    events.iter().map(|event| value(event)).collect()
}

async fn write_bodies(
    connection: &mut PgConnection,
    tenant: TenantId,
    bodies: &[&(Arc<Recorded>, Body)],
) -> Result<(), Trouble> {
    if bodies.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = bodies.iter().map(|(event, _)| event.event_id.as_uuid()).collect();
    let ends: Vec<_> = bodies
        .iter()
        .map(|(_, body)| match body.retention {
            Retention::Until(end) => Some(end.as_micros()),
            Retention::Forever => None,
        })
        .collect();
    let bytes: Vec<&[u8]> = bodies.iter().map(|(_, body)| body.bytes.as_ref()).collect();
    sqlx::query(
        "INSERT INTO call_body (tenant_id, event_id, expires_at, bytes)
         SELECT $1, b.event_id, b.expires_at, b.bytes
         FROM unnest($2::uuid[], $3::bigint[], $4::bytea[]) AS b (event_id, expires_at, bytes)",
    )
    .bind(tenant.as_uuid())
    .bind(ids)
    .bind(ends)
    .bind(bytes)
    .execute(connection)
    .await?;
    Ok(())
}

/// A key that is there has expired, admission says so, or somebody used it since.
async fn write_command(
    connection: &mut PgConnection,
    idempotency: &Idempotency,
    appended: &Appended,
    now: Timestamp,
) -> Result<(), Trouble> {
    let done = sqlx::query(
        "INSERT INTO command_dedup AS c (tenant_id, key, request_hash, kind, stream_id,
             first_version, last_version, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant_id, key) DO UPDATE SET request_hash = excluded.request_hash,
             kind = excluded.kind, stream_id = excluded.stream_id,
             first_version = excluded.first_version, last_version = excluded.last_version,
             expires_at = excluded.expires_at
         WHERE c.expires_at <= $9",
    )
    .bind(appended.stream.tenant.as_uuid())
    .bind(idempotency.key.as_str())
    .bind(idempotency.request_hash.as_slice())
    .bind(appended.stream.kind.as_str())
    .bind(appended.stream.id.as_str())
    .bind(integer(appended.first_version))
    .bind(integer(appended.last_version))
    .bind(idempotency.expires_at.as_micros())
    .bind(now.as_micros())
    .execute(connection)
    .await?;
    one_row(done.rows_affected(), "an idempotency key was used at the same time")
}

async fn write_reservation(
    connection: &mut PgConnection,
    change: &ReservationChange,
) -> Result<(), Trouble> {
    match change {
        ReservationChange::Take { set, value, holder } => {
            let done = sqlx::query(
                "INSERT INTO reservation AS r (tenant_id, set_name, value, holder)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (tenant_id, set_name, value) DO UPDATE SET holder = r.holder
                 WHERE r.holder = excluded.holder",
            )
            .bind(tenant_of(set))
            .bind(set.name())
            .bind(value.as_str())
            .bind(holder.as_str())
            .execute(connection)
            .await?;
            one_row(done.rows_affected(), "a name was taken at the same time")
        }
        ReservationChange::Release { set, value, holder } => {
            // Two statements, since no index finds what may be a tenant or none.
            let sql = match set.tenant() {
                Some(_) => {
                    "DELETE FROM reservation
                     WHERE tenant_id = $1 AND set_name = $2 AND value = $3 AND holder = $4"
                }
                None => {
                    "DELETE FROM reservation WHERE tenant_id IS NULL AND $1::uuid IS NULL
                         AND set_name = $2 AND value = $3 AND holder = $4"
                }
            };
            let query = sqlx::query(sql).bind(tenant_of(set)).bind(set.name());
            query.bind(value.as_str()).bind(holder.as_str()).execute(connection).await?;
            Ok(())
        }
    }
}

fn tenant_of(set: &ReservationSet) -> Option<uuid::Uuid> {
    set.tenant().map(TenantId::as_uuid)
}

fn one_row(rows: u64, lost: &'static str) -> Result<(), Trouble> {
    if rows == 1 { Ok(()) } else { Err(Trouble::Again(Arc::new(io::Error::other(lost)))) }
}
