//! Reading: each method sees what was committed, and nothing else.
//!
//! What is read for a tenant is read as the role of one tenant; what is read over all tenants
//! is for projections, publishers and look-ups that find a tenant.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use super::open::Pools;
use super::rows::{command, event_columns, integer, natural, place_of_event, recorded};
use super::session::{self, unreadable, within};
use crate::admission::FormerCommand;
use crate::append::ReservationSet;
use crate::error::StoreError;
use crate::limits::{MAX_PAGE_BYTES, MAX_PAGE_EVENTS};
use crate::recorded::{Page, Position, ReadFilter, Recorded};
use crate::subscription::Source;

/// How often it is looked at whether events that wait for their positions have them.
const SETTLING: Duration = Duration::from_millis(5);

/// What reads.
#[derive(Clone)]
pub(super) struct Reader {
    pools: Pools,
}

impl Reader {
    pub(super) fn new(pools: Pools) -> Self {
        Self { pools }
    }

    pub(super) fn log(&self) -> &PgPool {
        &self.pools.log
    }

    pub(super) async fn head(&self) -> Result<Position, StoreError> {
        within(self.pools.patience, async {
            let mut connection = self.pools.log.acquire().await.map_err(unreadable)?;
            head(&mut connection).await
        })
        .await
    }

    /// See [`EventStore::settled`](crate::EventStore::settled).
    pub(super) async fn settled(&self) -> Result<Position, StoreError> {
        within(self.pools.patience, async {
            let mut connection = self.pools.log.acquire().await.map_err(unreadable)?;
            let last: Option<i64> = sqlx::query_scalar("SELECT max(seq) FROM outbox")
                .fetch_one(&mut *connection)
                .await
                .map_err(unreadable)?;
            while let Some(last) = last {
                let waits: bool =
                    sqlx::query_scalar("SELECT EXISTS (SELECT FROM outbox WHERE seq <= $1)")
                        .bind(last)
                        .fetch_one(&mut *connection)
                        .await
                        .map_err(unreadable)?;
                if !waits {
                    break;
                }
                tokio::time::sleep(SETTLING).await;
            }
            head(&mut connection).await
        })
        .await
    }

    pub(super) async fn published(&self) -> Result<Position, StoreError> {
        within(self.pools.patience, async {
            let position: i64 = sqlx::query_scalar("SELECT published_position FROM sequencer")
                .fetch_one(&self.pools.log)
                .await
                .map_err(unreadable)?;
            Ok(Position::new(natural(position)))
        })
        .await
    }

    /// See [`EventStore::read`](crate::EventStore::read).
    pub(super) async fn page(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        within(self.pools.patience, async {
            match filter.tenant {
                Some(tenant) => {
                    let mut transaction =
                        session::begin(&self.pools.app, tenant).await.map_err(unreadable)?;
                    let page = page(&mut transaction, after, filter, limit).await?;
                    transaction.commit().await.map_err(unreadable)?;
                    Ok(page)
                }
                None => {
                    let mut connection = self.pools.log.acquire().await.map_err(unreadable)?;
                    page(&mut connection, after, filter, limit).await
                }
            }
        })
        .await
    }

