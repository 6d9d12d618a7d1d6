//! What must be known to decide a group of appends, read in a few statements.

use std::collections::HashSet;
use std::sync::LazyLock;

use domain::{EventId, StreamId, TenantId, Timestamp};
use sqlx::{Row, SqliteConnection};

use super::bulk::Bulk;
use super::newest::Newest;
use super::read::head;
use super::rows::{
    blob, command, command_columns, event_columns, recorded, set_tenant, unreadable,
};
use crate::admission::{Facts, Heads};
use crate::append::{Append, ReservationChange, ReservationSet};
use crate::error::StoreError;

/// Tenants whose last position is kept between groups.
const TENANTS_KEPT: usize = 10_000;

const LAST_OF_TENANT: &str = "SELECT tenant_position FROM event INDEXED BY event_tenant \
    WHERE tenant_id = ? ORDER BY position DESC LIMIT 1";

static VERSIONS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::numbered(
        "WITH wanted (number, tenant_id, kind, stream_id) AS (VALUES ",
        3,
        ") SELECT wanted.number, (SELECT max(version) FROM event WHERE \
         event.tenant_id = wanted.tenant_id AND event.kind = wanted.kind \
         AND event.stream_id = wanted.stream_id) FROM wanted",
    )
});

static EVENTS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::plain(
        "WITH wanted (tenant_id, event_id) AS (VALUES ",
        2,
        concat!(
            ") SELECT ",
            event_columns!(),
            " FROM wanted CROSS JOIN event ON event.tenant_id = wanted.tenant_id \
             AND event.event_id = wanted.event_id"
        ),
    )
});

static COMMANDS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::numbered(
        "WITH wanted (number, tenant_id, key) AS (VALUES ",
        2,
        concat!(
            ") SELECT ",
            command_columns!(),
            ", wanted.number FROM wanted CROSS JOIN command_dedup \
             ON command_dedup.tenant_id = wanted.tenant_id AND command_dedup.key = wanted.key"
        ),
    )
});

static HOLDERS: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::numbered(
        "WITH wanted (number, tenant_id, set_name, value) AS (VALUES ",
        3,
        ") SELECT wanted.number, reservation.holder FROM wanted CROSS JOIN reservation \
         ON reservation.tenant_id = wanted.tenant_id \
         AND reservation.set_name = wanted.set_name AND reservation.value = wanted.value",
    )
});

/// Where the log ends, without any tenant's position.
pub(super) async fn heads(connection: &mut SqliteConnection) -> Result<Heads, StoreError> {
    let position = head(connection).await?;
    let last: Option<i64> =
        sqlx::query_scalar("SELECT recorded_at FROM event ORDER BY position DESC LIMIT 1")
            .fetch_optional(connection)
            .await
            .map_err(unreadable)?;
    let recorded_at = last.map(Timestamp::from_micros).unwrap_or_default();
    Ok(Heads { position, recorded_at, ..Heads::default() })
}

/// The facts about everything that `appends` name, on top of `heads`. What `newest` says is not
/// there is not looked up.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    heads: Heads,
    newest: &mut Newest,
    appends: &[&Append],
) -> Result<Facts, StoreError> {
    let mut facts = Facts { heads, ..Facts::default() };
    load_tenants(connection, &mut facts, appends).await?;
    let tenants = appends.iter().map(|append| append.stream.tenant);
    newest.learn(connection, tenants).await?;
    load_versions(connection, &mut facts, newest, appends).await?;
    load_events(connection, &mut facts, newest, appends).await?;
    load_commands(connection, &mut facts, appends).await?;
    load_holders(connection, &mut facts, appends).await?;
    Ok(facts)
}

async fn load_tenants(
    connection: &mut SqliteConnection,
    facts: &mut Facts,
    appends: &[&Append],
) -> Result<(), StoreError> {
    let known = &mut facts.heads.tenants;
    if known.len() > TENANTS_KEPT {
        known.clear();
    }
    for tenant in appends.iter().map(|append| append.stream.tenant) {
        if known.contains_key(&tenant) {
            continue;
        }
        let last: Option<i64> = sqlx::query_scalar(LAST_OF_TENANT)
            .bind(blob(tenant.as_uuid()))
            .fetch_optional(&mut *connection)
            .await
            .map_err(unreadable)?;
        known.insert(tenant, u64::try_from(last.unwrap_or(0)).unwrap_or(0));
    }
    Ok(())
}

