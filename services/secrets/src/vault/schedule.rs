//! When to renew, when to log in anew, and when to try again. Pure: chance is a parameter.

use std::time::Duration;

/// A lease that is not renewed at all is looked at so rarely.
pub(super) const IDLE: Duration = Duration::from_secs(3_600);
/// Between two attempts after a failure: first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// How long after it was granted a lease is renewed: between 57 % and 71 % of its time, so that
/// processes which started together do not come together. `chance` is from 0 to 1.
pub(super) fn renewal(lease: Duration, chance: f64) -> Duration {
    lease.mul_f64(0.57 + 0.14 * chance.clamp(0.0, 1.0))
}

/// Whether a renewal granted so little that a login is better: the token nears the end that its
/// role allows it.
pub(super) fn is_ending(first: Duration, granted: Duration) -> bool {
    granted * 2 < first
}

/// The pause before attempt `failures + 1`: doubled each time, and shortened by up to a half.
pub(super) fn pause(failures: u32, chance: f64) -> Duration {
    let whole = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    whole.min(RETRY_MOST).mul_f64(1.0 - 0.5 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_renewed_well_before_it_ends() {
        let lease = Duration::from_secs(100);
        assert_eq!(renewal(lease, 0.0), Duration::from_secs(57));
        assert_eq!(renewal(lease, 1.0).as_secs(), 71);
        assert!(renewal(lease, 7.0) < lease);
    }

    #[test]
    fn a_lease_cut_short_is_the_end_of_a_token() {
        let first = Duration::from_secs(60);
        assert!(!is_ending(first, first));
        assert!(!is_ending(first, Duration::from_secs(30)));
        assert!(is_ending(first, Duration::from_secs(29)));
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let pauses: Vec<u128> = (1..8).map(|n| pause(n, 0.0).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(pause(1, 1.0).as_millis(), 100);
        assert_eq!(pause(u32::MAX, 0.0), RETRY_MOST);
    }
}
