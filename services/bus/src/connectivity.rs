//! Whether the bus can be reached, and the name of a process on it.

use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

/// Whether the bus can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connectivity {
    /// It can.
    Connected,
    /// It cannot.
    Disconnected {
        /// When that was noticed.
        since: Instant,
    },
}

impl Connectivity {
    /// Whether it can be reached.
    #[must_use]
    pub fn is_connected(self) -> bool {
        self == Self::Connected
    }
}

/// A name for this start of a process: one token.
pub(crate) fn new_instance() -> Arc<str> {
    Uuid::now_v7().simple().to_string().into()
}
