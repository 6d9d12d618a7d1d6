//! Entries of the journal: what edges and workers may write to the log, and how it travels.

use bytes::Bytes;
use domain::event::{AccessEvent, CallEvent, ConnectionEvent};
use domain::{Actor, Event, EventId, InvalidId, StreamId, StreamKind, Timestamp};
use events::{InvalidField, stored};
use proto::internal::v1::{self, journal_entry};

/// Why an entry is refused whose writer no longer owns the server: its epoch is not the latest.
/// Repeating it does not help.
pub const FENCED: &str = "FENCED";

/// Something that was seen and is to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it belongs: the call's, the server's connection's or the project's stream.
    pub stream: StreamId,
    /// UUIDv7, made once: writing the same id again is writing it once.
    pub event_id: EventId,
    /// When it was seen.
    pub occurred_at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// Observations of a server: the epoch under which the writer owns it. The entry is refused
    /// with the reason [`FENCED`] once somebody else does. 0: not fenced.
    pub epoch: u64,
    /// A call, a denial or an observation.
    pub event: Event,
    /// What is kept with it and can be deleted.
    pub body: Body,
}

/// What is kept with an event and can be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// Raw JSON, masked by the worker; empty where there is nothing.
    Call {
        /// The arguments.
        arguments: Bytes,
        /// The result, or the error.
        result: Bytes,
    },
    /// The catalogue's bytes.
    Catalogue(Bytes),
}

/// An entry that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEntry {
    /// Only calls, denials and observations are journaled; commands go to the control-plane.
    #[error("events of this type are not journaled")]
    NotJournaled,
    /// The message has no event.
    #[error("the entry has no event")]
    Empty,
    /// The stream is of another kind than the event.
    #[error("the stream is none of such events")]
    OtherStream,
    /// An id cannot be read.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// A field of the event cannot be read.
    #[error(transparent)]
    Field(#[from] InvalidField),
}

impl Entry {
    /// The message of the entry.
    ///
    /// # Errors
    /// [`InvalidEntry::NotJournaled`] for events that only commands make,
    /// [`InvalidEntry::OtherStream`].
    pub fn into_message(self) -> Result<v1::JournalEntry, InvalidEntry> {
        if self.stream.kind != kind_of(&self.event)? {
            return Err(InvalidEntry::OtherStream);
        }
        let event = match (&self.event, self.body) {
            (Event::Call(CallEvent::Started(event)), _) => {
                journal_entry::Event::CallStarted(stored::call_started(event))
            }
            (Event::Call(CallEvent::Finished(event)), body) => {
                let (arguments, result) = match body {
                    Body::Call { arguments, result } => (arguments, result),
                    Body::None | Body::Catalogue(_) => (Bytes::new(), Bytes::new()),
                };
                let event = Some(stored::call_finished(event));
                journal_entry::Event::CallFinished(v1::CallRecord { event, arguments, result })
            }
            (Event::Access(AccessEvent::Denied { project, action, reason, target }), _) => {
                let event = stored::access_denied(project.as_ref(), action, reason, target);
                journal_entry::Event::AccessDenied(event)
            }
            (Event::Connection(ConnectionEvent::StateObserved { project, observation }), _) => {
                let event = stored::state_observed(project, observation);
                journal_entry::Event::StateObserved(event)
            }
            (Event::Connection(ConnectionEvent::CatalogueObserved { project, summary }), body) => {
                let catalogue = match body {
                    Body::Catalogue(catalogue) => catalogue,
                    Body::None | Body::Call { .. } => Bytes::new(),
                };
                let event = Some(stored::catalogue_observed(project, summary));
                journal_entry::Event::CatalogueObserved(v1::CatalogueRecord { event, catalogue })
            }
            _ => return Err(InvalidEntry::NotJournaled),
        };
        Ok(v1::JournalEntry {
            tenant: self.stream.tenant.to_string(),
            event_id: self.event_id.to_string(),
            occurred_at_us: self.occurred_at.as_micros(),
            actor: Some(actor(&self.actor)),
            stream: self.stream.id,
            epoch: self.epoch,
            event: Some(event),
        })
    }

    /// The entry of a message.
    ///
    /// # Errors
    /// [`InvalidEntry`]: the message breaks a rule, so that repeating it does not help.
    pub fn from_message(message: v1::JournalEntry) -> Result<Self, InvalidEntry> {
        let (event, body) = match message.event.ok_or(InvalidEntry::Empty)? {
            journal_entry::Event::CallStarted(event) => {
                (stored::read_call_started(event)?, Body::None)
            }
            journal_entry::Event::CallFinished(record) => {
                let event = stored::read_call_finished(record.event.ok_or(InvalidEntry::Empty)?)?;
                (event, Body::Call { arguments: record.arguments, result: record.result })
            }
            journal_entry::Event::AccessDenied(event) => {
                (stored::read_access_denied(event)?, Body::None)
            }
            journal_entry::Event::StateObserved(event) => {
                (stored::read_state_observed(event)?, Body::None)
            }
            journal_entry::Event::CatalogueObserved(record) => {
                let event = record.event.ok_or(InvalidEntry::Empty)?;
                let event = stored::read_catalogue_observed(event)?;
                (event, Body::Catalogue(record.catalogue))
            }
        };
        let stream = StreamId {
            tenant: message.tenant.parse()?,
            kind: kind_of(&event)?,
            id: message.stream,
        };
        Ok(Self {
            stream,
            event_id: message.event_id.parse()?,
            occurred_at: Timestamp::from_micros(message.occurred_at_us),
            actor: read_actor(message.actor)?,
            epoch: message.epoch,
            event,
            body,
        })
    }
}

/// The message of an actor.
pub fn actor(actor: &Actor) -> v1::Actor {
    v1::Actor { kind: actor.kind().to_owned(), id: actor.id() }
}

/// The actor of a message; without one it was the system.
///
/// # Errors
/// When kind or id are none.
pub fn read_actor(message: Option<v1::Actor>) -> Result<Actor, InvalidId> {
    message.map_or(Ok(Actor::System), |actor| Actor::parse(&actor.kind, &actor.id))
}

/// In which kind of stream an event is that edges and workers may write.
const fn kind_of(event: &Event) -> Result<StreamKind, InvalidEntry> {
    match event {
        Event::Call(_) => Ok(StreamKind::Call),
        Event::Connection(_) => Ok(StreamKind::Connection),
        Event::Access(AccessEvent::Denied { .. }) => Ok(StreamKind::Access),
        _ => Err(InvalidEntry::NotJournaled),
    }
}
