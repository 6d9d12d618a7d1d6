//! Upstreams that are child processes: how they are started, watched and ended.

mod process;
mod stderr;

pub use process::ReaperCommand;
pub(crate) use process::{ChildCommand, Process, spawn};
pub(crate) use stderr::{StderrRing, drain};
