//! Contract suites: what every adapter of a port must do, as generic tests.
//!
//! Each suite runs the same cases against every adapter of its port, and fails where an
//! adapter cannot be reached.

pub mod bus;
pub mod event_store;
pub mod secrets;
