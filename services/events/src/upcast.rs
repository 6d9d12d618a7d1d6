//! Upcasters: from the form of one schema version to the next, on the stored JSON.
//!
//! A payload is never rewritten where it is stored. It is lifted when it is read, one version at
//! a time, so that an upcaster is written once and never touched again.

use serde_json::Value;

use crate::codec::DecodeError;
use crate::event_type::EventType;

/// One step.
pub(crate) struct Upcaster {
    /// Of which type.
    pub(crate) event_type: EventType,
    /// Lifts from this version to the one after it.
    pub(crate) from: u32,
    /// Changes the JSON; must not fail, whatever it is given.
    pub(crate) lift: fn(Value) -> Value,
}

/// All steps there are. None yet: every type is in its first version.
pub(crate) const UPCASTERS: &[Upcaster] = &[];

/// Lifts `payload` from version `from` to version `to`.
pub(crate) fn lift(
    upcasters: &[Upcaster],
    event_type: EventType,
    from: u32,
    to: u32,
    payload: Value,
) -> Result<Value, DecodeError> {
    (from..to).try_fold(payload, |payload, version| {
        let step = upcasters
            .iter()
            .find(|step| step.event_type == event_type && step.from == version)
            .ok_or(DecodeError::NoUpcaster { event_type, version })?;
        Ok((step.lift)(payload))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STEPS: &[Upcaster] = &[
        Upcaster {
            event_type: EventType::ServerRenamed,
            from: 1,
            lift: |old| json!({ "title": old["name"] }),
        },
        Upcaster {
            event_type: EventType::ServerRenamed,
            from: 2,
            lift: |old| json!({ "titles": [old["title"]] }),
        },
    ];

    #[test]
    fn a_payload_is_lifted_version_by_version() {
        let lift = |from, to, old| lift(STEPS, EventType::ServerRenamed, from, to, old).unwrap();
        assert_eq!(lift(1, 3, json!({ "name": "a" })), json!({ "titles": ["a"] }));
        assert_eq!(lift(2, 3, json!({ "title": "a" })), json!({ "titles": ["a"] }));
        assert_eq!(lift(3, 3, json!({ "titles": [] })), json!({ "titles": [] }));
    }

    #[test]
    fn a_version_without_an_upcaster_is_refused_by_name() {
        let refusal = lift(STEPS, EventType::ServerRenamed, 0, 3, json!({})).unwrap_err();
        assert!(matches!(refusal, DecodeError::NoUpcaster { version: 0, .. }), "{refusal}");
        let refusal = lift(STEPS, EventType::ServerDeleted, 1, 2, json!({})).unwrap_err();
        assert!(matches!(refusal, DecodeError::NoUpcaster { version: 1, .. }), "{refusal}");
    }
}
