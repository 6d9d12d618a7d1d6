//! Entries travel unchanged, and only what may be journaled does.

use backplane::entry::{Body, Entry, InvalidEntry};
use bytes::Bytes;
use domain::call::{CallFinished, CallOutcome, CallStarted, CallSubject};
use domain::connection::{CatalogueSummary, ConnectionState, Observation};
use domain::event::{AccessEvent, CallEvent, ConnectionEvent, ServerEvent};
use domain::{
    Actor, ApiKeyId, Event, EventId, ServerId, StreamId, StreamKind, TenantId, Timestamp,
};
use prost::Message;
use proto::internal::v1::{self, JournalEntry};
use uuid::Uuid;

fn entry(kind: StreamKind, event: Event, body: Body) -> Entry {
    Entry {
        stream: StreamId::new(TenantId::from_uuid(Uuid::from_u128(1)), kind, "search"),
        event_id: EventId::from_uuid(Uuid::from_u128(2)),
        occurred_at: Timestamp::from_micros(1_795_000_000_000_000),
        actor: Actor::ApiKey(ApiKeyId::from_uuid(Uuid::from_u128(3))),
        epoch: 7,
        event,
        body,
    }
}

fn subject() -> CallSubject {
    CallSubject {
        project: "search".parse().unwrap(),
        server: ServerId::from_uuid(Uuid::from_u128(4)),
        server_name: "files".to_owned(),
        method: "tools/call".to_owned(),
        target: "read".to_owned(),
        api_key: None,
        started_at: Timestamp::from_micros(9),
    }
}

fn finished() -> Event {
    Event::Call(CallEvent::Finished(CallFinished {
        subject: subject(),
        outcome: CallOutcome::ToolError,
        error_code: 0,
        queue_us: 1,
        upstream_us: 2,
        total_us: 4,
        arguments_bytes: 2,
        result_bytes: 3,
        arguments_digest: String::new(),
        result_digest: String::new(),
        body_truncated: false,
        body_masked: true,
        client: "cursor".to_owned(),
        mcp_session: "s".to_owned(),
        attempts: 1,
    }))
}

fn all() -> Vec<Entry> {
    let project = || "search".parse().unwrap();
    let observation = Observation { state: ConnectionState::Active, ..Observation::default() };
    let summary = CatalogueSummary { hash: "ab".to_owned(), tools: 3, ..Default::default() };
    let observed = ConnectionEvent::StateObserved { project: project(), observation };
    let catalogue = ConnectionEvent::CatalogueObserved { project: project(), summary };
    let denied = AccessEvent::Denied {
        project: Some(project()),
        action: "mcp.call".to_owned(),
        reason: "PERMISSION_DENIED".to_owned(),
        target: "files__read".to_owned(),
    };
    let body =
        Body::Call { arguments: Bytes::from_static(b"{}"), result: Bytes::from_static(b"[1]") };
    let started = CallEvent::Started(CallStarted { subject: subject(), edge: "edge-1".to_owned() });
    vec![
        entry(StreamKind::Call, Event::Call(started), Body::None),
        entry(StreamKind::Call, finished(), body),
        entry(StreamKind::Access, Event::Access(denied), Body::None),
        entry(StreamKind::Connection, Event::Connection(observed), Body::None),
        entry(
            StreamKind::Connection,
            Event::Connection(catalogue),
            Body::Catalogue(Bytes::from_static(b"{\"tools\":[]}")),
        ),
    ]
}

#[test]
fn an_entry_is_the_same_at_the_other_end() {
    for sent in all() {
        let bytes = sent.clone().into_message().unwrap().encode_to_vec();
        let received = Entry::from_message(JournalEntry::decode(bytes.as_slice()).unwrap());
        assert_eq!(received, Ok(sent));
    }
}

#[test]
fn only_what_is_seen_is_journaled() {
    let deleted = Event::Server(ServerEvent::Deleted);
    let refused = entry(StreamKind::Server, deleted, Body::None).into_message();
    assert_eq!(refused, Err(InvalidEntry::NotJournaled));
    let revealed =
        AccessEvent::ConfigRevealed { project: "search".parse().unwrap(), servers: vec![] };
    let refused = entry(StreamKind::Access, Event::Access(revealed), Body::None).into_message();
    assert_eq!(refused, Err(InvalidEntry::NotJournaled));
}

#[test]
fn an_event_goes_into_a_stream_of_its_kind() {
    let refused = entry(StreamKind::Server, finished(), Body::None).into_message();
    assert_eq!(refused, Err(InvalidEntry::OtherStream));
}

#[test]
fn a_message_that_breaks_a_rule_is_refused() {
    let good = || all().remove(1).into_message().unwrap();
    assert!(Entry::from_message(good()).is_ok());
    let bad = [
        JournalEntry { event: None, ..good() },
        JournalEntry { tenant: String::new(), ..good() },
        JournalEntry { event_id: "1".to_owned(), ..good() },
        JournalEntry {
            actor: Some(v1::Actor { kind: "robot".to_owned(), id: String::new() }),
            ..good()
        },
        JournalEntry {
            event: Some(v1::journal_entry::Event::CallFinished(v1::CallRecord::default())),
            ..good()
        },
        JournalEntry {
            event: Some(v1::journal_entry::Event::CallStarted(Default::default())),
            ..good()
        },
    ];
    for message in bad {
        assert!(Entry::from_message(message.clone()).is_err(), "{message:?}");
    }
    let of_nobody = Entry::from_message(JournalEntry { actor: None, ..good() }).unwrap();
    assert_eq!(of_nobody.actor, Actor::System);
}
