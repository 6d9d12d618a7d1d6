//! What the last events say, so that the projector need not read again what the journal has just
//! written.
//!
//! It is a shortcut and nothing else: bounded, forgotten when the process ends, and used only
//! where the bytes in the log are the ones that were written.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use domain::{Event, EventId};
use event_store::Recorded;

/// Most events that are kept. Beyond it nothing is added: the projector is behind.
const MAX_EVENTS: usize = 4_096;
/// Most bytes of payloads that are kept; an event in memory takes about as much again.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// See the module.
#[derive(Default)]
pub(crate) struct Decoded {
    events: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    events: HashMap<EventId, Known>,
    /// Of the payloads.
    bytes: usize,
}

impl Kept {
    fn remove(&mut self, id: EventId) -> Option<Known> {
        let known = self.events.remove(&id)?;
        self.bytes -= known.payload.len();
        Some(known)
    }
}

/// An event and its stored form.
struct Known {
    event_type: &'static str,
    schema_version: u32,
    payload: Bytes,
    event: Event,
}

impl Decoded {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what an event says that is about to be appended.
    pub(crate) fn keep(&self, id: EventId, event: Event, encoded: &events::Encoded) {
        let mut kept = self.kept();
        let bytes = kept.bytes + encoded.payload.len();
        if kept.events.len() < MAX_EVENTS && bytes <= MAX_BYTES && !kept.events.contains_key(&id) {
            kept.bytes = bytes;
            let known = Known {
                event_type: encoded.event_type,
                schema_version: encoded.schema_version,
                payload: encoded.payload.clone(),
                event,
            };
            kept.events.insert(id, known);
        }
    }

    /// Forgets an event that was not appended.
    pub(crate) fn forget(&self, id: EventId) {
        self.kept().remove(id);
    }

    /// What an event of the log says, if that is kept; it is given once.
    pub(super) fn take(&self, recorded: &Recorded) -> Option<Event> {
        let known = self.kept().remove(recorded.event_id)?;
        let same = known.event_type == recorded.event_type
            && known.schema_version == recorded.schema_version
            && known.payload == recorded.payload;
        same.then_some(known.event)
    }
}

#[cfg(test)]
mod tests {
    use domain::event::ProjectEvent;
    use domain::{StreamId, StreamKind, TenantId, Timestamp};
    use event_store::Position;
    use uuid::Uuid;

    use super::*;

    fn event(name: &str) -> Event {
        let name = Some(name.to_owned());
        Event::Project(ProjectEvent::Changed { name, description: None, settings: None })
    }

    fn id(number: u128) -> EventId {
        EventId::from_uuid(Uuid::from_u128(number))
    }

    fn recorded(number: u128, event: &Event) -> Recorded {
        let encoded = events::encode(event);
        Recorded {
            position: Position::new(1),
            tenant_position: 1,
            stream: StreamId::new(TenantId::SYSTEM, StreamKind::Project, "p"),
            version: 1,
            event_id: id(number),
            event_type: encoded.event_type.into(),
            schema_version: encoded.schema_version,
            payload: encoded.payload,
            occurred_at: Timestamp::default(),
            recorded_at: Timestamp::default(),
            actor_type: "system".into(),
            actor_id: String::new(),
            causation_id: None,
            correlation_id: None,
            key_id: None,
            leaf_hash: [0; 32],
        }
    }

    fn keep(decoded: &Decoded, number: u128, event: &Event) {
        decoded.keep(id(number), event.clone(), &events::encode(event));
    }

    #[test]
    fn an_event_is_given_once_and_only_for_the_bytes_that_were_written() {
        let decoded = Decoded::default();
        keep(&decoded, 1, &event("a"));
        assert_eq!(decoded.take(&recorded(1, &event("a"))), Some(event("a")));
        assert_eq!(decoded.take(&recorded(1, &event("a"))), None);
        // An id that stands for something else in the log.
        keep(&decoded, 2, &event("b"));
        assert_eq!(decoded.take(&recorded(2, &event("a"))), None);
        keep(&decoded, 3, &event("c"));
        decoded.forget(id(3));
        assert_eq!(decoded.take(&recorded(3, &event("c"))), None);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let decoded = Decoded::default();
        for number in 0..=MAX_EVENTS as u128 {
            keep(&decoded, number, &event("a"));
        }
        assert_eq!(decoded.kept().events.len(), MAX_EVENTS);
    }

    #[test]
    fn large_events_are_limited_in_bytes() {
        let decoded = Decoded::default();
        let large = event(&"a".repeat(1024 * 1024));
        for number in 0..20 {
            keep(&decoded, number, &large);
        }
        let kept = decoded.kept().events.len();
        assert!((1..=8).contains(&kept), "{kept}");
        // Given and forgotten ones make room.
        assert!(decoded.take(&recorded(0, &large)).is_some());
        decoded.forget(id(1));
        keep(&decoded, 100, &large);
        assert!(decoded.take(&recorded(100, &large)).is_some());
        for number in 0..20 {
            decoded.forget(id(number));
        }
        assert_eq!(decoded.kept().bytes, 0);
    }
}
