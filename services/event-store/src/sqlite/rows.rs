//! Between rows and what the port knows.

use std::sync::Arc;

use bytes::Bytes;
use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};
use uuid::Uuid;

use crate::admission::FormerCommand;
use crate::append::{Appended, ReservationSet};
use crate::error::StoreError;
use crate::recorded::{Position, Recorded};

/// The columns of an event, in the order of [`recorded`].
macro_rules! event_columns {
    () => {
        "event.position, event.tenant_id, event.tenant_position, event.kind, event.stream_id, \
         event.version, event.event_id, event.type, event.schema_version, event.payload, \
         event.key_id, event.actor_type, event.actor_id, event.causation_id, \
         event.correlation_id, event.occurred_at, event.recorded_at, event.leaf_hash"
    };
}
pub(super) use event_columns;

/// The columns of a former command, in the order of [`command`].
macro_rules! command_columns {
    () => {
        "command_dedup.tenant_id, command_dedup.request_hash, command_dedup.kind, \
         command_dedup.stream_id, command_dedup.first_version, command_dedup.last_version, \
         command_dedup.last_position, command_dedup.expires_at"
    };
}
pub(super) use command_columns;

/// An event from the columns of `event_columns`.
pub(super) fn recorded(row: &SqliteRow) -> Result<Arc<Recorded>, StoreError> {
    let cells =
        Cells { row, position: row.try_get::<i64, _>(0).map_err(unreadable)?.max(0) as u64 };
    Ok(Arc::new(Recorded {
        position: Position::new(cells.position),
        tenant_position: cells.number(2)?,
        stream: StreamId {
            tenant: TenantId::from_uuid(cells.uuid(1)?),
            kind: cells.kind(3)?,
            id: cells.get(4)?,
        },
        version: cells.number(5)?,
        event_id: EventId::from_uuid(cells.uuid(6)?),
        event_type: cells.get::<String>(7)?.into(),
        schema_version: cells.number(8)?,
        payload: Bytes::from(cells.get::<Vec<u8>>(9)?),
        key_id: cells.get(10)?,
        actor_type: cells.get::<String>(11)?.into(),
        actor_id: cells.get(12)?,
        causation_id: cells.optional_uuid(13)?.map(EventId::from_uuid),
        correlation_id: cells.get(14)?,
        occurred_at: Timestamp::from_micros(cells.get(15)?),
        recorded_at: Timestamp::from_micros(cells.get(16)?),
        leaf_hash: cells.hash(17)?,
    }))
}

/// A former command from the columns of `command_columns`.
pub(super) fn command(row: &SqliteRow) -> Result<FormerCommand, StoreError> {
    let cells =
        Cells { row, position: row.try_get::<i64, _>(6).map_err(unreadable)?.max(0) as u64 };
    Ok(FormerCommand {
        request_hash: cells.hash(1)?,
        expires_at: Timestamp::from_micros(cells.get(7)?),
        appended: Appended {
            stream: StreamId {
                tenant: TenantId::from_uuid(cells.uuid(0)?),
                kind: cells.kind(2)?,
                id: cells.get(3)?,
            },
            first_version: cells.number(4)?,
            last_version: cells.number(5)?,
            last_position: Some(Position::new(cells.position)),
            replayed: true,
        },
    })
}

/// A row of which each cell must be what was written.
struct Cells<'a> {
    row: &'a SqliteRow,
    position: u64,
}

impl<'a> Cells<'a> {
    fn get<T: Decode<'a, Sqlite> + Type<Sqlite>>(&self, column: usize) -> Result<T, StoreError> {
        self.row.try_get(column).map_err(unreadable)
    }

    fn number<T: TryFrom<i64>>(&self, column: usize) -> Result<T, StoreError> {
        T::try_from(self.get(column)?).map_err(|_| self.damaged("a number out of its range"))
    }

    fn uuid(&self, column: usize) -> Result<Uuid, StoreError> {
        Uuid::from_slice(self.get(column)?).map_err(|_| self.damaged("an id that is no UUID"))
    }

    fn optional_uuid(&self, column: usize) -> Result<Option<Uuid>, StoreError> {
        let bytes: Option<&[u8]> = self.get(column)?;
        let parsed = bytes.map(Uuid::from_slice).transpose();
        parsed.map_err(|_| self.damaged("an id that is no UUID"))
    }

    fn kind(&self, column: usize) -> Result<StreamKind, StoreError> {
        let text: &str = self.get(column)?;
        text.parse().map_err(|_| self.damaged("a kind of stream that this build does not know"))
    }

    fn hash(&self, column: usize) -> Result<[u8; 32], StoreError> {
        let bytes: &[u8] = self.get(column)?;
        bytes.try_into().map_err(|_| self.damaged("a digest that has not 32 bytes"))
    }

    fn damaged(&self, what: &'static str) -> StoreError {
        StoreError::Damaged { position: self.position, what }
    }
}

/// A read that failed.
pub(super) fn unreadable(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::PoolClosed => StoreError::Closed,
        error => StoreError::Unavailable {
            reason: "the database cannot be read",
            cause: Some(Arc::new(error)),
        },
    }
}

/// An id as it is stored.
pub(super) fn blob(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// The tenant of a set as it is stored: empty for a set over all tenants.
pub(super) fn set_tenant(set: &ReservationSet) -> Vec<u8> {
    set.tenant().map_or_else(Vec::new, |tenant| blob(tenant.as_uuid()))
}

/// A position, version or count as it is stored. Numbers of the log never reach the far end.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
