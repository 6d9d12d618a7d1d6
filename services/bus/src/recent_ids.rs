//! The ids of the latest events, to recognize a repeated publish.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ids of a bounded time and a bounded number.
#[derive(Debug)]
pub(crate) struct RecentIds {
    window: Duration,
    limit: usize,
    known: HashSet<Arc<str>>,
    by_age: VecDeque<(Instant, Arc<str>)>,
}

impl RecentIds {
    pub(crate) fn new(window: Duration, limit: usize) -> Self {
        Self { window, limit, known: HashSet::new(), by_age: VecDeque::new() }
    }

    /// Remembers `id`; `false` if it was known. Seeing it again does not prolong its time.
    pub(crate) fn remember(&mut self, id: &str, now: Instant) -> bool {
        while let Some((seen, oldest)) = self.by_age.front() {
            let expired = now.saturating_duration_since(*seen) >= self.window;
            if !expired && self.by_age.len() < self.limit {
                break;
            }
            // At the limit only a new id may push the oldest one out.
            if !expired && self.known.contains(id) {
                break;
            }
            self.known.remove(oldest);
            self.by_age.pop_front();
        }
        let id: Arc<str> = id.into();
        if !self.known.insert(Arc::clone(&id)) {
            return false;
        }
        self.by_age.push_back((now, id));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_for_the_window() {
        let start = Instant::now();
        let mut recent = RecentIds::new(Duration::from_secs(10), 100);
        assert!(recent.remember("a", start));
        assert!(!recent.remember("a", start + Duration::from_secs(9)));
        assert!(recent.remember("a", start + Duration::from_secs(10)));
        assert!(!recent.remember("a", start + Duration::from_secs(11)));
    }

    #[test]
    fn at_the_limit_the_oldest_id_is_forgotten() {
        let now = Instant::now();
        let mut recent = RecentIds::new(Duration::from_secs(10), 2);
        assert!(recent.remember("a", now));
        assert!(recent.remember("b", now));
        assert!(!recent.remember("a", now), "a repetition pushes nothing out");
        assert!(recent.remember("c", now));
        assert!(!recent.remember("b", now));
        assert!(!recent.remember("c", now));
        assert!(recent.remember("a", now));
    }
}
