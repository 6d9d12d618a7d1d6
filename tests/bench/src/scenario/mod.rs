//! The scenarios; each measures what it compares in the same run.

pub(crate) mod isolation;
pub(crate) mod memory;
pub(crate) mod transport;
