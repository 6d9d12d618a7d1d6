//! Telling others what changed.

use events::Change;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This.
    Changed(Change),
    /// Anything may have: look at everything. Comes with each new snapshot, and in place of
    /// notices that a receiver was too slow for.
    Everything,
}

/// Receives notices from the moment it was made.
#[derive(Debug)]
pub struct Changes {
    notices: broadcast::Receiver<Notice>,
}

impl Changes {
    pub(super) const fn new(notices: broadcast::Receiver<Notice>) -> Self {
        Self { notices }
    }

    /// The next notice; `None` after the replica and its handles are gone. What it tells of can
    /// be read already. Cancel-safe.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.notices.recv().await {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(_)) => {
                // What is left in the queue is part of everything.
                self.notices = self.notices.resubscribe();
                Some(Notice::Everything)
            }
            Err(RecvError::Closed) => None,
        }
    }
}