    /// The events of a stream as [`EventStore::read_stream`](crate::EventStore::read_stream)
    /// has them; those that have no place yet are at [`Position::START`].
    pub(super) async fn stream(
        &self,
        stream: &StreamId,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let limit = limit.clamp(1, MAX_PAGE_EVENTS);
        within(self.pools.patience, async {
            let mut transaction =
                session::begin(&self.pools.app, stream.tenant).await.map_err(unreadable)?;
            let rows = sqlx::query(concat!(
                "SELECT ",
                event_columns!(),
                " FROM (SELECT *, sum(octet_length(payload)) OVER (ORDER BY version)
                     - octet_length(payload) AS before
                 FROM event WHERE tenant_id = $1 AND kind = $2 AND stream_id = $3
                     AND version > $4 ORDER BY version LIMIT $5) AS e",
                place_of_event!(),
                "WHERE e.before <= $6 ORDER BY e.version"
            ))
            .bind(stream.tenant.as_uuid())
            .bind(stream.kind.as_str())
            .bind(stream.id.as_str())
            .bind(integer(after_version))
            .bind(integer(limit as u64))
            .bind(integer(MAX_PAGE_BYTES as u64))
            .fetch_all(&mut *transaction)
            .await
            .map_err(unreadable)?;
            transaction.commit().await.map_err(unreadable)?;
            rows.iter().map(recorded).collect()
        })
        .await
    }

    /// The event, which may have no place yet.
    pub(super) async fn event(
        &self,
        tenant: TenantId,
        event_id: EventId,
    ) -> Result<Option<Recorded>, StoreError> {
        let sql = concat!(
            "SELECT ",
            event_columns!(),
            " FROM event AS e",
            place_of_event!(),
            "WHERE e.tenant_id = $1 AND e.event_id = $2"
        );
        let query = sqlx::query(sql).bind(tenant.as_uuid()).bind(event_id.as_uuid());
        let row = self.optional(tenant, query).await?;
        row.as_ref().map(recorded).transpose()
    }

    /// Where the event lies in the log, when it has a place.
    pub(super) async fn position_of(
        &self,
        stream: &StreamId,
        version: u64,
    ) -> Result<Option<Position>, StoreError> {
        within(self.pools.patience, async {
            let position: Option<i64> = sqlx::query_scalar(
                "SELECT position FROM log
                 WHERE tenant_id = $1 AND kind = $2 AND stream_id = $3 AND version = $4",
            )
            .bind(stream.tenant.as_uuid())
            .bind(stream.kind.as_str())
            .bind(stream.id.as_str())
            .bind(integer(version))
            .fetch_optional(&self.pools.log)
            .await
            .map_err(unreadable)?;
            Ok(position.map(|position| Position::new(natural(position))))
        })
        .await
    }

    /// See [`EventStore::position_at`](crate::EventStore::position_at). Times never fall with
    /// the position and positions have no gap: a binary search finds the place.
    pub(super) async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        within(self.pools.patience, async {
            let mut connection = self.pools.log.acquire().await.map_err(unreadable)?;
            // Everything up to `low` is recorded at `time` or before, above `high` later.
            let (mut low, mut high) = (0, head(&mut connection).await?.as_u64());
            while low < high {
                let middle = low + (high - low).div_ceil(2);
                let recorded_at: i64 =
                    sqlx::query_scalar("SELECT recorded_at FROM log WHERE position = $1")
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
        })
        .await
    }

    /// The command that used `key`, expired or not.
    pub(super) async fn command(
        &self,
        tenant: TenantId,
        key: &str,
    ) -> Result<Option<FormerCommand>, StoreError> {
        let query = sqlx::query(
            "SELECT c.tenant_id, c.request_hash, c.kind, c.stream_id, c.first_version,
                 c.last_version, c.expires_at, (SELECT p.position FROM log AS p
                     WHERE p.tenant_id = c.tenant_id AND p.kind = c.kind
                         AND p.stream_id = c.stream_id AND p.version = c.last_version)
             FROM command_dedup AS c WHERE c.tenant_id = $1 AND c.key = $2",
        );
        let row = self.optional(tenant, query.bind(tenant.as_uuid()).bind(key)).await?;
        row.as_ref().map(command).transpose()
    }

    /// See [`EventStore::body`](crate::EventStore::body).
    pub(super) async fn body(
        &self,
        tenant: TenantId,
        event_id: EventId,
        now: Timestamp,
    ) -> Result<Option<Bytes>, StoreError> {
        let query = sqlx::query(
            "SELECT bytes FROM call_body WHERE tenant_id = $1 AND event_id = $2
                 AND (expires_at IS NULL OR expires_at > $3)",
        )
        .bind(tenant.as_uuid())
        .bind(event_id.as_uuid())
        .bind(now.as_micros());
        let Some(row) = self.optional(tenant, query).await? else {
            return Ok(None);
        };
        let bytes: Vec<u8> = row.try_get(0).map_err(unreadable)?;
        Ok(Some(Bytes::from(bytes)))
    }

    /// See [`Directory::holder`](crate::Directory::holder).
    pub(super) async fn holder(
        &self,
        set: &ReservationSet,
        value: &str,
    ) -> Result<Option<String>, StoreError> {
        let query = match set.tenant() {
            Some(tenant) => sqlx::query_scalar(
                "SELECT holder FROM reservation
                 WHERE tenant_id = $3 AND set_name = $1 AND value = $2",
            )
            .bind(set.name())
            .bind(value)
            .bind(tenant.as_uuid()),
            None => sqlx::query_scalar(
                "SELECT holder FROM reservation
                 WHERE tenant_id IS NULL AND set_name = $1 AND value = $2",
            )
            .bind(set.name())
            .bind(value),
        };
        within(self.pools.patience, async {
            query.fetch_optional(&self.pools.log).await.map_err(unreadable)
        })
        .await
    }

    /// One row of one tenant.
    async fn optional(
        &self,
        tenant: TenantId,
        query: sqlx::query::Query<'_, Postgres, sqlx::postgres::PgArguments>,
    ) -> Result<Option<PgRow>, StoreError> {
        within(self.pools.patience, async {
            let mut transaction =
                session::begin(&self.pools.app, tenant).await.map_err(unreadable)?;
            let row = query.fetch_optional(&mut *transaction).await.map_err(unreadable)?;
            transaction.commit().await.map_err(unreadable)?;
            Ok(row)
        })
        .await
    }
}

