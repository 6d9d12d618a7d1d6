//! The digest of one event, from which proofs over the log are built.

use ring::digest::{Context, SHA256};

use crate::recorded::Recorded;

/// The form of the envelope that is hashed; a change of the form changes this number.
const ENVELOPE_FORM: u8 = 1;

/// SHA-256 of a zero byte (the mark of a leaf in RFC 6962, 2.1) and the event's envelope.
///
/// The envelope has every field of the event but its positions and the digest itself: the
/// order of events is proven by the tree over the leaves. Numbers are big-endian; texts and
/// bytes are preceded by their length in 8 bytes; an optional field is preceded by 0 or 1.
pub fn leaf_hash(event: &Recorded) -> [u8; 32] {
    let mut envelope = Envelope(Context::new(&SHA256));
    envelope.raw(&[0, ENVELOPE_FORM]);
    envelope.raw(event.stream.tenant.as_uuid().as_bytes());
    envelope.text(event.stream.kind.as_str());
    envelope.text(&event.stream.id);
    envelope.raw(&event.version.to_be_bytes());
    envelope.raw(event.event_id.as_uuid().as_bytes());
    envelope.text(&event.event_type);
    envelope.raw(&event.schema_version.to_be_bytes());
    envelope.raw(&event.occurred_at.as_micros().to_be_bytes());
    envelope.raw(&event.recorded_at.as_micros().to_be_bytes());
    envelope.text(&event.actor_type);
    envelope.text(&event.actor_id);
    let causation = event.causation_id.map(|id| *id.as_uuid().as_bytes());
    envelope.optional(causation.as_ref().map(<[u8; 16]>::as_slice));
    envelope.optional(event.correlation_id.as_deref().map(str::as_bytes));
    envelope.optional(event.key_id.as_deref().map(str::as_bytes));
    envelope.sized(&event.payload);
    envelope.finish()
}

struct Envelope(Context);

impl Envelope {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.raw(&(bytes.len() as u64).to_be_bytes());
        self.raw(bytes);
    }

    fn text(&mut self, text: &str) {
        self.sized(text.as_bytes());
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        self.raw(&[u8::from(bytes.is_some())]);
        if let Some(bytes) = bytes {
            self.sized(bytes);
        }
    }

    fn finish(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        hash
    }
}

#[cfg(test)]
mod tests {
    use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::recorded::Position;

    fn event() -> Recorded {
        let tenant = TenantId::from_uuid(Uuid::from_u128(1));
        Recorded {
            position: Position::new(8),
            tenant_position: 5,
            stream: StreamId::new(tenant, StreamKind::Server, "a"),
            version: 3,
            event_id: EventId::from_uuid(Uuid::from_u128(2)),
            event_type: "server.registered".into(),
            schema_version: 1,
            payload: r#"{"name":"time"}"#.into(),
            occurred_at: Timestamp::from_micros(10),
            recorded_at: Timestamp::from_micros(11),
            actor_type: "user".into(),
            actor_id: "ada".to_owned(),
            causation_id: Some(EventId::from_uuid(Uuid::from_u128(4))),
            correlation_id: None,
            key_id: None,
            leaf_hash: [0; 32],
        }
    }

    /// The expected digest was computed from the description alone, by another program.
    #[test]
    fn the_envelope_has_the_described_form() {
        let hex: String = leaf_hash(&event()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "c22eb6bedbe80bd6321bee5100972aaf5efa7df72b1b4036672ed5343f866dfc");
    }

    #[test]
    fn every_field_counts() {
        let changes: [fn(&mut Recorded); 16] = [
            |event| event.stream.tenant = TenantId::from_uuid(Uuid::from_u128(2)),
            |event| event.stream.kind = StreamKind::Call,
            |event| event.stream.id = "b".to_owned(),
            |event| event.version = 4,
            |event| event.event_id = EventId::from_uuid(Uuid::from_u128(9)),
            |event| event.event_type = "server.removed".into(),
            |event| event.schema_version = 2,
            |event| event.payload = "{}".into(),
            |event| event.occurred_at = Timestamp::from_micros(12),
            |event| event.recorded_at = Timestamp::from_micros(12),
            |event| event.actor_type = "key".into(),
            |event| event.actor_id = "eve".to_owned(),
            |event| (event.actor_type, event.actor_id) = ("usera".into(), "da".to_owned()),
            |event| event.causation_id = None,
            |event| event.correlation_id = Some(String::new()),
            |event| event.key_id = Some(String::new()),
        ];
        for change in changes {
            let mut changed = event();
            change(&mut changed);
            assert_ne!(leaf_hash(&changed), leaf_hash(&event()), "{changed:?}");
        }
    }

    #[test]
    fn positions_do_not_count() {
        let moved = Recorded { position: Position::new(9), tenant_position: 6, ..event() };
        assert_eq!(leaf_hash(&moved), leaf_hash(&event()));
    }
}
