//! Waiting for conditions.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(25);

/// Waits until `condition` gives something, and fails with its last reason after `limit`.
pub(crate) async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(reason) if start.elapsed() > limit => {
                panic!("{what}: not within {limit:?}; at last: {reason}")
            }
            Err(_) => tokio::time::sleep(STEP).await,
        }
    }
}