#[async_trait]
impl Source for Reader {
    async fn page(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        Self::page(self, after, filter, limit).await
    }
}

/// The position of the last event.
async fn head(connection: &mut PgConnection) -> Result<Position, StoreError> {
    let next: i64 = sqlx::query_scalar("SELECT next_position FROM sequencer")
        .fetch_one(connection)
        .await
        .map_err(unreadable)?;
    Ok(Position::new(natural(next - 1)))
}

/// See [`Reader::page`], by a connection that sees what the filter asks for.
pub(super) async fn page(
    connection: &mut PgConnection,
    after: Position,
    filter: &ReadFilter,
    limit: usize,
) -> Result<Page, StoreError> {
    // Events never change and come at the end only, so a range below a head that was read
    // before is the same in any later statement.
    let head = head(connection).await?;
    if head <= after {
        return Ok(Page { events: Vec::new(), next: after });
    }
    let limit = limit.clamp(1, MAX_PAGE_EVENTS);
    let mut query = page_query(after, head, filter, limit);
    let rows = query.build().fetch_all(connection).await.map_err(unreadable)?;
    let mut bytes = 0;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        let event = recorded(row)?;
        bytes += event.payload.len();
        events.push(Arc::new(event));
    }
    let next = match events.last() {
        Some(last) if events.len() == limit || bytes > MAX_PAGE_BYTES => last.position,
        _ => head,
    };
    Ok(Page { events, next })
}

/// The events after one position, up to another. With a filter, each kind is read off its own
/// index, in the order of positions, so that a few events among many others are found at once.
fn page_query(
    after: Position,
    head: Position,
    filter: &ReadFilter,
    limit: usize,
) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(concat!(
        "SELECT ",
        event_columns!(),
        " FROM (SELECT *, sum(bytes) OVER (ORDER BY position) - bytes AS before FROM ("
    ));
    match &filter.kinds {
        None => push_range(&mut query, None, after, head, filter.tenant, limit),
        Some(kinds) => {
            // An empty list matches nothing.
            query.push("SELECT * FROM (SELECT * FROM log WHERE false");
            for kind in StreamKind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
                query.push(" UNION ALL (");
                push_range(&mut query, Some(kind), after, head, filter.tenant, limit);
                query.push(")");
            }
            query.push(") AS of_kinds ORDER BY position LIMIT ");
            query.push_bind(integer(limit as u64));
        }
    }
    query.push(
        ") AS places) AS l CROSS JOIN LATERAL (SELECT * FROM event AS f
             WHERE f.tenant_id = l.tenant_id AND f.kind = l.kind
                 AND f.stream_id = l.stream_id AND f.version = l.version OFFSET 0) AS e
         WHERE l.before <= ",
    );
    query.push_bind(integer(MAX_PAGE_BYTES as u64));
    query.push(" ORDER BY l.position");
    query
}

fn push_range(
    query: &mut QueryBuilder<Postgres>,
    kind: Option<StreamKind>,
    after: Position,
    head: Position,
    tenant: Option<TenantId>,
    limit: usize,
) {
    query.push("SELECT * FROM log WHERE position > ").push_bind(integer(after.as_u64()));
    query.push(" AND position <= ").push_bind(integer(head.as_u64()));
    if let Some(tenant) = tenant {
        query.push(" AND tenant_id = ").push_bind(tenant.as_uuid());
    }
    if let Some(kind) = kind {
        // A constant, not a parameter: the indexes of kinds leave out calls, and only a
        // constant shows the planner that it may use them.
        query.push(" AND kind = '").push(kind.as_str()).push("'");
    }
    query.push(" ORDER BY position LIMIT ").push_bind(integer(limit as u64));
}
