//! Writing what was admitted, in the open transaction.

use std::sync::{Arc, LazyLock};

use sqlx::SqliteConnection;

use super::bulk::Bulk;
use super::rows::{blob, integer, set_tenant};
use crate::admission::Admitted;
use crate::append::{Appended, Body, Idempotency, ReservationChange, Retention};
use crate::recorded::Recorded;

static EVENTS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::plain(
        "INSERT INTO event (position, tenant_id, tenant_position, kind, stream_id, version, \
         event_id, type, schema_version, payload, key_id, actor_type, actor_id, causation_id, \
         correlation_id, occurred_at, recorded_at, leaf_hash) VALUES ",
        18,
        "",
    )
});

static CALL_BODIES: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::plain("INSERT INTO call_body (position, tenant_id, expires_at, bytes) VALUES ", 4, "")
});

/// Writes all of `admitted`, in order.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    admitted: &[Admitted],
) -> Result<(), sqlx::Error> {
    let recorded: Vec<_> = admitted.iter().flat_map(|one| &one.events).collect();
    write_events(connection, &recorded).await?;
    let bodies: Vec<_> = admitted.iter().flat_map(|one| &one.bodies).collect();
    write_bodies(connection, &bodies).await?;
    for one in admitted {
        if let Some((idempotency, appended)) = &one.command {
            write_command(connection, idempotency, appended).await?;
        }
        for change in &one.reservations {
            write_reservation(connection, change).await?;
        }
    }
    Ok(())
}

async fn write_events(
    connection: &mut SqliteConnection,
    events: &[&Arc<Recorded>],
) -> Result<(), sqlx::Error> {
    for (sql, part) in EVENTS.over(events) {
        let mut query = sqlx::query(sql);
        for event in part {
            query = query
                .bind(integer(event.position.as_u64()))
                .bind(blob(event.stream.tenant.as_uuid()))
                .bind(integer(event.tenant_position))
                .bind(event.stream.kind.as_str())
                .bind(event.stream.id.as_str())
                .bind(integer(event.version))
                .bind(blob(event.event_id.as_uuid()))
                .bind(&*event.event_type)
                .bind(event.schema_version)
                .bind(event.payload.as_ref())
                .bind(event.key_id.as_deref())
                .bind(&*event.actor_type)
                .bind(event.actor_id.as_str())
                .bind(event.causation_id.map(|id| blob(id.as_uuid())))
                .bind(event.correlation_id.as_deref())
                .bind(event.occurred_at.as_micros())
                .bind(event.recorded_at.as_micros())
                .bind(event.leaf_hash.as_slice());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn write_bodies(
    connection: &mut SqliteConnection,
    bodies: &[&(Arc<Recorded>, Body)],
) -> Result<(), sqlx::Error> {
    let mut expiring = Vec::with_capacity(bodies.len());
    for (event, body) in bodies {
        match body.retention {
            Retention::Until(end) => expiring.push((event, end, &body.bytes)),
            Retention::Forever => {
                sqlx::query("INSERT INTO kept_body (position, tenant_id, bytes) VALUES (?, ?, ?)")
                    .bind(integer(event.position.as_u64()))
                    .bind(blob(event.stream.tenant.as_uuid()))
                    .bind(body.bytes.as_ref())
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    for (sql, part) in CALL_BODIES.over(&expiring) {
        let mut query = sqlx::query(sql);
        for (event, end, bytes) in part {
            query = query
                .bind(integer(event.position.as_u64()))
                .bind(blob(event.stream.tenant.as_uuid()))
                .bind(end.as_micros())
                .bind(bytes.as_ref());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// A key that is there has expired: admission says so.
async fn write_command(
    connection: &mut SqliteConnection,
    idempotency: &Idempotency,
    appended: &Appended,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT OR REPLACE INTO command_dedup (tenant_id, key, request_hash, kind, stream_id,
             first_version, last_version, last_position, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(blob(appended.stream.tenant.as_uuid()))
    .bind(idempotency.key.as_str())
    .bind(idempotency.request_hash.as_slice())
    .bind(appended.stream.kind.as_str())
    .bind(appended.stream.id.as_str())
    .bind(integer(appended.first_version))
    .bind(integer(appended.last_version))
    .bind(integer(appended.last_position.unwrap_or_default().as_u64()))
    .bind(idempotency.expires_at.as_micros())
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_reservation(
    connection: &mut SqliteConnection,
    change: &ReservationChange,
) -> Result<(), sqlx::Error> {
    let (sql, set, value, holder) = match change {
        ReservationChange::Take { set, value, holder } => (
            "INSERT INTO reservation (tenant_id, set_name, value, holder) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (tenant_id, set_name, value) DO UPDATE SET holder = holder
             WHERE holder = excluded.holder",
            set,
            value,
            holder,
        ),
        ReservationChange::Release { set, value, holder } => (
            "DELETE FROM reservation
             WHERE tenant_id = ?1 AND set_name = ?2 AND value = ?3 AND holder = ?4",
            set,
            value,
            holder,
        ),
    };
    sqlx::query(sql)
        .bind(set_tenant(set))
        .bind(set.name())
        .bind(value.as_str())
        .bind(holder.as_str())
        .execute(connection)
        .await?;
    Ok(())
}
