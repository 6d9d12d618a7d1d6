//! Which published event comes next, and when one is missing.
//!
//! A follower starts at the position of a snapshot. Each published configuration event names the
//! configuration event before it, so the follower knows whether it has seen everything between,
//! although it filters. Events may arrive in another order than their positions, since they come
//! over several subscriptions: what is early is held until its predecessor came.
//!
//! What always holds: events are handed out in the order of their positions, each once, and never
//! across a gap. A gap that stays for [`Follower::PATIENCE_MICROS`] makes the follower
//! [`overdue`](Follower::is_overdue), and so does a log that stays behind what the follower knows
//! of it: then ask for a snapshot again.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Timestamp;

/// What became of an event that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It was kept: take what can be applied with [`Follower::next_ready`].
    Kept,
    /// It was applied before, or is in the snapshot.
    Ignored,
    /// Too much is held already: ask for a snapshot.
    Overflow,
}

/// Something that was announced and has not come.
#[derive(Clone, Copy, Debug)]
struct Missing {
    /// The follower must reach this position,
    target: u64,
    /// and was told so then.
    since: Timestamp,
}

/// The state of one who follows the published events. `E` is what an event is to the caller.
#[derive(Debug)]
pub struct Follower<E> {
    /// Every configuration event up to here was handed out or is in the snapshot.
    position: u64,
    /// Early events by position, with the configuration event before each.
    held: BTreeMap<u64, (u64, E)>,
    missing: Option<Missing>,
    /// Since when the log is shorter than what is known of it: another log, or a restored one.
    rewound_since: Option<Timestamp>,
    fresh_at: Timestamp,
}

impl<E> Follower<E> {
    /// How long something may be missing before it counts as lost.
    pub const PATIENCE_MICROS: i64 = 1_000_000;
    /// How long the log may seem shorter than what is known of it. A publisher that is behind its
    /// log, from which the snapshot was read, looks the same: this is longer than it should take
    /// to catch up, and a fraction of what a reader may count as fresh.
    pub const REWOUND_MICROS: i64 = 10_000_000;
    /// Most events that are held because they are early.
    pub const MAX_HELD: usize = 10_000;

    /// Follows on from a snapshot that reaches `position` and was asked for at `asked_at`.
    pub const fn new(position: u64, asked_at: Timestamp) -> Self {
        Self {
            position,
            held: BTreeMap::new(),
            missing: None,
            rewound_since: None,
            fresh_at: asked_at,
        }
    }

    /// The position up to which everything was handed out.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Takes an event in. `previous` is the position of the configuration event before it, 0 for
    /// none.
    pub fn offer(&mut self, position: u64, previous: u64, event: E, now: Timestamp) -> Offer {
        if position <= self.position {
            return Offer::Ignored;
        }
        if self.held.len() >= Self::MAX_HELD && !self.held.contains_key(&position) {
            return Offer::Overflow;
        }
        if previous > self.position {
            self.expect(previous, now);
        }
        self.held.insert(position, (previous, event));
        Offer::Kept
    }

    /// The next event to apply, if it is there. Call it until it says `None`.
    pub fn next_ready(&mut self) -> Option<E> {
        let first = self.held.first_entry()?;
        if first.get().0 > self.position {
            return None;
        }
        let (position, (_, event)) = first.remove_entry();
        self.advance(position);
        Some(event)
    }

    /// Takes the log's own statement in: it reaches `position`, its last configuration event is
    /// at `configuration`.
    pub fn beat(&mut self, position: u64, configuration: u64, now: Timestamp) {
        if position < self.position {
            self.rewound_since.get_or_insert(now);
            return;
        }
        self.rewound_since = None;
        if configuration > self.position {
            self.expect(configuration, now);
        } else if self.missing.is_none() {
            self.fresh_at = now;
        }
    }

    /// Whether something has been missing for too long: ask for a snapshot.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        let over = |since: Timestamp, limit| elapsed_micros(since, now) >= limit;
        self.missing.is_some_and(|missing| over(missing.since, Self::PATIENCE_MICROS))
            || self.rewound_since.is_some_and(|since| over(since, Self::REWOUND_MICROS))
    }

    /// Whether something is missing, so that [`is_overdue`](Self::is_overdue) has to be asked
    /// again.
    pub const fn is_waiting(&self) -> bool {
        self.missing.is_some() || self.rewound_since.is_some()
    }

    /// How long ago the follower was last known to be up to date. A beat that tells of something
    /// missing does not count until that has come.
    pub const fn freshness(&self, now: Timestamp) -> Duration {
        freshness(self.fresh_at, now)
    }

    /// When the follower was last known to be up to date.
    pub const fn fresh_at(&self) -> Timestamp {
        self.fresh_at
    }

    /// Notes that `target` has to come. What is missing for longest stays in mind.
    fn expect(&mut self, target: u64, now: Timestamp) {
        self.missing.get_or_insert(Missing { target, since: now });
    }

    fn advance(&mut self, position: u64) {
        self.position = position;
        if let Some(missing) = self.missing
            && missing.target <= position
        {
            // What came after it may be missing in turn, but only from now on: the next event or
            // beat says so.
            self.missing = None;
            self.fresh_at = self.fresh_at.max(missing.since);
        }
    }
}

/// The time from `fresh_at` to `now`. A clock that was put back makes it old instead of young:
/// what is unknown counts as stale.
const fn freshness(fresh_at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(elapsed_micros(fresh_at, now).unsigned_abs())
}

const fn elapsed_micros(from: Timestamp, to: Timestamp) -> i64 {
    (to.as_micros().saturating_sub(from.as_micros())).saturating_abs()
}
