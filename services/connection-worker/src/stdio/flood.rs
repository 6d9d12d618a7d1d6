//! Whether a server floods its stderr: how much it wrote, and when that was too much.
//!
//! What always holds: it costs two numbers and two moments, however much is written; who begins
//! to flood is told of once in a window.

use std::time::Duration;

use tokio::time::Instant;

/// More than this within [`FLOOD_WINDOW`] is a flood, in bytes.
pub(crate) const FLOOD_BYTES: u64 = 256 * 1024;
/// For so long bytes are counted together, from the first of them on.
pub(crate) const FLOOD_WINDOW: Duration = Duration::from_secs(10);

/// Counts what is written in windows one after the other.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// When the window began.
    since: Option<Instant>,
    /// What was written in it.
    bytes: u64,
    /// When last something was written beyond the limit.
    over_at: Option<Instant>,
}

impl Flood {
    /// Counts what is written now; whether that passed the limit of its window.
    pub(super) fn add(&mut self, bytes: u64, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= FLOOD_WINDOW) {
            self.since = Some(now);
            self.bytes = 0;
        }
        let before = self.bytes;
        self.bytes = before.saturating_add(bytes);
        let is_over = self.bytes > FLOOD_BYTES;
        if is_over {
            self.over_at = Some(now);
        }
        is_over && before <= FLOOD_BYTES
    }

    /// Whether there was a flood less than `quiet` ago.
    pub(super) fn is_on(&self, now: Instant, quiet: Duration) -> bool {
        self.over_at.is_some_and(|over_at| now.duration_since(over_at) < quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_written_over_a_long_time_is_no_flood() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        for window in 0..100 {
            assert!(!flood.add(FLOOD_BYTES, start + FLOOD_WINDOW * window));
        }
        assert!(!flood.is_on(start + FLOOD_WINDOW * 100, QUIET));
    }

    #[test]
    fn a_flood_is_told_of_once_in_a_window() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        assert!(!flood.add(FLOOD_BYTES, start));
        let told: Vec<bool> = (1..10)
            .map(|second| flood.add(FLOOD_BYTES, start + Duration::from_secs(second)))
            .collect();
        assert_eq!((told[0], told.iter().filter(|told| **told).count()), (true, 1));
        assert!(flood.add(FLOOD_BYTES + 1, start + FLOOD_WINDOW));
    }

    #[test]
    fn a_flood_is_over_when_it_was_quiet_for_long_enough() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        flood.add(FLOOD_BYTES + 1, start);
        let last = start + Duration::from_secs(5);
        flood.add(1, last);
        let just_before = last + QUIET - Duration::from_millis(1);
        assert!(flood.is_on(just_before, QUIET));
        // What is written within the limits of another window does not prolong it.
        assert!(!flood.add(FLOOD_BYTES, just_before));
        assert!(!flood.is_on(last + QUIET, QUIET));
    }
}
