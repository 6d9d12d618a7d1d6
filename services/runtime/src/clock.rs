//! The one place that reads the time of day. Everything else takes a [`Clock`] or a
//! [`Timestamp`], so that tests and replays say what time it is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::Timestamp;

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's clock, in microseconds since the epoch.
pub fn system() -> Clock {
    Arc::new(now)
}

#[expect(clippy::disallowed_methods, reason = "the one place that may")]
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
