//! An edge as clients meet it: real HTTP over a real socket, a real bus, a real replica and
//! journal. The other services are small responders on the bus, which is where the contract is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod calls;
mod client;
mod drain;
mod limits;
mod lists;
mod protocol;
mod record;
mod sse;
mod stage;
mod worker;
mod world;
