//! An edge as clients meet it: real HTTP over a real socket, a real bus, a real replica and
//! journal. The other services are small responders on the bus, which is where the contract is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod asks;
mod calls;
mod client;
mod drain;
mod input;
mod interests;
mod limits;
mod lists;
mod own;
mod pinning;
mod protocol;
mod record;
mod resume;
mod sse;
mod stage;
mod stateless;
mod stateless_calls;
mod stateless_client;
mod stateless_input;
mod stateless_listen;
mod stateless_sse;
mod stateless_upstream;
mod tasks;
mod worker;
mod world;
