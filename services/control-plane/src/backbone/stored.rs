//! Events of the log as messages.

use event_store::{Position, Recorded};
use proto::internal::v1;

/// The message of an event; `previous` is the position of the configuration event before it.
pub(super) fn message(event: &Recorded, previous: Position) -> v1::StoredEvent {
    v1::StoredEvent {
        position: event.position.as_u64(),
        tenant: event.stream.tenant.to_string(),
        kind: event.stream.kind.as_str().to_owned(),
        stream: event.stream.id.clone(),
        version: event.version,
        r#type: event.event_type.clone().into_owned(),
        schema_version: event.schema_version,
        payload: event.payload.clone(),
        recorded_at_us: event.recorded_at.as_micros(),
        event_id: event.event_id.to_string(),
        previous_configuration: previous.as_u64(),
        actor: Some(v1::Actor {
            kind: event.actor_type.clone().into_owned(),
            id: event.actor_id.clone(),
        }),
    }
}
