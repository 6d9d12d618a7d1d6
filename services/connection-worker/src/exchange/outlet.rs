//! Where the frames of an exchange go, and where its client's words come from.

use std::sync::Arc;

use backplane::exchange::{Answering, FollowUp, Frame};
use proto::internal::v1::Finished;

use super::line::Line;
use super::lines::Registered;

/// Nobody listens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left;

/// See the module.
pub(super) enum Outlet {
    /// One edge, and nobody after it.
    Plain(Answering),
    /// Whoever has the call now: another edge may adopt it.
    Kept(Registered),
}

impl Outlet {
    /// Says something; waits while the edge is behind.
    ///
    /// # Errors
    /// [`Left`].
    pub(super) async fn tell(&self, frame: Frame) -> Result<(), Left> {
        match self {
            Self::Plain(edge) => edge.send(frame.encode(0)).await.map_err(|_| Left),
            Self::Kept(kept) => kept.line().tell(frame).await,
        }
    }

    /// What is said next; `None` when nobody listens any more. Cancel-safe.
    pub(super) async fn next_follow_up(&self) -> Option<FollowUp> {
        match self {
            Self::Plain(edge) => edge.next_follow_up().await,
            Self::Kept(kept) => kept.line().next_follow_up().await,
        }
    }

    /// Waits until the call is to be cancelled: with the client's reason, or `None` when nobody
    /// listens any more. What else is said meanwhile is dropped. Cancel-safe.
    pub(super) async fn cancelled(&self) -> Option<String> {
        loop {
            if let FollowUp::Cancel(reason) = self.next_follow_up().await? {
                return Some(reason);
            }
        }
    }

    /// The upstream took a question back.
    pub(super) fn withdrawn(&self, question: &str) {
        if let Self::Kept(kept) = self {
            kept.line().settled(question);
        }
    }

    /// Says the last thing. Returns the call where somebody may still want it.
    ///
    /// # Errors
    /// [`Left`].
    pub(super) async fn finish(self, finished: Finished) -> Result<Option<Registered>, Left> {
        self.tell(Frame::Finished(finished)).await?;
        match self {
            Self::Plain(edge) => {
                edge.end();
                Ok(None)
            }
            Self::Kept(kept) => Ok(Some(kept)),
        }
    }
}

impl Registered {
    /// Keeps the call after its end until the edge has its last frame, or for its time.
    pub(super) async fn linger(self) {
        let line: &Arc<Line> = self.line();
        line.linger().await;
    }
}
