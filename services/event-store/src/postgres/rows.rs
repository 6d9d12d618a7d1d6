//! Between rows and what the port knows.

use bytes::Bytes;
use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row, Type};
use uuid::Uuid;

use super::session::unreadable;
use crate::admission::FormerCommand;
use crate::append::Appended;
use crate::error::StoreError;
use crate::recorded::{Position, Recorded};

/// The columns of an event `e` and of its place `l`, in the order of [`recorded`].
macro_rules! event_columns {
    () => {
        "l.position, e.tenant_id, l.tenant_position, e.kind, e.stream_id, e.version, e.event_id, \
         e.type, e.schema_version, e.payload, e.key_id, e.actor_type, e.actor_id, \
         e.causation_id, e.correlation_id, e.occurred_at, l.recorded_at, l.leaf_hash"
    };
}
pub(super) use event_columns;

/// The place of an event `e` in the log as `l`, which may not be there yet. The offset keeps
/// the planner from anything but a look-up for each event.
macro_rules! place_of_event {
    () => {
        " LEFT JOIN LATERAL (SELECT p.position, p.tenant_position, p.recorded_at, p.leaf_hash \
         FROM log AS p WHERE p.tenant_id = e.tenant_id AND p.kind = e.kind \
         AND p.stream_id = e.stream_id AND p.version = e.version OFFSET 0) AS l ON true "
    };
}
pub(super) use place_of_event;

/// An event from the columns of `event_columns`; one without a place is at
/// [`Position::START`], recorded at no time and without a digest.
pub(super) fn recorded(row: &PgRow) -> Result<Recorded, StoreError> {
    let position: Option<i64> = row.try_get(0).map_err(unreadable)?;
    let cells = Cells { row, position: position.unwrap_or(0).max(0) as u64 };
    let hash: Option<&[u8]> = cells.get(17)?;
    Ok(Recorded {
        position: Position::new(cells.position),
        tenant_position: cells.optional_number(2)?,
        stream: StreamId {
            tenant: TenantId::from_uuid(cells.get(1)?),
            kind: cells.kind(3)?,
            id: cells.get(4)?,
        },
        version: cells.number(5)?,
        event_id: EventId::from_uuid(cells.get(6)?),
        event_type: cells.get::<String>(7)?.into(),
        schema_version: cells.number(8)?,
        payload: Bytes::from(cells.get::<Vec<u8>>(9)?),
        key_id: cells.get(10)?,
        actor_type: cells.get::<String>(11)?.into(),
        actor_id: cells.get(12)?,
        causation_id: cells.get::<Option<Uuid>>(13)?.map(EventId::from_uuid),
        correlation_id: cells.get(14)?,
        occurred_at: Timestamp::from_micros(cells.get(15)?),
        recorded_at: Timestamp::from_micros(cells.get::<Option<i64>>(16)?.unwrap_or(0)),
        leaf_hash: hash.map_or(Ok([0; 32]), |bytes| cells.hash(bytes))?,
    })
}

/// A former command from `tenant_id, request_hash, kind, stream_id, first_version,
/// last_version, expires_at` and the position of its last event, where it has one.
pub(super) fn command(row: &PgRow) -> Result<FormerCommand, StoreError> {
    let position: Option<i64> = row.try_get(7).map_err(unreadable)?;
    let cells = Cells { row, position: position.unwrap_or(0).max(0) as u64 };
    Ok(FormerCommand {
        request_hash: cells.hash(cells.get(1)?)?,
        expires_at: Timestamp::from_micros(cells.get(6)?),
        appended: Appended {
            stream: StreamId {
                tenant: TenantId::from_uuid(cells.get(0)?),
                kind: cells.kind(2)?,
                id: cells.get(3)?,
            },
            first_version: cells.number(4)?,
            last_version: cells.number(5)?,
            last_position: position.map(|_| Position::new(cells.position)),
            replayed: true,
        },
    })
}

/// A kind of stream from the text in a column.
pub(super) fn kind(row: &PgRow, column: usize) -> Result<StreamKind, StoreError> {
    Cells { row, position: 0 }.kind(column)
}

/// A row of which each cell must be what was written.
struct Cells<'a> {
    row: &'a PgRow,
    position: u64,
}

impl<'a> Cells<'a> {
    fn get<T: Decode<'a, Postgres> + Type<Postgres>>(
        &self,
        column: usize,
    ) -> Result<T, StoreError> {
        self.row.try_get(column).map_err(unreadable)
    }

    fn number<T: TryFrom<i64>>(&self, column: usize) -> Result<T, StoreError> {
        T::try_from(self.get(column)?).map_err(|_| self.damaged("a number out of its range"))
    }

    fn optional_number(&self, column: usize) -> Result<u64, StoreError> {
        let number: Option<i64> = self.get(column)?;
        u64::try_from(number.unwrap_or(0)).map_err(|_| self.damaged("a number out of its range"))
    }

    fn kind(&self, column: usize) -> Result<StreamKind, StoreError> {
        let text: &str = self.get(column)?;
        text.parse().map_err(|_| self.damaged("a kind of stream that this build does not know"))
    }

    fn hash(&self, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
        bytes.try_into().map_err(|_| self.damaged("a digest that has not 32 bytes"))
    }

    fn damaged(&self, what: &'static str) -> StoreError {
        StoreError::Damaged { position: self.position, what }
    }
}

/// A position, version or count as it is stored. Numbers of the log never reach the far end.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A stored number that is never negative.
pub(super) fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
