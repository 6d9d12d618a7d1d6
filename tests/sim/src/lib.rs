//! What happens when everything goes wrong at the worst moment: the rules of sequencer,
//! publisher, followers and leases, run in memory under faults that a seed decides.
//!
//! What always holds: a run is its seed. The same seed does the same again, on every machine,
//! since no clock, thread or hash order has a part in it. And the checker is checked: each rule
//! that could be left out is left out once, and a run must notice.
//!
//! The rules here are those of `services/event-store/src/postgres`, one step of a run for each
//! statement there; leases are the real ones of the port's memory adapter.

pub mod bus;
pub mod database;
pub mod fencing;
pub mod follower;
pub mod random;
pub mod replica;
pub mod run;
