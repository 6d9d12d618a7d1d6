//! Reading: each method sees what was committed, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};
use futures::{Stream, TryStreamExt};
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::open::{self, SqliteConfig};
use super::rows::{
    blob, command, command_columns, event_columns, integer, recorded, set_tenant, unreadable,
};
use crate::admission::FormerCommand;
use crate::append::ReservationSet;
use crate::error::StoreError;
use crate::limits::{MAX_PAGE_BYTES, MAX_PAGE_EVENTS};
use crate::recorded::{Page, Position, ReadFilter, Recorded};

/// The pool of connections that read.
#[derive(Clone)]
pub(super) struct Reader {
    pool: SqlitePool,
}

impl Reader {
    pub(super) fn new(config: &SqliteConfig) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(config.readers.max(1))
            .min_connections(0)
            .acquire_timeout(Duration::from_secs(5))
            .idle_timeout(Duration::from_secs(60))
            .test_before_acquire(false)
            .connect_lazy_with(open::reader_options(&config.path));
        Self { pool }
    }

    pub(super) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) async fn head(&self) -> Result<Position, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(unreadable)?;
        head(&mut connection).await
    }

    /// See [`EventStore::read`](crate::EventStore::read).
    pub(super) async fn page(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(unreadable)?;
        // Events never change and come at the end only, so a range below a head that was read
        // before is the same in any later statement.
        let head = head(&mut connection).await?;
        if head <= after {
            return Ok(Page { events: Vec::new(), next: after });
        }
        let limit = limit.clamp(1, MAX_PAGE_EVENTS);
        let mut query = page_query(after, head, filter, limit);
        let rows = query.build().fetch(&mut *connection);
        let (events, full) = cut(rows, limit).await?;
        let next = match events.last() {
            Some(last) if full => last.position,
            _ => head,
        };
        Ok(Page { events, next })
    }

    /// See [`EventStore::read_stream`](crate::EventStore::read_stream).
    pub(super) async fn stream(
        &self,
        stream: &StreamId,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Recorded>>, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE_EVENTS);
        let rows = sqlx::query(concat!(
            "SELECT ",
            event_columns!(),
            " FROM event WHERE tenant_id = ? AND kind = ? AND stream_id = ? AND version > ?",
            " ORDER BY version LIMIT ?"
        ))
        .bind(blob(stream.tenant.as_uuid()))
        .bind(stream.kind.as_str())
        .bind(stream.id.as_str())
        .bind(integer(after_version))
        .bind(integer(limit as u64))
        .fetch(&self.pool);
        Ok(cut(rows, limit).await?.0)
    }

    /// See [`EventStore::event`](crate::EventStore::event).
    pub(super) async fn event(
        &self,
        tenant: TenantId,
        event_id: EventId,
    ) -> Result<Option<Arc<Recorded>>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            event_columns!(),
            " FROM event WHERE tenant_id = ? AND event_id = ?"
        ))
        .bind(blob(tenant.as_uuid()))
        .bind(blob(event_id.as_uuid()))
        .fetch_optional(&self.pool)
        .await
        .map_err(unreadable)?;
        row.as_ref().map(recorded).transpose()
    }

    /// See [`EventStore::position_at`](crate::EventStore::position_at). Times never fall with
    /// the position and positions have no gap: a binary search finds the place.
    pub(super) async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(unreadable)?;
        // Everything up to `low` is recorded at `time` or before, everything above `high` later.
        let (mut low, mut high) = (0, head(&mut connection).await?.as_u64());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let recorded_at: i64 =
                sqlx::query_scalar("SELECT recorded_at FROM event WHERE position = ?")
                    .bind(integer(middle))
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(unreadable)?;
            if recorded_at <= time.as_micros() {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(Position::new(low))
    }

    /// The command that used `key`, expired or not.
    pub(super) async fn command(
        &self,
        tenant: TenantId,
        key: &str,
    ) -> Result<Option<FormerCommand>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            command_columns!(),
            " FROM command_dedup WHERE tenant_id = ? AND key = ?"
        ))
        .bind(blob(tenant.as_uuid()))
        .bind(key)
        .fetch_optional(&self.pool)
        .await
        .map_err(unreadable)?;
        row.as_ref().map(command).transpose()
    }

    /// See [`EventStore::body`](crate::EventStore::body).
    pub(super) async fn body(
        &self,
        tenant: TenantId,
        event_id: EventId,
        now: Timestamp,
    ) -> Result<Option<Bytes>, StoreError> {
        let bytes: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT coalesce(
                 (SELECT bytes FROM call_body AS b WHERE b.position = e.position AND b.expires_at > ?),
                 (SELECT bytes FROM kept_body AS b WHERE b.position = e.position))
             FROM event AS e WHERE e.tenant_id = ? AND e.event_id = ?",
        )
        .bind(now.as_micros())
        .bind(blob(tenant.as_uuid()))
        .bind(blob(event_id.as_uuid()))
        .fetch_optional(&self.pool)
        .await
        .map_err(unreadable)?
        .flatten();
        Ok(bytes.map(Bytes::from))
    }

    /// See [`Directory::holder`](crate::Directory::holder).
    pub(super) async fn holder(
        &self,
        set: &ReservationSet,
        value: &str,
    ) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar(
            "SELECT holder FROM reservation WHERE tenant_id = ? AND set_name = ? AND value = ?",
        )
        .bind(set_tenant(set))
        .bind(set.name())
        .bind(value)
        .fetch_optional(&self.pool)
        .await
        .map_err(unreadable)
    }
}

