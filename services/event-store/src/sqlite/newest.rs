//! The greatest names in the log, so that new ones need no look-up.
//!
//! Ids are made in the order of time: nearly every event id, and the name of nearly every call's
//! stream, is above all that are there, and then it is certain that the log does not have it. A
//! name that is not above is looked up as ever, so a clock that went wrong costs time only.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use domain::{EventId, StreamId, StreamKind, TenantId};
use sqlx::SqliteConnection;

use super::rows::{blob, unreadable};
use crate::error::StoreError;
use crate::recorded::Recorded;

/// Tenants that are kept between groups.
const TENANTS_KEPT: usize = 10_000;

/// Of one tenant; `None` where there is nothing.
#[derive(Debug, Default)]
struct Greatest {
    event: Option<EventId>,
    /// The name of a call's stream: no other kind has many.
    call: Option<String>,
}

/// See the module. Never below what is committed.
#[derive(Debug, Default)]
pub(super) struct Newest {
    tenants: HashMap<TenantId, Greatest>,
}

impl Newest {
    /// Reads the greatest names of `tenants`, where they are not known.
    pub(super) async fn learn(
        &mut self,
        connection: &mut SqliteConnection,
        tenants: impl Iterator<Item = TenantId>,
    ) -> Result<(), StoreError> {
        if self.tenants.len() > TENANTS_KEPT {
            self.tenants.clear();
        }
        for tenant in tenants {
            if let Entry::Vacant(unknown) = self.tenants.entry(tenant) {
                unknown.insert(read(connection, tenant).await?);
            }
        }
        Ok(())
    }

    /// Whether it is certain that the tenant has no event of this id.
    pub(super) fn has_no_event(&self, tenant: TenantId, id: EventId) -> bool {
        let greatest = self.tenants.get(&tenant);
        greatest.is_some_and(|greatest| greatest.event.is_none_or(|known| id > known))
    }

    /// Whether it is certain that the stream has no event.
    pub(super) fn has_no_stream(&self, stream: &StreamId) -> bool {
        let greatest = self.tenants.get(&stream.tenant);
        stream.kind == StreamKind::Call
            && greatest.is_some_and(|greatest| {
                greatest.call.as_ref().is_none_or(|known| stream.id > *known)
            })
    }

    /// Takes in an event that was committed.
    pub(super) fn note(&mut self, event: &Recorded) {
        let Some(greatest) = self.tenants.get_mut(&event.stream.tenant) else { return };
        greatest.event = greatest.event.max(Some(event.event_id));
        let stream = &event.stream;
        if stream.kind == StreamKind::Call
            && greatest.call.as_ref().is_none_or(|known| stream.id > *known)
        {
            greatest.call = Some(stream.id.clone());
        }
    }
}

async fn read(connection: &mut SqliteConnection, tenant: TenantId) -> Result<Greatest, StoreError> {
    let event: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT max(event_id) FROM event WHERE tenant_id = ?")
            .bind(blob(tenant.as_uuid()))
            .fetch_one(&mut *connection)
            .await
            .map_err(unreadable)?;
    let call: Option<String> = sqlx::query_scalar(
        "SELECT max(stream_id) FROM event WHERE tenant_id = ? AND kind = 'call'",
    )
    .bind(blob(tenant.as_uuid()))
    .fetch_one(connection)
    .await
    .map_err(unreadable)?;
    let event = event.map(|id| uuid::Uuid::from_slice(&id)).transpose();
    let event = event
        .map_err(|_| StoreError::Damaged { position: 0, what: "an id that is no UUID" })?
        .map(EventId::from_uuid);
    Ok(Greatest { event, call })
}
