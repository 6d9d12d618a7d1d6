//! What edges, workers and the control-plane say to each other, over the in-process bus, against
//! responders that do what the control-plane does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod catalogue;
mod entry;
mod exchange;
mod journal;
mod lease;
mod outage;
mod record;
mod replica;
mod wait;
mod world;
