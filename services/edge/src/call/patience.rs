//! How long a call that no worker accepted is sent again, and with which pauses.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use bus::BusError;
use domain::CallId;

/// The first pause; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Short enough to be there soon after another worker is.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
/// How long for a bus that cannot be reached: its clients are told rather than kept.
pub(super) const BUS_LIMIT: Duration = Duration::from_secs(2);

/// See the module. It begins with the first failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    call: CallId,
    limit: Duration,
    since: Option<Instant>,
    tries: u32,
}

impl Patience {
    /// For a call that waits so long for a worker.
    pub(super) fn new(call: CallId, limit: Duration) -> Self {
        Self { call, limit, since: None, tries: 0 }
    }

    /// After a failure at `now`: the pause before the next try; `None` when there is none.
    pub(super) fn pause(&mut self, error: &BusError, now: Instant) -> Option<Duration> {
        let limit = match error {
            BusError::NoResponders | BusError::Busy { .. } => self.limit,
            BusError::Unavailable { .. } => self.limit.min(BUS_LIMIT),
            // It is too large next time, too, or somebody may have it.
            BusError::TooLarge { .. } | BusError::Closed | BusError::TimedOut { .. } => {
                return None;
            }
        };
        let since = *self.since.get_or_insert(now);
        let left = limit.checked_sub(now.saturating_duration_since(since));
        let left = left.filter(|left| !left.is_zero())?;
        let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.tries.min(16)));
        self.tries = self.tries.saturating_add(1);
        let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + self.spread() / 2.0);
        Some(pause.min(left))
    }

    /// From 0 to 1, another one for each call and try: calls that wait for the same worker do not
    /// all come at once.
    fn spread(&self) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.call.as_uuid(), self.tries).hash(&mut hasher);
        f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn patience(call: u128) -> Patience {
        Patience::new(CallId::from_uuid(Uuid::from_u128(call)), LIMIT)
    }

    fn away() -> BusError {
        BusError::Unavailable { detail: String::new() }
    }

    #[test]
    fn pauses_grow_and_end_with_the_limit() {
        let (mut patience, start) = (patience(1), Instant::now());
        let (mut now, mut pauses) = (start, Vec::new());
        while let Some(pause) = patience.pause(&BusError::NoResponders, now) {
            pauses.push(pause);
            now += pause;
        }
        assert_eq!(now - start, LIMIT);
        assert!(pauses[0] <= FIRST_PAUSE && pauses[0] >= FIRST_PAUSE / 2);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        assert!(pauses[8] >= LONGEST_PAUSE / 2);
        assert!((25..80).contains(&pauses.len()), "{}", pauses.len());
    }

    #[test]
    fn calls_do_not_come_again_at_the_same_moments() {
        let now = Instant::now();
        let pause = |call| patience(call).pause(&BusError::NoResponders, now);
        assert_ne!(pause(1), pause(2));
    }

    #[test]
    fn a_bus_that_is_away_is_not_waited_for_as_long() {
        let (mut patience, start) = (patience(1), Instant::now());
        assert!(patience.pause(&away(), start).is_some());
        assert!(patience.pause(&away(), start + BUS_LIMIT).is_none());
        assert!(patience.pause(&BusError::NoResponders, start + BUS_LIMIT).is_some());
    }

    #[test]
    fn what_may_have_arrived_is_not_sent_again() {
        let too_large = BusError::TooLarge { of: "a frame", size_bytes: 2, limit_bytes: 1 };
        for error in [BusError::Closed, BusError::TimedOut { timeout_ms: 1 }, too_large] {
            assert_eq!(patience(1).pause(&error, Instant::now()), None, "{error}");
        }
    }
}
