//! Sudden death: what was answered is on record exactly once, nothing ran twice, nothing is left
//! behind, and every projection is the fold of the log.

mod cluster;
mod plan;
mod recorder;
mod replay;
mod rounds;
