//! Upstreams that are child processes: how they are started, watched and ended.

mod flood;
mod process;
mod stderr;

pub(crate) use flood::{FLOOD_BYTES, FLOOD_WINDOW};

pub use process::ReaperCommand;
pub(crate) use process::{ChildCommand, Process, spawn};
pub(crate) use stderr::{StderrRing, drain};
