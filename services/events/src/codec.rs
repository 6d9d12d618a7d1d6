//! The codec: which stored message stands for which event, and its bytes.

mod access;
mod call;
mod connection;
mod identity;
mod key;
mod project;
mod server;

use std::fmt;

use bytes::Bytes;
use domain::event::{AccessEvent, CallEvent, ConnectionEvent};
use domain::{Event, InvalidId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event_type::{EventType, UnknownEventType};
use crate::upcast::{self, UPCASTERS};

pub use access::{access_denied, read_access_denied};
pub use call::{
    call_finished, call_started, outcome, read_call_finished, read_call_started, read_outcome,
};
pub use connection::{
    catalogue_observed, read_catalogue_observed, read_state_observed, state_observed,
};

/// An event as it is written: what [`decode`] takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// E.g. `server.registered`.
    pub event_type: &'static str,
    /// The version of the payload's form, from 1.
    pub schema_version: u32,
    /// The JSON mapping of the stored message.
    pub payload: Bytes,
}

/// A field of a stored message that holds what it never should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field {field} {problem}")]
pub struct InvalidField {
    /// The field's name in the message's definition.
    pub field: &'static str,
    /// What is wrong with it, without its value.
    pub problem: &'static str,
}

impl InvalidField {
    pub(crate) const fn new(field: &'static str, problem: &'static str) -> Self {
        Self { field, problem }
    }

    pub(crate) const fn missing(field: &'static str) -> Self {
        Self::new(field, "is missing")
    }
}

/// Why a stored event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A later version of the program wrote it: upgrade this one.
    #[error("{0}: it was written by a later version")]
    UnknownType(#[from] UnknownEventType),
    /// As `UnknownType`, but only the form is newer.
    #[error("{event_type} version {version} is newer than {known}, the newest one known")]
    NewerVersion {
        /// The type.
        event_type: EventType,
        /// The version that was found.
        version: u32,
        /// The version that is written now.
        known: u32,
    },
    /// An old version without an upcaster: a fault of ours, or a damaged log.
    #[error("{event_type} version {version} cannot be lifted to the version after it")]
    NoUpcaster {
        /// The type.
        event_type: EventType,
        /// The version from which no way leads on.
        version: u32,
    },
    /// The bytes are not the JSON mapping of the message: the log is damaged.
    #[error("the payload of {event_type} cannot be read")]
    Malformed {
        /// The type.
        event_type: EventType,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The message has a value that no event can have: the log is damaged.
    #[error("the payload of {event_type} is invalid: {source}")]
    Invalid {
        /// The type.
        event_type: EventType,
        /// Which value.
        source: InvalidField,
    },
}

impl DecodeError {
    /// Whether a later version of the program wrote the event, so that it is no fault of the log.
    pub const fn is_newer(&self) -> bool {
        matches!(self, Self::UnknownType(_) | Self::NewerVersion { .. })
    }
}

/// The stored form of an event.
pub fn encode(event: &Event) -> Encoded {
    match event {
        Event::Organization(event) => identity::encode_organization(event),
        Event::User(event) => identity::encode_user(event),
        Event::Login(event) => identity::encode_login(event),
        Event::Project(event) => project::encode(event),
        Event::Server(event) => server::encode(event),
        Event::ApiKey(event) => key::encode(event),
        Event::Connection(ConnectionEvent::StateObserved { project, observation }) => {
            write(EventType::ConnectionStateObserved, &state_observed(project, observation))
        }
        Event::Connection(ConnectionEvent::CatalogueObserved { project, summary }) => {
            write(EventType::ConnectionCatalogueObserved, &catalogue_observed(project, summary))
        }
        Event::Call(CallEvent::Started(event)) => {
            write(EventType::CallStarted, &call_started(event))
        }
        Event::Call(CallEvent::Finished(event)) => {
            write(EventType::CallFinished, &call_finished(event))
        }
        Event::Access(AccessEvent::Denied { project, action, reason, target }) => {
            write(EventType::AccessDenied, &access_denied(project.as_ref(), action, reason, target))
        }
        Event::Access(AccessEvent::ConfigRevealed { project, servers }) => {
            write(EventType::AccessConfigRevealed, &access::config_revealed(project, servers))
        }
    }
}

/// The event that was written, whatever known version it was written in.
///
/// # Errors
/// See [`DecodeError`]; none of its texts holds a value of the payload.
pub fn decode(event_type: &str, schema_version: u32, payload: &[u8]) -> Result<Event, DecodeError> {
    let event_type: EventType = event_type.parse()?;
    let known = event_type.schema_version();
    if schema_version == known {
        return read(event_type, Payload::Stored(payload));
    }
    if schema_version > known {
        return Err(DecodeError::NewerVersion { event_type, version: schema_version, known });
    }
    let old = serde_json::from_slice(payload)
        .map_err(|source| DecodeError::Malformed { event_type, source })?;
    let lifted = upcast::lift(UPCASTERS, event_type, schema_version, known, old)?;
    read(event_type, Payload::Lifted(lifted))
}

/// A payload of the current version.
enum Payload<'a> {
    Stored(&'a [u8]),
    Lifted(serde_json::Value),
}

impl Payload<'_> {
    fn message<M: DeserializeOwned>(self, event_type: EventType) -> Result<M, DecodeError> {
        match self {
            Self::Stored(bytes) => serde_json::from_slice(bytes),
            Self::Lifted(value) => serde_json::from_value(value),
        }
        .map_err(|source| DecodeError::Malformed { event_type, source })
    }
}

