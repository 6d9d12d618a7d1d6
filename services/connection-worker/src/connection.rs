//! One server's connection: set up, watched, set up again, and what was seen of it.
//!
//! What always holds: there is at most one connection of a server at a time that clients share
//! (those of single clients are in [`crate::session`]); only the setting up
//! of a connection is tried again, never a request; what is observed is free of the server's
//! secrets; one server's connection never waits for another's.

mod actor;
mod asked;
mod catalogue;
pub(crate) mod cause;
mod dial;
mod http_target;
mod interests;
mod introduction;
mod listen;
mod observe;
mod slot;
mod spec;
mod switchboard;
mod upkeep;

pub(crate) use actor::{Actor, ActorDeps, close, lost};
pub(crate) use asked::Asked;
pub(crate) use catalogue::{Kept, Shelf};
pub(crate) use dial::{DialError, Dialed, Dialer, Spare, Step};
pub(crate) use interests::Wants;
pub(crate) use introduction::{Client, Introduction};
pub(crate) use listen::{pump, renew};
pub(crate) use observe::{Observer, Report};
use slot::Phase;
pub(crate) use slot::{FAIL_FAST, Link, Slot, Unavailable};
pub(crate) use spec::ConnectionSpec;
pub(crate) use switchboard::{Attachment, Clientele, Heard, Seat, Switchboard, TooMany};
