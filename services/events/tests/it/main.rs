//! The codec against its golden files and against generated events, and the folds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arbitrary;
mod configuration;
mod follow;
mod golden;
mod latest;
mod pinning;
mod round_trip;
mod sample;