/// Reads the message of `event_type` and maps it.
fn read(event_type: EventType, payload: Payload<'_>) -> Result<Event, DecodeError> {
    macro_rules! map {
        ($mapper:path) => {
            $mapper(payload.message(event_type)?)
        };
    }
    let event = match event_type {
        EventType::OrganizationCreated => map!(identity::read_organization_created),
        EventType::OrganizationMemberAdded => map!(identity::read_organization_member_added),
        EventType::UserRegistered => map!(identity::read_user_registered),
        EventType::UserPasswordChanged => map!(identity::read_user_password_changed),
        EventType::LoginSucceeded => map!(identity::read_login_succeeded),
        EventType::LoginFailed => map!(identity::read_login_failed),
        EventType::ProjectCreated => map!(project::read_created),
        EventType::ProjectChanged => map!(project::read_changed),
        EventType::ProjectMemberAdded => map!(project::read_member_added),
        EventType::ProjectMemberRoleChanged => map!(project::read_member_role_changed),
        EventType::ProjectMemberRemoved => map!(project::read_member_removed),
        EventType::ProjectDeleted => map!(project::read_deleted),
        EventType::ServerRegistered => map!(server::read_registered),
        EventType::ServerReconfigured => map!(server::read_reconfigured),
        EventType::ServerRenamed => map!(server::read_renamed),
        EventType::ServerEnabled => map!(server::read_enabled),
        EventType::ServerDisabled => map!(server::read_disabled),
        EventType::ServerToolDisabled => map!(server::read_tool_disabled),
        EventType::ServerToolEnabled => map!(server::read_tool_enabled),
        EventType::ServerToolApproved => map!(server::read_tool_approved),
        EventType::ServerDeleted => map!(server::read_deleted),
        EventType::ConnectionStateObserved => map!(read_state_observed),
        EventType::ConnectionCatalogueObserved => map!(read_catalogue_observed),
        EventType::ApiKeyIssued => map!(key::read_issued),
        EventType::ApiKeyRevoked => map!(key::read_revoked),
        EventType::CallStarted => map!(read_call_started),
        EventType::CallFinished => map!(read_call_finished),
        EventType::AccessDenied => map!(read_access_denied),
        EventType::AccessConfigRevealed => map!(access::read_config_revealed),
    };
    event.map_err(|source| DecodeError::Invalid { event_type, source })
}

/// The bytes of a message of `event_type`'s current version.
fn write<M: Serialize + fmt::Debug>(event_type: EventType, message: &M) -> Encoded {
    let payload = serde_json::to_vec(message).unwrap_or_else(|error| {
        // Only an enum number outside its definition fails, and the mappings write names.
        unreachable!("{event_type} has no JSON mapping: {error}")
    });
    Encoded {
        event_type: event_type.as_str(),
        schema_version: event_type.schema_version(),
        payload: payload.into(),
    }
}

/// Reads an id out of a message's field.
fn id<T: std::str::FromStr<Err = InvalidId>>(
    field: &'static str,
    text: &str,
) -> Result<T, InvalidField> {
    text.parse().map_err(|_| InvalidField::new(field, "is no such id"))
}

/// An absent text is stored as an empty one.
fn optional(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
