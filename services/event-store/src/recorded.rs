//! What is read from the store.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};

/// A place in the log. The first event has position 1; [`Position::START`] is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// The position of the `number`-th event.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// How many events there are up to and with this position.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its place over all tenants.
    pub position: Position,
    /// Its place among its tenant's events: from 1, without gaps.
    pub tenant_position: u64,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its place in the stream: from 1, without gaps.
    pub version: u64,
    /// Its id, unique in its tenant.
    pub event_id: EventId,
    /// What happened, e.g. `server.registered`.
    pub event_type: Cow<'static, str>,
    /// The version of the payload's form.
    pub schema_version: u32,
    /// The bytes as they were given.
    pub payload: Bytes,
    /// When it happened, by the clock of who saw it.
    pub occurred_at: Timestamp,
    /// When it was recorded: never before the event at the position before.
    pub recorded_at: Timestamp,
    /// What kind of actor did it.
    pub actor_type: Cow<'static, str>,
    /// Which one.
    pub actor_id: String,
    /// The event that this one follows from.
    pub causation_id: Option<EventId>,
    /// What ties it to others of the same request.
    pub correlation_id: Option<String>,
    /// The key under which the payload is sealed; `None` for plain payloads.
    pub key_id: Option<String>,
    /// The digest of the event, see [`leaf_hash`](crate::leaf_hash).
    pub leaf_hash: [u8; 32],
}

/// Which events a read or a subscription is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadFilter {
    /// Only this tenant's; `None` for all tenants: for projections and publishers, never for a
    /// request.
    pub tenant: Option<TenantId>,
    /// Only these kinds of streams; `None` for all, an empty list for none.
    pub kinds: Option<Vec<StreamKind>>,
}

impl ReadFilter {
    /// Every event.
    pub fn all() -> Self {
        Self::default()
    }

    /// Every event of `tenant`.
    pub fn of_tenant(tenant: TenantId) -> Self {
        Self { tenant: Some(tenant), kinds: None }
    }

    /// The events from which edges and workers build their projections.
    pub fn configuration() -> Self {
        Self::all().kinds(StreamKind::ALL.into_iter().filter(|kind| kind.is_configuration()))
    }

    /// The same, of `kinds` only.
    #[must_use]
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = StreamKind>) -> Self {
        self.kinds = Some(kinds.into_iter().collect());
        self
    }

    /// Whether the filter lets `event` through.
    pub fn admits(&self, event: &Recorded) -> bool {
        self.tenant.is_none_or(|tenant| tenant == event.stream.tenant)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.stream.kind))
    }
}

/// A part of the log, in the order of positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events that the filter lets through.
    pub events: Vec<Arc<Recorded>>,
    /// Read on after this one. Past every event of the page, and past those that the filter
    /// kept out; at the head of the log when the page is the last one for now.
    pub next: Position,
}
