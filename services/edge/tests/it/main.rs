//! An edge as clients meet it: real HTTP over a real socket, a real bus, a real replica and
//! journal. The other services are small responders on the bus, which is where the contract is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod asks;
mod bridge;
mod calls;
mod client;
mod degraded;
mod drain;
mod fleet;
mod input;
mod interests;
mod keeper;
mod limits;
mod line;
mod lists;
mod own;
mod pinning;
mod protocol;
mod record;
mod resume;
mod roaming;
mod roaming_nats;
mod roaming_stateless;
mod sse;
mod stage;
mod stateless;
mod stateless_calls;
mod stateless_client;
mod stateless_input;
mod stateless_listen;
mod stateless_sse;
mod stateless_upstream;
mod takeover;
mod tasks;
mod worker;
mod world;
