//! Appends to new streams, as most are: those of calls. One statement appends and commits them.
//!
//! Nothing is looked up: that the streams and ids are new, their keys say. Where they are not,
//! nothing is written and the group is decided in the usual way.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use domain::{StreamId, TenantId, Timestamp};
use sqlx::postgres::PgPool;

use super::group::{Answer, decide};
use super::insert::column;
use super::rows::integer;
use crate::admission::{Admitted, Facts, Heads};
use crate::append::{Append, Body, Retention};
use crate::error::Cause;
use crate::recorded::Recorded;

/// Streams in each of the two parts of what is known; the older part is forgotten.
const WRITTEN: usize = 16_384;

/// How the statement ended.
pub(super) enum Fresh {
    /// Written, with the answers.
    Written(Vec<Answer>),
    /// Something was not new, or the database refused: nothing is written.
    Refused,
    /// There was no connection: nothing is written.
    Away(Cause),
    /// The connection ended in the statement: it may be written.
    Unknown(Cause),
}

/// Streams that this process wrote lately, of which it is known that they are not new.
#[derive(Default)]
pub(super) struct Written {
    recent: Mutex<[HashSet<u64>; 2]>,
}

impl Written {
    /// Whether all of `appends` may be to new streams, each to its own, and nothing else is
    /// asked.
    pub(super) fn may_be_fresh(&self, appends: &[Append]) -> bool {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut streams = HashSet::with_capacity(appends.len());
        appends.iter().all(|append| {
            let number = number(&append.stream);
            append.expected.admits(0)
                && append.idempotency.is_none()
                && append.reservations.is_empty()
                && append.fence.is_none()
                && streams.insert(number)
                && !recent.iter().any(|streams| streams.contains(&number))
        })
    }

    /// Takes in the streams of a group that was tried.
    pub(super) fn note(&self, appends: &[Append]) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent[0].len() + appends.len() > WRITTEN {
            recent.swap(0, 1);
            recent[0].clear();
        }
        recent[0].extend(appends.iter().map(|append| number(&append.stream)));
    }
}

/// Two streams with one number are looked at needlessly.
fn number(stream: &StreamId) -> u64 {
    let mut hasher = DefaultHasher::new();
    stream.hash(&mut hasher);
    hasher.finish()
}

/// Appends to streams that are taken to be new.
pub(super) async fn append(
    pool: &PgPool,
    tenant: TenantId,
    appends: &[Append],
    now: Timestamp,
) -> Fresh {
    let heads = Heads { given_later: true, ..Heads::default() };
    let mut facts = Facts { heads, ..Facts::default() };
    let (answers, admitted) = decide(&mut facts, appends, now);
    if admitted.len() != appends.len() {
        // Two that are the same, for one.
        return Fresh::Refused;
    }
    let mut connection = match pool.acquire().await {
        Ok(connection) => connection,
        Err(error) => return Fresh::Away(Arc::new(error)),
    };
    match query(tenant, &admitted).execute(&mut *connection).await {
        Ok(_) => Fresh::Written(answers),
        Err(sqlx::Error::Database(error)) if !is_end(error.code().as_deref()) => Fresh::Refused,
        Err(error) => Fresh::Unknown(Arc::new(error)),
    }
}

/// Whether the server ended the connection and not only the statement.
fn is_end(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
}

fn query(
    tenant: TenantId,
    admitted: &[Admitted],
) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
    // In the order of their names, so that two groups never wait for each other.
    let mut streams: Vec<_> = admitted.iter().map(|one| &one.appended).collect();
    streams.sort_by_key(|appended| (appended.stream.kind.as_str(), appended.stream.id.as_str()));
    let kinds: Vec<&str> = streams.iter().map(|one| one.stream.kind.as_str()).collect();
    let ids: Vec<&str> = streams.iter().map(|one| one.stream.id.as_str()).collect();
    let versions: Vec<i64> = streams.iter().map(|one| integer(one.last_version)).collect();
    let events: Vec<&Arc<Recorded>> = admitted.iter().flat_map(|one| &one.events).collect();
    let bodies: Vec<&(Arc<Recorded>, Body)> = admitted.iter().flat_map(|one| &one.bodies).collect();
    let end = |body: &Body| match body.retention {
        Retention::Until(end) => Some(end.as_micros()),
        Retention::Forever => None,
    };
    sqlx::query(
        "SELECT append_new($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
             $17, $18, $19)",
    )
    .bind(tenant.as_uuid())
    .bind(kinds)
    .bind(ids)
    .bind(versions)
    .bind(column(&events, |event| event.stream.kind.as_str()))
    .bind(column(&events, |event| event.stream.id.as_str()))
    .bind(column(&events, |event| integer(event.version)))
    .bind(column(&events, |event| event.event_id.as_uuid()))
    .bind(column(&events, |event| &*event.event_type))
    .bind(column(&events, |event| i64::from(event.schema_version)))
    .bind(column(&events, |event| event.payload.as_ref()))
    .bind(column(&events, |event| &*event.actor_type))
    .bind(column(&events, |event| event.actor_id.as_str()))
    .bind(column(&events, |event| event.causation_id.map(|id| id.as_uuid())))
    .bind(column(&events, |event| event.correlation_id.as_deref()))
    .bind(column(&events, |event| event.occurred_at.as_micros()))
    .bind(bodies.iter().map(|(event, _)| event.event_id.as_uuid()).collect::<Vec<_>>())
    .bind(bodies.iter().map(|(_, body)| end(body)).collect::<Vec<_>>())
    .bind(bodies.iter().map(|(_, body)| body.bytes.as_ref()).collect::<Vec<&[u8]>>())
}
