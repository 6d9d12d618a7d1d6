//! How the services meet: events, exchanges and presence, over one port with several adapters.
//!
//! - **Events**: [`Bus::publish`] to a subject, [`Bus::subscribe`] to a filter. A subscriber that
//!   is too slow loses events and is told how many; the publisher never waits for it.
//! - **Exchanges**: [`Bus::open`] sends one request to one of the servers of a subject
//!   ([`Bus::serve`]) and gives a stream of frames back, with follow-ups in the other direction.
//!   Both directions push back: a slow reader stops the writer.
//! - **Presence**: [`Bus::announce`] a key while the announcement lives, [`Bus::watch`] who is
//!   there.
//!
//! Beside it stands [`SharedMemory`]: small values and short trails that processes share.
//!
//! What always holds: the bus carries bytes and knows neither tenants nor messages; it is a
//! record of nothing; every queue has a limit in number and in bytes; an exchange is given to at
//! most one server, and once it may have been seen by one, it is never sent again.
//!
//! To add an adapter, implement [`Bus`] with the constructors of [`Subscription`], [`Server`],
//! the exchange and [`PresenceWatch`], and run the contract suite against it.

mod connectivity;
mod error;
mod event;
mod exchange;
mod in_process;
pub mod nats;
mod pipe;
mod port;
mod presence;
mod recent_ids;
mod registration;
mod server;
mod shared;
mod subject;

pub use connectivity::Connectivity;
pub use error::BusError;
pub use event::{Delivery, Event, MAX_EVENT_BYTES, MAX_SUBSCRIPTION_BYTES, Subscription};
pub use exchange::{ClientSide, ServerSide};
pub use in_process::{InProcessBus, InProcessConfig};
pub use nats::{NatsBus, NatsConfig};
pub use pipe::{MAX_FRAME_BYTES, WINDOW_BYTES, WINDOW_FRAMES};
pub use port::{Bus, MAX_CAPACITY};
pub use presence::{Announcement, MAX_PRESENCE_BYTES, MAX_PRESENT, Presence, PresenceWatch};
pub use server::{Incoming, Server};
pub use shared::{
    MAX_SHARED_BYTES, MAX_TRAIL_ENTRIES, MemoryError, Revision, SharedMemory, TRAIL_LIFETIME,
    VALUE_LIFETIME,
};
pub use subject::{InvalidSubject, Subject, SubjectFilter};
