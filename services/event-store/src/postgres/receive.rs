//! Filling an empty database with what another store has: all of it in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::TenantId;
use secrecy::SecretString;
use sqlx::{Connection, PgConnection, Row};

use super::migrate::{self, MigrateError, SCHEMA_VERSION};
use super::read;
use super::rows::{integer, natural};
use super::session::unreadable;
use crate::admission::FormerCommand;
use crate::error::StoreError;
use crate::recorded::{Page, Position, ReadFilter, Recorded};
use crate::sqlite::export::{ExportedBody, ExportedReservation};

/// Why a database takes nothing.
pub(crate) enum Unfit {
    NotMigrated,
    NotEmpty,
    Failed(sqlx::Error),
    Unreachable(MigrateError),
}

impl From<sqlx::Error> for Unfit {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

/// The open transaction. Nothing of it stays unless it is committed.
pub(crate) struct Receiver {
    connection: PgConnection,
    tenants: BTreeMap<TenantId, u64>,
}

impl Receiver {
    /// Begins, on a migrated database without any events, keys or names.
    pub(crate) async fn begin(admin_url: &SecretString) -> Result<Self, Unfit> {
        let mut connection = migrate::connect(admin_url).await.map_err(Unfit::Unreachable)?;
        if migrate::schema_version(&mut connection).await? != Some(SCHEMA_VERSION) {
            return Err(Unfit::NotMigrated);
        }
        sqlx::raw_sql("BEGIN; SET LOCAL lock_timeout = '5s'").execute(&mut connection).await?;
        let next: i64 = sqlx::query_scalar("SELECT next_position FROM sequencer FOR UPDATE")
            .fetch_one(&mut connection)
            .await?;
        // Nobody appends meanwhile; readers may read. What the rules hide from the owner is
        // found by its keys.
        sqlx::raw_sql("LOCK TABLE stream, event, outbox, reservation, command_dedup IN SHARE ROW EXCLUSIVE MODE")
            .execute(&mut connection)
            .await?;
        let pages: bool = sqlx::query_scalar(
            "SELECT coalesce(sum(pg_relation_size(oid)), 0) > 0 FROM pg_class
             WHERE relnamespace = 'mcp_orch'::regnamespace AND (relname ~ '^(event|stream)_[0-9]+$'
                 OR relname IN ('outbox', 'reservation', 'command_dedup', 'log'))
                 AND relkind = 'r'",
        )
        .fetch_one(&mut connection)
        .await?;
        if next != 1 || pages {
            return Err(Unfit::NotEmpty);
        }
        Ok(Self { connection, tenants: BTreeMap::new() })
    }

    /// The tenants that were received, with their last positions.
    pub(crate) fn tenants(&self) -> Vec<(TenantId, u64)> {
        self.tenants.iter().map(|(tenant, position)| (*tenant, *position)).collect()
    }

    /// Events with their places, in the order of positions.
    pub(crate) async fn events(&mut self, events: &[Arc<Recorded>]) -> Result<(), sqlx::Error> {
        let mut of_tenants: BTreeMap<TenantId, Vec<&Recorded>> = BTreeMap::new();
        for event in events {
            of_tenants.entry(event.stream.tenant).or_default().push(event);
            self.tenants.insert(event.stream.tenant, event.tenant_position);
        }
        for (tenant, events) in of_tenants {
            self.enter(tenant).await?;
            self.events_of(tenant, &events).await?;
        }
        Ok(())
    }

