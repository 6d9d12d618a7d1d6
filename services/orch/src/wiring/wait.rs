//! Waiting at the start for what a service cannot begin without.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use runtime::health::{Health, HealthReporter};
use tokio_util::sync::CancellationToken;

/// Between the first two attempts.
const FIRST: Duration = Duration::from_millis(200);
/// Between two attempts at the most.
const LONGEST: Duration = Duration::from_secs(5);

/// Tries until it succeeds, and says meanwhile why it does not: a service that is started before
/// what it needs begins by itself once that is there.
///
/// # Errors
/// When the process is asked to stop before.
pub(crate) async fn until_there<T, E: Display>(
    what: &'static str,
    health: &HealthReporter,
    stop: &CancellationToken,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let mut pause = FIRST;
    loop {
        let tried = tokio::select! {
            () = stop.cancelled() => bail!("asked to stop while waiting for {what}"),
            tried = attempt() => tried,
        };
        match tried {
            Ok(there) => {
                health.set(Health::Ok);
                return Ok(there);
            }
            Err(error) => {
                tracing::warn!(what, %error, "not there yet, trying again");
                health.set(Health::Down(format!("waiting for it: {error}")));
            }
        }
        tokio::select! {
            () = stop.cancelled() => bail!("asked to stop while waiting for {what}"),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use runtime::health::HealthRegistry;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_and_says_why_until_it_is_there() {
        let registry = HealthRegistry::default();
        let health = registry.register("bus");
        let stop = CancellationToken::new();
        let mut left = 5;
        let there = until_there("the bus", &health, &stop, async || {
            left -= 1;
            if left == 0 { Ok(left) } else { Err(format!("{left} more")) }
        });
        assert_eq!(there.await.unwrap(), 0);
        assert!(registry.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_asked_to_stop_waits_no_longer() {
        let registry = HealthRegistry::default();
        let health = registry.register("bus");
        let stop = CancellationToken::new();
        let waiting = until_there("the bus", &health, &stop, async || {
            stop.cancel();
            Err::<(), _>("away")
        });
        assert!(waiting.await.is_err());
        assert!(registry.report().contains("away"), "{}", registry.report());
    }
}
