//! Waiting for conditions.

use std::time::Duration;

/// Fails the test when `condition` does not come true.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    async move {
        while !condition() {
            assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Fails the test when `future` does not end.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(Duration::from_secs(10), future).await else {
        panic!("never ended: {what}")
    };
    value
}
