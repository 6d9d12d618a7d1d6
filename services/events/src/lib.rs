//! Between domain events and their stored form, and the folds that turn a log into state.
//!
//! - [`encode`] and [`decode`]: one stored type name, schema version and JSON payload for each
//!   domain event. Older versions are lifted by upcasters; newer ones are refused by name.
//! - [`stored`]: the same mapping as protobuf messages, for those that carry events in messages.
//! - [`Configuration`]: what edges and workers hold in memory, folded with the aggregates' own
//!   `evolve`.
//! - [`LatestObservations`]: which events of a log a snapshot can do without.
//! - [`Follower`]: which published event to apply next, and when something is missing.
//!
//! What always holds: nothing here does IO or reads a clock; `decode(encode(event))` is `event`;
//! a payload that was written once can be read for ever.
//!
//! To add an event: a message in `proto`, a line in [`EventType`], an arm in its part of `codec`,
//! a golden file (the test names the missing one). To change the meaning of a stored message:
//! raise the version in [`EventType::schema_version`] and add an upcaster; golden files stay.

mod codec;
mod configuration;
mod event_type;
mod follow;
mod latest;
pub mod stored;
mod upcast;

pub use codec::{DecodeError, Encoded, InvalidField, decode, encode};
pub use configuration::{
    Change, ChangeKind, Configuration, ConnectionView, KeyEntry, ProjectEntry, ServerEntry,
    Sightings,
};
pub use event_type::{EventType, UnknownEventType, event_types};
pub use follow::{Follower, Offer};
pub use latest::LatestObservations;
