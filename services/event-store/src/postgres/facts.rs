//! What must be known to decide a group of appends, under the locks of their streams.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::{StreamId, TenantId};
use ring::digest::{Context, SHA256};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::rows::{command, event_columns, integer, kind, natural, place_of_event, recorded};
use super::session::Trouble;
use crate::admission::{Facts, Heads};
use crate::append::{Append, ReservationChange, ReservationSet};
use crate::error::StoreError;

/// The rows of the streams of a group, locked until the end of the transaction.
pub(super) struct Locked {
    /// The versions that the streams had before.
    pub(super) versions: HashMap<StreamId, u64>,
    /// What is in the rows now: a new stream's row has the version that all its appends lead to.
    pub(super) rows: HashMap<StreamId, u64>,
}

/// Locks the streams, always in the same order, and makes rows for those that are new.
pub(super) async fn lock(
    connection: &mut PgConnection,
    tenant: TenantId,
    appends: &[Append],
) -> Result<Locked, Trouble> {
    let mut added: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for append in appends {
        let name = (append.stream.kind.as_str(), append.stream.id.as_str());
        *added.entry(name).or_insert(0) += integer(append.events.len() as u64);
    }
    let kinds: Vec<&str> = added.keys().map(|(kind, _)| *kind).collect();
    let ids: Vec<&str> = added.keys().map(|(_, id)| *id).collect();
    let versions: Vec<i64> = added.values().copied().collect();
    let rows = sqlx::query(
        "INSERT INTO stream AS s (tenant_id, kind, stream_id, version)
         SELECT $1, w.kind, w.id, w.version
         FROM unnest($2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY
             AS w (kind, id, version, number) ORDER BY w.number
         ON CONFLICT (tenant_id, kind, stream_id) DO UPDATE SET version = s.version
         RETURNING kind, stream_id, version, born = pg_current_xact_id()",
    )
    .bind(tenant.as_uuid())
    .bind(kinds)
    .bind(ids)
    .bind(versions)
    .fetch_all(connection)
    .await?;
    let mut locked = Locked { versions: HashMap::new(), rows: HashMap::new() };
    for row in &rows {
        let id: String = row.try_get(1)?;
        let stream = StreamId { tenant, kind: kind(row, 0).map_err(damaged)?, id };
        let version = natural(row.try_get(2)?);
        let is_new: bool = row.try_get(3)?;
        locked.rows.insert(stream.clone(), version);
        if !is_new && version > 0 {
            locked.versions.insert(stream, version);
        }
    }
    Ok(locked)
}

/// The facts about everything that `appends` name. Ids of events are looked up where an append
/// may be refused or have been made before; elsewhere a known id is found by the key of the
/// table, and `thorough` is how it is looked for then.
pub(super) async fn load(
    connection: &mut PgConnection,
    tenant: TenantId,
    appends: &[Append],
    versions: &HashMap<StreamId, u64>,
    thorough: bool,
) -> Result<Facts, Trouble> {
    let heads = Heads { given_later: true, ..Heads::default() };
    let mut facts = Facts { heads, versions: versions.clone(), ..Facts::default() };
    load_epochs(connection, &mut facts, appends).await?;
    load_commands(connection, tenant, &mut facts, appends).await?;
    load_events(connection, tenant, &mut facts, appends, thorough).await?;
    load_holders(connection, tenant, &mut facts, appends).await?;
    Ok(facts)
}

async fn load_epochs(
    connection: &mut PgConnection,
    facts: &mut Facts,
    appends: &[Append],
) -> Result<(), Trouble> {
    let fences = appends.iter().filter_map(|append| append.fence.as_ref());
    let mut names: Vec<&str> = fences.map(|fence| fence.lease.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query("SELECT name, epoch FROM last_epochs($1)")
        .bind(names)
        .fetch_all(connection)
        .await?;
    for row in rows {
        facts.epochs.insert(row.try_get(0)?, natural(row.try_get(1)?));
    }
    Ok(())
}

async fn load_commands(
    connection: &mut PgConnection,
    tenant: TenantId,
    facts: &mut Facts,
    appends: &[Append],
) -> Result<(), Trouble> {
    let commands = appends.iter().filter_map(|append| append.idempotency.as_ref());
    let keys: Vec<&str> = commands.map(|idempotency| idempotency.key.as_str()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(
        "SELECT c.tenant_id, c.request_hash, c.kind, c.stream_id, c.first_version,
             c.last_version, c.expires_at, (SELECT p.position FROM log AS p
                 WHERE p.tenant_id = c.tenant_id AND p.kind = c.kind
                     AND p.stream_id = c.stream_id AND p.version = c.last_version), c.key
         FROM command_dedup AS c WHERE c.tenant_id = $1 AND c.key = ANY ($2)",
    )
    .bind(tenant.as_uuid())
    .bind(keys)
    .fetch_all(connection)
    .await?;
    for row in &rows {
        facts.commands.insert((tenant, row.try_get(8)?), command(row).map_err(damaged)?);
    }
    Ok(())
}

async fn load_events(
    connection: &mut PgConnection,
    tenant: TenantId,
    facts: &mut Facts,
    appends: &[Append],
    thorough: bool,
) -> Result<(), Trouble> {
    let looked_up = appends.iter().filter(|append| {
        thorough
            || facts.versions.contains_key(&append.stream)
            || !append.expected.admits(0)
            || !append.reservations.is_empty()
    });
    let ids: Vec<Uuid> =
        looked_up.flat_map(|append| &append.events).map(|event| event.id.as_uuid()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(concat!(
        "SELECT ",
        event_columns!(),
        " FROM event AS e",
        place_of_event!(),
        "WHERE e.tenant_id = $1 AND e.event_id = ANY ($2)"
    ))
    .bind(tenant.as_uuid())
    .bind(ids)
    .fetch_all(connection)
    .await?;
    for row in &rows {
        let event = recorded(row).map_err(damaged)?;
        facts.events.insert((tenant, event.event_id), Arc::new(event));
    }
    Ok(())
}

/// Locks the values, always in the same order, so that none changes before the commit: not
/// those that are there, nor those that another is about to take.
async fn lock_values(
    connection: &mut PgConnection,
    values: &[(&ReservationSet, &str)],
) -> Result<(), Trouble> {
    let mut locks: Vec<i64> = values.iter().map(|(set, value)| lock_of(set, value)).collect();
    locks.sort_unstable();
    locks.dedup();
    sqlx::query("SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) WITH ORDINALITY AS l (k, n) ORDER BY n")
        .bind(locks)
        .execute(connection)
        .await?;
    Ok(())
}

/// The same on every process. Two values with one lock wait for each other needlessly.
fn lock_of(set: &ReservationSet, value: &str) -> i64 {
    let mut context = Context::new(&SHA256);
    context.update(set.tenant().map(TenantId::as_uuid).unwrap_or_default().as_bytes());
    context.update(&[u8::from(set.tenant().is_some())]);
    context.update(&(set.name().len() as u64).to_be_bytes());
    context.update(set.name().as_bytes());
    context.update(value.as_bytes());
    let mut lock = [0; 8];
    lock.copy_from_slice(&context.finish().as_ref()[..8]);
    i64::from_be_bytes(lock)
}

async fn load_holders(
    connection: &mut PgConnection,
    tenant: TenantId,
    facts: &mut Facts,
    appends: &[Append],
) -> Result<(), Trouble> {
    let changes = appends.iter().flat_map(|append| &append.reservations);
    let named = changes.map(|change| match change {
        ReservationChange::Take { set, value, .. }
        | ReservationChange::Release { set, value, .. } => (set, value.as_str()),
    });
    let named: Vec<(&ReservationSet, &str)> = named.collect();
    if named.is_empty() {
        return Ok(());
    }
    lock_values(connection, &named).await?;
    let (of_tenant, of_all): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|(set, _)| set.tenant().is_some());
    if !of_tenant.is_empty() {
        let rows = sqlx::query(
            "SELECT set_name, value, holder FROM reservation
             WHERE tenant_id = $3
                 AND (set_name, value) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
        )
        .bind(of_tenant.iter().map(|(set, _)| set.name()).collect::<Vec<_>>())
        .bind(of_tenant.iter().map(|(_, value)| *value).collect::<Vec<_>>())
        .bind(tenant.as_uuid())
        .fetch_all(&mut *connection)
        .await?;
        let set = |name: String| ReservationSet::of_tenant(tenant, name);
        note_holders(facts, &rows, set)?;
    }
    if !of_all.is_empty() {
        let rows = sqlx::query(
            "SELECT set_name, value, holder FROM reservation
             WHERE tenant_id IS NULL
                 AND (set_name, value) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
        )
        .bind(of_all.iter().map(|(set, _)| set.name()).collect::<Vec<_>>())
        .bind(of_all.iter().map(|(_, value)| *value).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
        note_holders(facts, &rows, ReservationSet::global)?;
    }
    Ok(())
}

fn note_holders(
    facts: &mut Facts,
    rows: &[PgRow],
    set: impl Fn(String) -> ReservationSet,
) -> Result<(), Trouble> {
    for row in rows {
        facts.holders.insert((set(row.try_get(0)?), row.try_get(1)?), row.try_get(2)?);
    }
    Ok(())
}

fn damaged(error: StoreError) -> Trouble {
    Trouble::Refused(Arc::new(error))
}