/// The position of the last event.
pub(super) async fn head(connection: &mut SqliteConnection) -> Result<Position, StoreError> {
    let row = sqlx::query("SELECT coalesce(max(position), 0) FROM event")
        .fetch_one(connection)
        .await
        .map_err(unreadable)?;
    let position: i64 = row.try_get(0).map_err(unreadable)?;
    Ok(Position::new(u64::try_from(position).unwrap_or(0)))
}

/// The events after one position, up to another. With a filter, each kind is read off its own
/// index, in the order of positions, so that a few events among many others are found at once.
fn page_query(
    after: Position,
    head: Position,
    filter: &ReadFilter,
    limit: usize,
) -> QueryBuilder<Sqlite> {
    let (after, head) = (integer(after.as_u64()), integer(head.as_u64()));
    let limit = integer(limit as u64);
    let mut query =
        QueryBuilder::new(concat!("SELECT ", event_columns!(), " FROM event WHERE position "));
    let kinds = match &filter.kinds {
        None if filter.tenant.is_none() => {
            query.push("> ").push_bind(after).push(" AND position <= ").push_bind(head);
            query.push(" ORDER BY position LIMIT ").push_bind(limit);
            return query;
        }
        None => StreamKind::ALL.as_slice(),
        Some(kinds) => kinds.as_slice(),
    };
    // An empty list matches nothing.
    query.push("IN (SELECT position FROM (SELECT 0 AS position WHERE 0");
    for kind in StreamKind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        query.push(" UNION ALL SELECT * FROM (SELECT position FROM event ");
        match (filter.tenant, kind) {
            // The indexes of kinds leave out calls, which are most of the log.
            (Some(tenant), StreamKind::Call) => query
                .push("INDEXED BY event_tenant WHERE tenant_id = ")
                .push_bind(blob(tenant.as_uuid()))
                .push(" AND kind = "),
            (Some(tenant), _) => query
                .push("INDEXED BY event_tenant_kind WHERE kind <> 'call' AND tenant_id = ")
                .push_bind(blob(tenant.as_uuid()))
                .push(" AND kind = "),
            (None, StreamKind::Call) => query.push("NOT INDEXED WHERE kind = "),
            (None, _) => query.push("INDEXED BY event_kind WHERE kind <> 'call' AND kind = "),
        };
        query.push_bind(kind.as_str());
        query.push(" AND position > ").push_bind(after);
        query.push(" AND position <= ").push_bind(head);
        query.push(" ORDER BY position LIMIT ").push_bind(limit).push(")");
    }
    query.push(") ORDER BY position LIMIT ").push_bind(limit);
    query.push(") ORDER BY position");
    query
}

/// The first events within the limits of a page, and whether a limit was reached.
async fn cut(
    mut rows: impl Stream<Item = Result<SqliteRow, sqlx::Error>> + Unpin,
    limit: usize,
) -> Result<(Vec<Arc<Recorded>>, bool), StoreError> {
    let mut bytes = 0;
    let mut events = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(unreadable)? {
        let event = recorded(&row)?;
        bytes += event.payload.len();
        events.push(event);
        if events.len() == limit || bytes > MAX_PAGE_BYTES {
            return Ok((events, true));
        }
    }
    Ok((events, false))
}
