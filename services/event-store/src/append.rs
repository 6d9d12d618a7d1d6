//! What is given to the store, and what it answers.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use domain::{EventId, StreamId, TenantId, Timestamp};

use crate::recorded::Position;

/// Events for one stream, and what must hold and change together with them.
///
/// All of it is written or none of it.
#[derive(Debug, Clone)]
pub struct Append {
    /// The stream that gets the events.
    pub stream: StreamId,
    /// The version the stream must have.
    pub expected: Expected,
    /// At least one, at most [`MAX_EVENTS_PER_APPEND`](crate::MAX_EVENTS_PER_APPEND).
    pub events: Vec<NewEvent>,
    /// The key of the command behind the append, if it has one.
    pub idempotency: Option<Idempotency>,
    /// Made in this order, after the version check.
    pub reservations: Vec<ReservationChange>,
    /// Refused when this lease has gone on to another holder; `None` asks nothing.
    pub fence: Option<Fence>,
}

impl Append {
    /// An append without an idempotency key, reservations and a fence.
    pub fn new(stream: StreamId, expected: Expected, events: Vec<NewEvent>) -> Self {
        let reservations = Vec::new();
        Self { stream, expected, events, idempotency: None, reservations, fence: None }
    }

    /// Bytes of payloads and bodies: what the append costs to hold and to write.
    pub fn weight(&self) -> usize {
        let of_body = |event: &NewEvent| event.body.as_ref().map_or(0, |body| body.bytes.len());
        self.events.iter().map(|event| event.payload.len() + of_body(event)).sum()
    }
}

/// What a writer must still hold for its append to be made: a [`Lease`](crate::Lease).
///
/// The epoch counts, not the time: an append is refused from the moment on at which another
/// took the lease, and not before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The name of the lease.
    pub lease: String,
    /// The epoch that the writer was granted.
    pub epoch: u64,
}

/// The version a stream must have for an append to be made. An empty stream has version 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Any version.
    Any,
    /// No event yet; the same as `Exactly(0)`.
    NoStream,
    /// This version.
    Exactly(u64),
}

impl Expected {
    /// Whether a stream at `version` fits.
    pub fn admits(self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => version == 0,
            Self::Exactly(expected) => version == expected,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream => f.write_str("version 0"),
            Self::Exactly(version) => write!(f, "version {version}"),
        }
    }
}

/// An event that is not in the log yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Unique in its tenant. The same id with the same content in the same stream is one event.
    pub id: EventId,
    /// What happened, e.g. `server.registered`.
    pub event_type: Cow<'static, str>,
    /// The version of the payload's form, from 1.
    pub schema_version: u32,
    /// Stored and hashed exactly as given. Never a secret.
    pub payload: Bytes,
    /// When it happened, by the clock of who saw it.
    pub occurred_at: Timestamp,
    /// What kind of actor did it, e.g. `user` or `api_key`.
    pub actor_type: Cow<'static, str>,
    /// Which one; may be empty where the type says it all.
    pub actor_id: String,
    /// The event that this one follows from.
    pub causation_id: Option<EventId>,
    /// What ties it to others of the same request.
    pub correlation_id: Option<String>,
    /// What may be deleted later, kept beside the event.
    pub body: Option<Body>,
}

/// Bytes beside an event, that may be deleted while the event stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// At most [`MAX_BODY_BYTES`](crate::MAX_BODY_BYTES).
    pub bytes: Bytes,
    /// How long.
    pub retention: Retention,
}

/// How long a body is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Until it is destroyed by its event's id.
    Forever,
    /// Not readable from this time on, and deleted soon after.
    Until(Timestamp),
}

/// Makes a command that is sent twice one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key, unique in its tenant.
    pub key: String,
    /// The digest of the request: the same key with another digest is refused.
    pub request_hash: [u8; 32],
    /// From this time on the key is free again.
    pub expires_at: Timestamp,
}

/// A named set in which each value has at most one holder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReservationSet {
    tenant: Option<TenantId>,
    name: Cow<'static, str>,
}

impl ReservationSet {
    /// A set over all tenants, e.g. of project ids.
    pub fn global(name: impl Into<Cow<'static, str>>) -> Self {
        Self { tenant: None, name: name.into() }
    }

    /// A set of one tenant. Only appends to streams of that tenant may change it.
    pub fn of_tenant(tenant: TenantId, name: impl Into<Cow<'static, str>>) -> Self {
        Self { tenant: Some(tenant), name: name.into() }
    }

    /// The tenant, or `None` for a set over all tenants.
    pub fn tenant(&self) -> Option<TenantId> {
        self.tenant
    }

    /// The name of the set.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ReservationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tenant {
            Some(tenant) => write!(f, "{tenant}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A change of one value's holder. Values are compared byte by byte: fold case before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReservationChange {
    /// Takes the value; refused when another holder has it, nothing when `holder` has it.
    Take {
        /// The set.
        set: ReservationSet,
        /// The value.
        value: String,
        /// Who gets it.
        holder: String,
    },
    /// Frees the value; refused when another holder has it, nothing when nobody has it.
    Release {
        /// The set.
        set: ReservationSet,
        /// The value.
        value: String,
        /// Who has it.
        holder: String,
    },
}

/// An append that is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The stream; for a replayed command the one it went to the first time.
    pub stream: StreamId,
    /// The version of the first event.
    pub first_version: u64,
    /// The version of the last event.
    pub last_version: u64,
    /// The position of the last event, where it is known already. See
    /// [`EventStore::wait_position`](crate::EventStore::wait_position).
    pub last_position: Option<Position>,
    /// Whether the events were there before, by idempotency key or by their ids.
    pub replayed: bool,
}
