//! Deleting what may be deleted: bodies and idempotency keys. Each is one small transaction.

use domain::{EventId, TenantId, Timestamp};

use super::open::Pools;
use super::rows::integer;
use super::session::{self, unreadable, within};
use crate::error::StoreError;

/// See [`EventStore::delete_bodies`](crate::EventStore::delete_bodies).
pub(super) async fn delete_bodies(
    pools: &Pools,
    tenant: Option<TenantId>,
    expired_at: Timestamp,
    limit: usize,
) -> Result<u64, StoreError> {
    let limit = integer(limit as u64);
    within(pools.patience, async {
        let Some(tenant) = tenant else {
            let done = sqlx::query(
                "DELETE FROM call_body AS b USING (SELECT tenant_id, event_id FROM call_body
                     WHERE expires_at <= $1 LIMIT $2) AS over
                 WHERE b.tenant_id = over.tenant_id AND b.event_id = over.event_id",
            )
            .bind(expired_at.as_micros())
            .bind(limit)
            .execute(&pools.log)
            .await
            .map_err(unreadable)?;
            return Ok(done.rows_affected());
        };
        let mut transaction = session::begin(&pools.app, tenant).await.map_err(unreadable)?;
        let done = sqlx::query(
            "DELETE FROM call_body AS b USING (SELECT event_id FROM call_body
                 WHERE tenant_id = $1 AND expires_at <= $2 LIMIT $3) AS over
             WHERE b.tenant_id = $1 AND b.event_id = over.event_id",
        )
        .bind(tenant.as_uuid())
        .bind(expired_at.as_micros())
        .bind(limit)
        .execute(&mut *transaction)
        .await
        .map_err(unreadable)?;
        transaction.commit().await.map_err(unreadable)?;
        Ok(done.rows_affected())
    })
    .await
}

/// See [`EventStore::destroy_bodies`](crate::EventStore::destroy_bodies).
pub(super) async fn destroy_bodies(
    pools: &Pools,
    tenant: TenantId,
    event_ids: &[EventId],
) -> Result<u64, StoreError> {
    let ids: Vec<_> = event_ids.iter().map(|id| id.as_uuid()).collect();
    within(pools.patience, async {
        let mut transaction = session::begin(&pools.app, tenant).await.map_err(unreadable)?;
        let done =
            sqlx::query("DELETE FROM call_body WHERE tenant_id = $1 AND event_id = ANY ($2)")
                .bind(tenant.as_uuid())
                .bind(ids)
                .execute(&mut *transaction)
                .await
                .map_err(unreadable)?;
        transaction.commit().await.map_err(unreadable)?;
        Ok(done.rows_affected())
    })
    .await
}

/// See [`EventStore::forget_keys`](crate::EventStore::forget_keys).
pub(super) async fn forget_keys(
    pools: &Pools,
    expired_at: Timestamp,
    limit: usize,
) -> Result<u64, StoreError> {
    within(pools.patience, async {
        let done = sqlx::query(
            "DELETE FROM command_dedup AS c USING (SELECT tenant_id, key FROM command_dedup
                 WHERE expires_at <= $1 LIMIT $2) AS over
             WHERE c.tenant_id = over.tenant_id AND c.key = over.key AND c.expires_at <= $1",
        )
        .bind(expired_at.as_micros())
        .bind(integer(limit as u64))
        .execute(&pools.log)
        .await
        .map_err(unreadable)?;
        Ok(done.rows_affected())
    })
    .await
}