async fn load_versions(
    connection: &mut SqliteConnection,
    facts: &mut Facts,
    newest: &Newest,
    appends: &[&Append],
) -> Result<(), StoreError> {
    let streams: HashSet<&StreamId> = appends
        .iter()
        .map(|append| &append.stream)
        .filter(|stream| !newest.has_no_stream(stream))
        .collect();
    let streams: Vec<_> = streams.into_iter().collect();
    for (sql, part) in VERSIONS.over(&streams) {
        let mut query = sqlx::query(sql);
        for stream in part {
            query = query
                .bind(blob(stream.tenant.as_uuid()))
                .bind(stream.kind.as_str())
                .bind(stream.id.as_str());
        }
        for row in query.fetch_all(&mut *connection).await.map_err(unreadable)? {
            let number: i64 = row.try_get(0).map_err(unreadable)?;
            let version: Option<i64> = row.try_get(1).map_err(unreadable)?;
            if let (Some(stream), Some(version)) = (nth(part, number), version) {
                let version = u64::try_from(version).unwrap_or(0);
                facts.versions.insert((*stream).clone(), version);
            }
        }
    }
    Ok(())
}

async fn load_events(
    connection: &mut SqliteConnection,
    facts: &mut Facts,
    newest: &Newest,
    appends: &[&Append],
) -> Result<(), StoreError> {
    let ids: Vec<(TenantId, EventId)> = appends
        .iter()
        .flat_map(|append| append.events.iter().map(|event| (append.stream.tenant, event.id)))
        .filter(|(tenant, id)| !newest.has_no_event(*tenant, *id))
        .collect();
    for (sql, part) in EVENTS.over(&ids) {
        let mut query = sqlx::query(sql);
        for (tenant, id) in part {
            query = query.bind(blob(tenant.as_uuid())).bind(blob(id.as_uuid()));
        }
        for row in query.fetch_all(&mut *connection).await.map_err(unreadable)? {
            let event = recorded(&row)?;
            facts.events.insert((event.stream.tenant, event.event_id), event);
        }
    }
    Ok(())
}

async fn load_commands(
    connection: &mut SqliteConnection,
    facts: &mut Facts,
    appends: &[&Append],
) -> Result<(), StoreError> {
    let keys: Vec<(TenantId, &str)> = appends
        .iter()
        .filter_map(|append| {
            Some((append.stream.tenant, append.idempotency.as_ref()?.key.as_str()))
        })
        .collect();
    for (sql, part) in COMMANDS.over(&keys) {
        let mut query = sqlx::query(sql);
        for (tenant, key) in part {
            query = query.bind(blob(tenant.as_uuid())).bind(*key);
        }
        for row in query.fetch_all(&mut *connection).await.map_err(unreadable)? {
            let number: i64 = row.try_get(8).map_err(unreadable)?;
            if let Some((tenant, key)) = nth(part, number) {
                facts.commands.insert((*tenant, (*key).to_owned()), command(&row)?);
            }
        }
    }
    Ok(())
}

async fn load_holders(
    connection: &mut SqliteConnection,
    facts: &mut Facts,
    appends: &[&Append],
) -> Result<(), StoreError> {
    let values: Vec<(&ReservationSet, &str)> = appends
        .iter()
        .flat_map(|append| &append.reservations)
        .map(|change| match change {
            ReservationChange::Take { set, value, .. }
            | ReservationChange::Release { set, value, .. } => (set, value.as_str()),
        })
        .collect();
    for (sql, part) in HOLDERS.over(&values) {
        let mut query = sqlx::query(sql);
        for (set, value) in part {
            query = query.bind(set_tenant(set)).bind(set.name()).bind(*value);
        }
        for row in query.fetch_all(&mut *connection).await.map_err(unreadable)? {
            let number: i64 = row.try_get(0).map_err(unreadable)?;
            if let Some((set, value)) = nth(part, number) {
                let holder: String = row.try_get(1).map_err(unreadable)?;
                facts.holders.insert(((*set).clone(), (*value).to_owned()), holder);
            }
        }
    }
    Ok(())
}

fn nth<T>(part: &[T], number: i64) -> Option<&T> {
    usize::try_from(number).ok().and_then(|number| part.get(number))
}
