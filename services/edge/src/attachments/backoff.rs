//! How long an attachment waits before it is opened again.
//!
//! After one was lost that stood, another worker has the server soon, or nobody has: for a while it
//! is tried often, and then less and less. Many attachments to one worker do not come back at once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;
use std::time::Duration;

use domain::ServerId;
use tokio::time::Instant;

/// It doubles each time.
const PAUSE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);
/// For so long after a loss no pause is longer than [`SOON`]: a lease ends in this time, and another
/// worker connects.
const TAKEOVER: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_millis(500);
/// What stood that long was no failure.
const STABLE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Backoff {
    seed: u64,
    turn: u32,
    pause: Duration,
    lost_at: Option<Instant>,
}

impl Backoff {
    /// Of the attachment to a server; `who` tells attachments to the same one apart.
    pub(super) fn new(server: ServerId, who: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        (server, who).hash(&mut hasher);
        Self { seed: hasher.finish(), turn: 0, pause: *PAUSE.start(), lost_at: None }
    }

    /// It was lost after it stood since `opened`.
    pub(super) fn lost(&mut self, opened: Instant, now: Instant) {
        if now.saturating_duration_since(opened) >= STABLE {
            self.pause = *PAUSE.start();
            self.lost_at = Some(now);
        }
    }

    /// How long to wait now.
    pub(super) fn next(&mut self, now: Instant) -> Duration {
        let is_soon =
            self.lost_at.is_some_and(|lost| now.saturating_duration_since(lost) < TAKEOVER);
        let most = if is_soon { SOON } else { *PAUSE.end() };
        let pause = self.pause.min(most);
        self.pause = (pause * 2).min(most);
        self.turn = self.turn.wrapping_add(1);
        pause.mul_f64(0.5 + self.spread() / 2.0)
    }

    /// From 0 to 1.
    fn spread(&self) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, self.turn).hash(&mut hasher);
        f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn backoff(server: u128) -> Backoff {
        Backoff::new(ServerId::from_uuid(Uuid::from_u128(server)), &0)
    }

    #[test]
    fn a_server_that_nobody_has_is_tried_less_and_less() {
        let (mut backoff, mut now) = (backoff(1), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let pause = backoff.next(now);
            now += pause;
            pauses.push(pause);
        }
        assert!(pauses[0] <= Duration::from_millis(100));
        assert!(pauses[11] >= Duration::from_secs(15) && pauses[11] <= *PAUSE.end());
    }

    #[test]
    fn one_that_moves_is_found_soon_and_only_for_a_while() {
        let (mut backoff, start) = (backoff(1), Instant::now());
        let lost = start + STABLE;
        backoff.lost(start, lost);
        let mut now = lost;
        while now < lost + TAKEOVER {
            let pause = backoff.next(now);
            assert!(pause <= SOON, "{pause:?}");
            now += pause;
        }
        let late: Vec<_> = (0..8).map(|_| backoff.next(now)).collect();
        assert!(late.iter().any(|pause| *pause > SOON * 4), "{late:?}");
    }

    #[test]
    fn what_breaks_at_once_does_not_begin_anew() {
        let (mut backoff, now) = (backoff(1), Instant::now());
        let mut last = Duration::ZERO;
        for _ in 0..8 {
            backoff.lost(now, now + STABLE / 2);
            last = backoff.next(now);
        }
        assert!(last > Duration::from_secs(5), "{last:?}");
    }

    #[test]
    fn attachments_do_not_come_back_at_the_same_moment() {
        let now = Instant::now();
        assert_ne!(backoff(1).next(now), backoff(2).next(now));
    }
}
