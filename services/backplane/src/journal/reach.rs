//! Whether the record can be reached, as far as the last answers tell.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::ErrorCode;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::queues::Answer;
use super::{JournalError, JournalOutcome};

/// How long a refusal as unavailable keeps others from trying.
const REFUSED: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// It takes entries.
    #[default]
    Open,
    /// It answers, and its store did not, or was not asked since it was away: an empty request
    /// would not notice when it does again.
    RefusedUntil(Instant),
    /// Nobody answers: it is asked in the background.
    Away,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reach {
    state: Mutex<State>,
    went_away: Notify,
}

impl Reach {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        match *self.state() {
            State::Open => true,
            State::RefusedUntil(end) => Instant::now() >= end,
            State::Away => false,
        }
    }

    /// Whether the last entry that was sent was taken.
    pub(super) fn is_sure(&self) -> bool {
        matches!(*self.state(), State::Open)
    }

    /// Takes in how a request ended.
    pub(super) fn learn(&self, answer: &Answer) {
        let next = match answer {
            Ok(outcomes) if outcomes.iter().any(is_unavailable) => {
                State::RefusedUntil(Instant::now() + REFUSED)
            }
            Ok(outcomes) if outcomes.is_empty() => {
                // It is back; nothing is said of its store.
                let mut state = self.state();
                if matches!(*state, State::Away) {
                    *state = State::RefusedUntil(Instant::now());
                }
                return;
            }
            Ok(_) => State::Open,
            Err(JournalError::Unavailable(_)) => State::Away,
            Err(_) => return,
        };
        *self.state() = next;
        if matches!(next, State::Away) {
            self.went_away.notify_one();
        }
    }

    /// Waits until nobody answers.
    pub(super) async fn away(&self) {
        loop {
            let went_away = self.went_away.notified();
            if matches!(*self.state(), State::Away) {
                return;
            }
            went_away.await;
        }
    }
}

fn is_unavailable(outcome: &JournalOutcome) -> bool {
    let unavailable = ErrorCode::Unavailable.reason();
    matches!(outcome, JournalOutcome::Refused { code, .. } if code == unavailable)
}
