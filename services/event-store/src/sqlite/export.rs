//! Everything that a SQLite file holds, in parts, for a copy to another store.

use domain::{EventId, TenantId, Timestamp};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::read::Reader;
use super::rows::{command, command_columns, integer, unreadable};
use crate::admission::FormerCommand;
use crate::error::StoreError;
use crate::recorded::{Page, Position, ReadFilter};

/// Rows in one part, but for bodies.
const PART: i64 = 1_000;
/// Bodies in one part: each may be large.
const PART_BODIES: i64 = 16;

/// A body with the event it belongs to.
pub(crate) struct ExportedBody {
    pub(crate) tenant: TenantId,
    pub(crate) event_id: EventId,
    /// `None` for ever.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) bytes: Vec<u8>,
}

/// A reserved value; without a tenant, of a set over all tenants.
#[derive(Clone)]
pub(crate) struct ExportedReservation {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) set: String,
    pub(crate) value: String,
    pub(crate) holder: String,
}

/// Reads the file.
pub(crate) struct Export {
    reader: Reader,
}

impl Export {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader }
    }

    pub(crate) async fn head(&self) -> Result<Position, StoreError> {
        self.reader.head().await
    }

    pub(crate) async fn page(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.reader.page(after, filter, limit).await
    }

    /// The bodies after a position, and where to go on; none at the end.
    pub(crate) async fn bodies(
        &self,
        after: Position,
    ) -> Result<(Vec<ExportedBody>, Position), StoreError> {
        let rows = sqlx::query(
            "SELECT b.position, event.tenant_id, event.event_id, b.expires_at, b.bytes FROM (
                 SELECT position, expires_at, bytes FROM (
                     SELECT position, expires_at, bytes FROM call_body WHERE position > ?1
                     ORDER BY position LIMIT ?2)
                 UNION ALL SELECT position, NULL, bytes FROM (
                     SELECT position, bytes FROM kept_body WHERE position > ?1
                     ORDER BY position LIMIT ?2)
             ) AS b JOIN event ON event.position = b.position ORDER BY b.position LIMIT ?2",
        )
        .bind(integer(after.as_u64()))
        .bind(PART_BODIES)
        .fetch_all(self.reader.pool())
        .await
        .map_err(unreadable)?;
        let mut last = after;
        let mut bodies = Vec::with_capacity(rows.len());
        for row in &rows {
            let position: i64 = row.try_get(0).map_err(unreadable)?;
            last = Position::new(u64::try_from(position).unwrap_or(0));
            let end: Option<i64> = row.try_get(3).map_err(unreadable)?;
            bodies.push(ExportedBody {
                tenant: TenantId::from_uuid(id(row, 1)?),
                event_id: EventId::from_uuid(id(row, 2)?),
                expires_at: end.map(Timestamp::from_micros),
                bytes: row.try_get(4).map_err(unreadable)?,
            });
        }
        Ok((bodies, last))
    }

    /// The commands after `offset` others, with their keys.
    pub(crate) async fn commands(
        &self,
        offset: i64,
    ) -> Result<Vec<(String, FormerCommand)>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            command_columns!(),
            ", key FROM command_dedup ORDER BY tenant_id, key LIMIT ? OFFSET ?"
        ))
        .bind(PART)
        .bind(offset)
        .fetch_all(self.reader.pool())
        .await
        .map_err(unreadable)?;
        let one = |row| Ok((SqliteRow::try_get(row, 8).map_err(unreadable)?, command(row)?));
        rows.iter().map(one).collect()
    }

    /// The reservations after `offset` others.
    pub(crate) async fn reservations(
        &self,
        offset: i64,
    ) -> Result<Vec<ExportedReservation>, StoreError> {
        let rows = sqlx::query(
            "SELECT tenant_id, set_name, value, holder FROM reservation
             ORDER BY tenant_id, set_name, value LIMIT ? OFFSET ?",
        )
        .bind(PART)
        .bind(offset)
        .fetch_all(self.reader.pool())
        .await
        .map_err(unreadable)?;
        let one = |row: &SqliteRow| {
            let tenant: &[u8] = row.try_get(0).map_err(unreadable)?;
            let tenant = if tenant.is_empty() { None } else { Some(id(row, 0)?) };
            Ok(ExportedReservation {
                tenant: tenant.map(TenantId::from_uuid),
                set: row.try_get(1).map_err(unreadable)?,
                value: row.try_get(2).map_err(unreadable)?,
                holder: row.try_get(3).map_err(unreadable)?,
            })
        };
        rows.iter().map(one).collect()
    }

    /// The last epoch of each lease.
    pub(crate) async fn epochs(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let rows = sqlx::query("SELECT name, epoch FROM lease_epoch ORDER BY name")
            .fetch_all(self.reader.pool())
            .await
            .map_err(unreadable)?;
        let one = |row: &SqliteRow| {
            let epoch: i64 = row.try_get(1).map_err(unreadable)?;
            Ok((row.try_get(0).map_err(unreadable)?, u64::try_from(epoch).unwrap_or(0)))
        };
        rows.iter().map(one).collect()
    }
}

fn id(row: &SqliteRow, column: usize) -> Result<Uuid, StoreError> {
    let bytes: &[u8] = row.try_get(column).map_err(unreadable)?;
    let damaged = StoreError::Damaged { position: 0, what: "an id that is no UUID" };
    Uuid::from_slice(bytes).map_err(|_| damaged)
}
