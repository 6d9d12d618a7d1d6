//! Payloads that were written once are read for ever.
//!
//! `tests/golden/<type>.v<version>.json` holds the bytes of an event of each version there was.
//! A file is added for a new type or version and never changed again. For fields that came later
//! within a version there is `<type>.v<version>.<field>.json` besides.

use std::collections::BTreeSet;
use std::path::PathBuf;

use domain::Event;
use events::{EventType, decode, encode};

use crate::sample;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn file_name(event_type: EventType, version: u32) -> String {
    format!("{event_type}.v{version}.json")
}

/// The events of which there is a file in today's form, with its name.
fn written_now() -> Vec<(EventType, String, Event)> {
    let of_types = EventType::ALL.iter().map(|&event_type| {
        let name = file_name(event_type, event_type.schema_version());
        (event_type, name, sample::event(event_type))
    });
    let later = sample::later().into_iter().map(|(event_type, field, event)| {
        let name = format!("{event_type}.v{}.{field}.json", event_type.schema_version());
        (event_type, name, event)
    });
    of_types.chain(later).collect()
}

#[test]
fn each_type_is_written_as_its_golden_file_says() {
    let mut written = Vec::new();
    for (event_type, name, event) in written_now() {
        let encoded = encode(&event);
        assert_eq!(encoded.event_type, event_type.as_str());
        assert_eq!(encoded.schema_version, event_type.schema_version());
        let path = folder().join(name);
        match std::fs::read(&path) {
            Ok(golden) => {
                let now = String::from_utf8_lossy(&encoded.payload);
                assert_eq!(now, String::from_utf8_lossy(&golden).trim_end(), "{event_type}");
            }
            Err(_) => {
                std::fs::write(&path, [encoded.payload.as_ref(), b"\n"].concat()).unwrap();
                written.push(path);
            }
        }
    }
    assert!(written.is_empty(), "new golden files: look at them and run again: {written:#?}");
}

#[test]
fn every_version_that_was_ever_written_is_read() {
    for &event_type in EventType::ALL {
        for version in 1..=event_type.schema_version() {
            let path = folder().join(file_name(event_type, version));
            let golden = std::fs::read(&path).unwrap_or_else(|_| panic!("{path:?} is missing"));
            let event = decode(event_type.as_str(), version, &golden).unwrap();
            assert_eq!(event, sample::event(event_type), "{path:?}");
        }
    }
    for (event_type, name, expected) in written_now() {
        let golden = std::fs::read(folder().join(&name)).unwrap();
        let event = decode(event_type.as_str(), event_type.schema_version(), &golden).unwrap();
        assert_eq!(event, expected, "{name}");
    }
}

#[test]
fn there_is_no_golden_file_besides() {
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let known = EventType::ALL.iter().flat_map(|event_type| {
        (1..=event_type.schema_version()).map(|version| file_name(*event_type, version))
    });
    let later = written_now().into_iter().map(|(_, name, _)| name);
    assert_eq!(found, known.chain(later).collect());
}
