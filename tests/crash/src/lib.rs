//! Sudden death of any part under load, and the reckoning after it.
//!
//! A [`recorder`] in a process of its own makes durable what was asked and what was answered;
//! [`faults`] says from a seed who dies, is stopped or is paused next; [`check`] holds what was
//! answered against the log. The check knows nothing of how the system works, and is tested itself:
//! each kind of damage that it is there for is planted and must be found.

pub mod check;
pub mod faults;
pub mod history;
pub mod recorder;
