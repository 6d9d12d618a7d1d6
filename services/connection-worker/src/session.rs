//! Connections of single clients, for servers with isolation `session`.
//!
//! Each client session has a connection of its own, initialized with that client's capabilities;
//! requests that must be alone check one out. A process for the next one is kept warm.
//!
//! What always holds: a connection is never given from one session to another; there are never
//! more than the limits of server and project allow, the spare process (one for each server) not
//! counted; each ends when nobody uses it for a while, at a certain age, when its server is no
//! longer owned, and with the worker, and its process tree with it.

mod entry;
mod keeper;
mod pool;
mod projects;
mod spare;

pub(crate) use self::pool::{Denied, Lease, Pool};
pub(crate) use self::projects::Projects;
