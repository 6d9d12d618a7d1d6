//! What is written is what is read, and what cannot be read is refused by name.

use events::{DecodeError, EventType, decode, encode};
use proptest::prelude::*;
use proptest::sample::select;

use crate::arbitrary;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn decode_undoes_encode(event in arbitrary::event()) {
        let encoded = encode(&event);
        let decoded = decode(encoded.event_type, encoded.schema_version, &encoded.payload);
        prop_assert_eq!(decoded.unwrap(), event);
    }

    #[test]
    fn the_type_says_in_which_kind_of_stream_an_event_is(event in arbitrary::event()) {
        let event_type: EventType = encode(&event).event_type.parse().unwrap();
        let variant = format!("{event:?}").split('(').next().unwrap_or_default().to_lowercase();
        prop_assert_eq!(variant, event_type.kind().as_str().replace('_', ""));
    }

    #[test]
    fn no_bytes_make_decode_panic(
        event_type in select(EventType::ALL),
        version in 0..3_u32,
        payload in prop_oneof![
            any::<Vec<u8>>(),
            "\\{(\"(project|user|role|name|config|hash)\":(\"[a-z]{0,3}\"|7|null|\\{\\}),?){0,3}\\}"
                .prop_map(String::into_bytes),
        ],
    ) {
        let _ = decode(event_type.as_str(), version, &payload);
    }
}

#[test]
fn a_later_versions_events_are_refused_as_such() {
    let unknown = decode("server.exploded", 1, b"{}").unwrap_err();
    assert!(matches!(unknown, DecodeError::UnknownType(_)) && unknown.is_newer(), "{unknown}");
    assert!(unknown.to_string().contains("server.exploded"));

    let newer = decode("server.deleted", 2, b"{}").unwrap_err();
    assert!(matches!(newer, DecodeError::NewerVersion { version: 2, known: 1, .. }), "{newer}");
    assert!(newer.is_newer());
}

#[test]
fn a_version_before_the_first_is_refused() {
    let error = decode("server.deleted", 0, b"{}").unwrap_err();
    assert!(matches!(error, DecodeError::NoUpcaster { version: 0, .. }), "{error}");
}

#[test]
fn a_damaged_payload_is_refused_without_its_values() {
    let malformed = decode("server.renamed", 1, b"{\"name\":").unwrap_err();
    assert!(matches!(malformed, DecodeError::Malformed { .. }) && !malformed.is_newer());

    let cases = [
        ("server.renamed", r#"{"name":"s3cr3t/"}"#, "name"),
        ("project.member_added", r#"{"user":"s3cr3t","role":"ROLE_OWNER"}"#, "user"),
        ("project.member_added", r#"{"user":"0198c0de-0000-7000-8000-000000000001"}"#, "role"),
        ("server.reconfigured", "{}", "config"),
        ("project.changed", r#"{"unifiedEnabled":true}"#, "audit_mode"),
        ("connection.state_observed", r#"{"project":"p"}"#, "state"),
    ];
    for (event_type, payload, field) in cases {
        let error = decode(event_type, 1, payload.as_bytes()).unwrap_err();
        let DecodeError::Invalid { source, .. } = &error else { panic!("{event_type}: {error}") };
        assert_eq!(source.field, field);
        assert!(!error.to_string().contains("s3cr3t"), "{error}");
    }
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let event = decode("server.renamed", 1, br#"{"name":"files","since":"then"}"#).unwrap();
    assert_eq!(event, decode("server.renamed", 1, br#"{"name":"files"}"#).unwrap());
}
