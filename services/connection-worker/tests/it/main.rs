//! The worker on a real bus, with real child processes and real HTTP upstreams. What the
//! control-plane does is done by the stage: it keeps the record in memory and serves it over the
//! bus, which is the contract between the two.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod adoption;
mod attachments;
mod conversation;
mod eras;
mod http;
mod lifecycle;
mod over_nats;
mod ownership;
mod secrecy;
mod sessions;
mod stage;
mod stdio;
mod trial;
