//! What a server has asked for and waits to be told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Id;

/// How much one server may ask for at once; more is refused.
const MAX_ASKED: usize = 256;

/// How long a request of a server may hold up the timeouts of ours: a person may have to answer it,
/// but one that nobody answers must not stop them for good.
const LONGEST_ANSWER: Duration = Duration::from_secs(15 * 60);

/// One request of a server.
#[derive(Debug)]
struct Open {
    /// The request of ours on whose stream it came.
    own: Option<u64>,
    since: Instant,
}

/// The requests of a server that are not answered.
#[derive(Debug, Default)]
pub(super) struct Asked {
    open: Mutex<HashMap<Id, Open>>,
    /// How many they are: nearly always none, and then the map is left alone.
    count: AtomicUsize,
}

impl Asked {
    /// Notes a request of the server; `false` if there are too many.
    pub(super) fn note(&self, id: &Id, own: Option<u64>, now: Instant) -> bool {
        self.change(|open| {
            let room = open.len() < MAX_ASKED;
            if room {
                open.insert(id.clone(), Open { own, since: now });
            }
            room
        })
    }

    /// The request is answered or taken back; whether it was open.
    pub(super) fn forget(&self, id: &Id) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.change(|open| open.remove(id).is_some())
    }

    /// The request of ours is over, and what was asked on its stream with it.
    pub(super) fn forget_all(&self, own: u64) {
        if self.count.load(Ordering::Acquire) > 0 {
            self.change(|open| open.retain(|_, asked| asked.own != Some(own)));
        }
    }

    /// Whether the server may be waiting for us, and not we for it, as far as a request of ours is
    /// concerned. What came on no request's stream may be for any of them.
    pub(super) fn holds_up(&self, own: u64, now: Instant) -> bool {
        let holds = |asked: &Open| {
            asked.own.is_none_or(|id| id == own)
                && now.saturating_duration_since(asked.since) < LONGEST_ANSWER
        };
        self.count.load(Ordering::Acquire) > 0 && self.change(|open| open.values().any(holds))
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<Id, Open>) -> T) -> T {
        // No change can panic half way: a poisoned map is whole.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let done = change(&mut open);
        self.count.store(open.len(), Ordering::Release);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_held_up_by_what_was_asked_on_its_stream_and_on_none() {
        let (asked, now) = (Asked::default(), Instant::now());
        assert!(!asked.holds_up(1, now));
        assert!(asked.note(&Id::string("a"), Some(1), now));
        assert!(asked.holds_up(1, now) && !asked.holds_up(2, now));
        assert!(asked.note(&Id::number(7), None, now));
        assert!(asked.holds_up(2, now));
        assert!(asked.forget(&Id::number(7)));
        assert!(!asked.forget(&Id::string("7")));
        asked.forget_all(1);
        assert!(!asked.holds_up(1, now));
    }

    #[test]
    fn what_nobody_answers_holds_up_nothing_for_good() {
        let (asked, now) = (Asked::default(), Instant::now());
        assert!(asked.note(&Id::number(1), None, now));
        assert!(asked.holds_up(5, now + LONGEST_ANSWER - Duration::from_millis(1)));
        assert!(!asked.holds_up(5, now + LONGEST_ANSWER));
    }

    #[test]
    fn too_much_is_refused() {
        let (asked, now) = (Asked::default(), Instant::now());
        let noted = (0..=MAX_ASKED as u64).filter(|id| asked.note(&Id::number(*id), None, now));
        assert_eq!(noted.count(), MAX_ASKED);
    }
}
