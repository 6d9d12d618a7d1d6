//! How long to wait before a connection is tried again.

use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);
/// A connection that stood this long makes the failures before it forgotten.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After another failure: the wait before the next try, doubled each time, between half of it
    /// and all of it as `random` says (0 to 1), so that many connections do not come back at once.
    pub(crate) fn failed(&mut self, random: f64) -> Duration {
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures.min(16)));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// The connection stood for `uptime`.
    pub(crate) fn stood(&mut self, uptime: Duration) {
        if uptime >= STABLE_AFTER {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.failed(1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn jitter_takes_up_to_half_away() {
        assert_eq!(Backoff::default().failed(0.0), Duration::from_millis(250));
        assert_eq!(Backoff::default().failed(7.0), Duration::from_millis(500));
    }

    #[test]
    fn only_a_stable_connection_starts_over() {
        let mut backoff = Backoff::default();
        backoff.failed(1.0);
        backoff.stood(Duration::from_secs(29));
        assert_eq!(backoff.failed(1.0), Duration::from_secs(1));
        backoff.stood(Duration::from_secs(30));
        assert_eq!(backoff.failed(1.0), Duration::from_millis(500));
    }
}
