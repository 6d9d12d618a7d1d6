//! A follower: applies events in the order of positions, each once, and reads what the bus did
//! not bring.

use crate::database::Placed;

/// What a service knows of the log.
#[derive(Debug, Clone, Default)]
pub struct Follower {
    /// The ids of the events, as they were applied.
    pub applied: Vec<u64>,
    position: u64,
    naive: bool,
}

impl Follower {
    /// One that knows nothing. A `naive` one looks for no gap: for the check of the checker.
    #[must_use]
    pub fn new(naive: bool) -> Self {
        Self { naive, ..Self::default() }
    }

    /// A message of the bus. `log` is what can be read from the store.
    pub fn take(&mut self, placed: Placed, log: &[Placed]) {
        if placed.position <= self.position {
            return;
        }
        if self.naive {
            self.apply(placed);
        } else {
            self.read(placed.position, log);
        }
    }

    /// The log is said to end at `position`: what is missing is read.
    pub fn beat(&mut self, position: u64, log: &[Placed]) {
        if !self.naive {
            self.read(position, log);
        }
    }

    fn read(&mut self, until: u64, log: &[Placed]) {
        let begin = usize::try_from(self.position).unwrap_or(usize::MAX).min(log.len());
        for placed in log[begin..].iter().take_while(|placed| placed.position <= until) {
            self.apply(*placed);
        }
    }

    fn apply(&mut self, placed: Placed) {
        self.applied.push(placed.event.id);
        self.position = placed.position;
    }
}
