//! Time as a parameter.

use std::sync::Arc;

use domain::Timestamp;

/// Tells the time. Given by who starts a part, so that tests give their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
