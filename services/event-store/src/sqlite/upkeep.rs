//! Deleting what may be deleted: bodies and idempotency keys. Each is one small transaction.

use domain::{EventId, TenantId, Timestamp};
use sqlx::SqliteConnection;

use super::rows::{blob, integer};

/// One deletion.
#[derive(Debug)]
pub(super) enum Upkeep {
    DeleteBodies { tenant: Option<TenantId>, expired_at: Timestamp, limit: usize },
    DestroyBodies { tenant: TenantId, event_ids: Vec<EventId> },
    ForgetKeys { expired_at: Timestamp, limit: usize },
}

impl Upkeep {
    /// Carries it out and says how many rows are gone.
    pub(super) async fn run(&self, connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
        match self {
            Self::DeleteBodies { tenant, expired_at, limit } => {
                delete_bodies(connection, *tenant, *expired_at, *limit).await
            }
            Self::DestroyBodies { tenant, event_ids } => {
                let mut destroyed = 0;
                for id in event_ids {
                    destroyed += destroy_body(connection, *tenant, *id).await?;
                }
                Ok(destroyed)
            }
            Self::ForgetKeys { expired_at, limit } => {
                forget_keys(connection, *expired_at, *limit).await
            }
        }
    }
}

async fn delete_bodies(
    connection: &mut SqliteConnection,
    tenant: Option<TenantId>,
    expired_at: Timestamp,
    limit: usize,
) -> Result<u64, sqlx::Error> {
    let query = match tenant {
        Some(tenant) => sqlx::query(
            "DELETE FROM call_body WHERE position IN
                 (SELECT position FROM call_body WHERE tenant_id = ? AND expires_at <= ? LIMIT ?)",
        )
        .bind(blob(tenant.as_uuid())),
        None => sqlx::query(
            "DELETE FROM call_body WHERE position IN
                 (SELECT position FROM call_body WHERE expires_at <= ? LIMIT ?)",
        ),
    };
    let limit = integer(limit as u64);
    let done = query.bind(expired_at.as_micros()).bind(limit).execute(connection).await?;
    Ok(done.rows_affected())
}

async fn destroy_body(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    event_id: EventId,
) -> Result<u64, sqlx::Error> {
    let mut destroyed = 0;
    for sql in [
        "DELETE FROM call_body WHERE position =
             (SELECT position FROM event WHERE tenant_id = ? AND event_id = ?)",
        "DELETE FROM kept_body WHERE position =
             (SELECT position FROM event WHERE tenant_id = ? AND event_id = ?)",
    ] {
        let query = sqlx::query(sql).bind(blob(tenant.as_uuid())).bind(blob(event_id.as_uuid()));
        destroyed += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(destroyed)
}

async fn forget_keys(
    connection: &mut SqliteConnection,
    expired_at: Timestamp,
    limit: usize,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "DELETE FROM command_dedup WHERE (tenant_id, key) IN
             (SELECT tenant_id, key FROM command_dedup WHERE expires_at <= ? LIMIT ?)",
    )
    .bind(expired_at.as_micros())
    .bind(integer(limit as u64))
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
