//! One server's connection: set up, watched, set up again, and what was seen of it.
//!
//! What always holds: there is at most one connection of a server at a time; only the setting up
//! of a connection is tried again, never a request; what is observed is free of the server's
//! secrets; one server's connection never waits for another's.

mod actor;
mod catalogue;
pub(crate) mod cause;
mod dial;
mod http_target;
mod observe;
mod slot;
mod spec;
mod upkeep;

pub(crate) use actor::{Actor, ActorDeps};
pub(crate) use dial::{Dialed, Dialer, Step};
pub(crate) use observe::{Observer, Report};
use slot::Phase;
pub(crate) use slot::{Link, Slot, Unavailable};
pub(crate) use spec::ConnectionSpec;