    async fn events_of(
        &mut self,
        tenant: TenantId,
        events: &[&Recorded],
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "WITH n AS (
                 SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::uuid[],
                     $6::text[], $7::bigint[], $8::bytea[], $9::text[], $10::text[], $11::text[],
                     $12::uuid[], $13::text[], $14::bigint[], $15::bigint[], $16::bigint[],
                     $17::bigint[], $18::bytea[])
                 AS n (kind, stream_id, version, event_id, type, schema_version, payload, key_id,
                     actor_type, actor_id, causation_id, correlation_id, occurred_at, position,
                     tenant_position, recorded_at, leaf_hash)
             ), written AS (
                 INSERT INTO event (tenant_id, kind, stream_id, version, event_id, type,
                     schema_version, payload, key_id, actor_type, actor_id, causation_id,
                     correlation_id, occurred_at)
                 SELECT $1, kind, stream_id, version, event_id, type, schema_version, payload,
                     key_id, actor_type, actor_id, causation_id, correlation_id, occurred_at
                 FROM n
             )
             INSERT INTO log (position, tenant_id, tenant_position, kind, stream_id, version,
                 bytes, recorded_at, leaf_hash)
             SELECT position, $1, tenant_position, kind, stream_id, version,
                 octet_length(payload), recorded_at, leaf_hash FROM n ORDER BY position",
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
        .bind(column(events, |event| integer(event.position.as_u64())))
        .bind(column(events, |event| integer(event.tenant_position)))
        .bind(column(events, |event| event.recorded_at.as_micros()))
        .bind(column(events, |event| event.leaf_hash.as_slice()))
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    pub(crate) async fn bodies(&mut self, bodies: &[ExportedBody]) -> Result<(), sqlx::Error> {
        for body in bodies {
            self.enter(body.tenant).await?;
            sqlx::query(
                "INSERT INTO call_body (tenant_id, event_id, expires_at, bytes)
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(body.tenant.as_uuid())
            .bind(body.event_id.as_uuid())
            .bind(body.expires_at.map(|end| end.as_micros()))
            .bind(body.bytes.as_slice())
            .execute(&mut self.connection)
            .await?;
        }
        Ok(())
    }

    pub(crate) async fn commands(
        &mut self,
        commands: &[(String, FormerCommand)],
    ) -> Result<(), sqlx::Error> {
        for (key, former) in commands {
            let stream = &former.appended.stream;
            self.enter(stream.tenant).await?;
            sqlx::query(
                "INSERT INTO command_dedup (tenant_id, key, request_hash, kind, stream_id,
                     first_version, last_version, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(stream.tenant.as_uuid())
            .bind(key.as_str())
            .bind(former.request_hash.as_slice())
            .bind(stream.kind.as_str())
            .bind(stream.id.as_str())
            .bind(integer(former.appended.first_version))
            .bind(integer(former.appended.last_version))
            .bind(former.expires_at.as_micros())
            .execute(&mut self.connection)
            .await?;
        }
        Ok(())
    }

    pub(crate) async fn reservations(
        &mut self,
        reservations: &[ExportedReservation],
    ) -> Result<(), sqlx::Error> {
        for one in reservations {
            self.enter(one.tenant.unwrap_or(TenantId::SYSTEM)).await?;
            sqlx::query(
                "INSERT INTO reservation (tenant_id, set_name, value, holder)
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(one.tenant.map(TenantId::as_uuid))
            .bind(one.set.as_str())
            .bind(one.value.as_str())
            .bind(one.holder.as_str())
            .execute(&mut self.connection)
            .await?;
        }
        Ok(())
    }

    /// The last epochs of leases that nobody holds now. That of the leader stays as it is: the
    /// other store had no sequencer.
    pub(crate) async fn epochs(&mut self, epochs: &[(String, u64)]) -> Result<(), sqlx::Error> {
        let (names, epochs): (Vec<&str>, Vec<i64>) =
            epochs.iter().map(|(name, epoch)| (name.as_str(), integer(*epoch))).unzip();
        sqlx::query(
            "INSERT INTO lease AS l (name, holder, epoch, note, expires_at)
             SELECT name, '', epoch, '', '-infinity'
             FROM unnest($1::text[], $2::bigint[]) AS n (name, epoch)
             ON CONFLICT (name) DO UPDATE SET epoch = greatest(l.epoch, excluded.epoch)",
        )
        .bind(names)
        .bind(epochs)
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    /// Streams and ends, from the events. What is copied counts as published: who follows the
    /// bus begins with a snapshot.
    pub(crate) async fn ends(&mut self, last: Option<&Recorded>) -> Result<(), sqlx::Error> {
        for (tenant, position) in self.tenants() {
            self.enter(tenant).await?;
            sqlx::query(
                "INSERT INTO stream (tenant_id, kind, stream_id, version)
                 SELECT tenant_id, kind, stream_id, max(version) FROM event
                 WHERE tenant_id = $1 GROUP BY tenant_id, kind, stream_id",
            )
            .bind(tenant.as_uuid())
            .execute(&mut self.connection)
            .await?;
            sqlx::query("INSERT INTO tenant_head (tenant_id, position) VALUES ($1, $2)")
                .bind(tenant.as_uuid())
                .bind(integer(position))
                .execute(&mut self.connection)
                .await?;
        }
        let Some(last) = last else { return Ok(()) };
        sqlx::query(
            "UPDATE sequencer SET next_position = $1 + 1, published_position = $1,
                 recorded_at = $2",
        )
        .bind(integer(last.position.as_u64()))
        .bind(last.recorded_at.as_micros())
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    /// What was received of one tenant.
    pub(crate) async fn page(
        &mut self,
        tenant: TenantId,
        after: Position,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.enter(tenant).await.map_err(unreadable)?;
        read::page(&mut self.connection, after, &ReadFilter::of_tenant(tenant), limit).await
    }

    /// How many bodies, keys and names a tenant has, and names over all tenants.
    pub(crate) async fn counts(&mut self, tenant: TenantId) -> Result<[u64; 4], sqlx::Error> {
        self.enter(tenant).await?;
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM call_body WHERE tenant_id = $1),
                 (SELECT count(*) FROM command_dedup WHERE tenant_id = $1),
                 (SELECT count(*) FROM reservation WHERE tenant_id = $1),
                 (SELECT count(*) FROM reservation WHERE tenant_id IS NULL)",
        )
        .bind(tenant.as_uuid())
        .fetch_one(&mut self.connection)
        .await?;
        let count = |column| row.try_get::<i64, _>(column).map(natural);
        Ok([count(0)?, count(1)?, count(2)?, count(3)?])
    }

    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql("COMMIT").execute(&mut self.connection).await?;
        sqlx::raw_sql("ANALYZE").execute(&mut self.connection).await?;
        self.connection.close().await
    }

    /// From here on rows of `tenant` are read and written.
    async fn enter(&mut self, tenant: TenantId) -> Result<(), sqlx::Error> {
        sqlx::query("SELECT set_config('mcp_orch.tenant', $1, true)")
            .bind(tenant.as_uuid().to_string())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}

/// One value of each event.
fn column<'a, T>(events: &[&'a Recorded], value: impl Fn(&'a Recorded) -> T) -> Vec<T> {
    events.iter().map(|event| value(event)).collect()
}
