//! Following the log: catching up by reads, then live from memory.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::error::StoreError;
use crate::limits::MAX_PAGE_EVENTS;
use crate::recorded::{Page, Position, ReadFilter, Recorded};

/// The events of one commit, in the order of their positions; never empty.
pub(crate) type Commit = Arc<[Arc<Recorded>]>;

/// How many commits a live subscriber may be behind before it reads from the store again.
pub(crate) const LIVE_COMMITS: usize = 64;

/// Where a subscription reads what it did not get live.
#[async_trait]
pub(crate) trait Source: Send + Sync + 'static {
    async fn page(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError>;
}

/// A follower of the log: in order, without gaps, each event once.
///
/// A slow one loses nothing: it falls back to reading. Dropping a pending
/// [`next`](Self::next) or [`next_batch`](Self::next_batch) loses nothing either.
pub struct Subscription {
    source: Arc<dyn Source>,
    live: broadcast::Receiver<Commit>,
    filter: ReadFilter,
    seen: Position,
    caught_up: bool,
    pending: VecDeque<Arc<Recorded>>,
}

impl Subscription {
    /// Follows `source` from `after`; `live` must get every commit from now on.
    pub(crate) fn new(
        source: Arc<dyn Source>,
        live: broadcast::Receiver<Commit>,
        after: Position,
        filter: ReadFilter,
    ) -> Self {
        Self { source, live, filter, seen: after, caught_up: false, pending: VecDeque::new() }
    }

    /// The next event that the filter lets through; waits for it.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when the store is closed, after the last event. After
    /// [`StoreError::Unavailable`] the subscription is where it was: call again.
    pub async fn next(&mut self) -> Result<Arc<Recorded>, StoreError> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            self.advance().await?;
        }
    }

    /// The events that are there, at least one and at most `limit`; waits for the first.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_batch(&mut self, limit: usize) -> Result<Vec<Arc<Recorded>>, StoreError> {
        while self.pending.is_empty() {
            self.advance().await?;
        }
        Ok(self.drain(limit))
    }

    /// The events that are there, at most `limit`; empty, without waiting for more, when the
    /// follower has caught up with the log.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn try_next_batch(&mut self, limit: usize) -> Result<Vec<Arc<Recorded>>, StoreError> {
        while self.pending.is_empty() {
            if !self.caught_up {
                self.catch_up().await?;
                continue;
            }
            match self.live.try_recv() {
                Ok(commit) => self.take(&commit),
                Err(TryRecvError::Lagged(_)) => self.caught_up = false,
                Err(TryRecvError::Empty) => return Ok(Vec::new()),
                Err(TryRecvError::Closed) => return Err(StoreError::Closed),
            }
        }
        Ok(self.drain(limit))
    }

    fn drain(&mut self, limit: usize) -> Vec<Arc<Recorded>> {
        let count = self.pending.len().min(limit.max(1));
        self.pending.drain(..count).collect()
    }

    /// Up to where the log was looked through: every event up to here that the filter lets
    /// through was returned, or is returned before anything else.
    pub fn seen(&self) -> Position {
        self.seen
    }

    /// One step: a page while catching up, a commit when live.
    async fn advance(&mut self) -> Result<(), StoreError> {
        if !self.caught_up {
            return self.catch_up().await;
        }
        match self.live.recv().await {
            Ok(commit) => self.take(&commit),
            Err(RecvError::Lagged(_)) => self.caught_up = false,
            Err(RecvError::Closed) => return Err(StoreError::Closed),
        }
        Ok(())
    }

    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let page = self.source.page(self.seen, &self.filter, MAX_PAGE_EVENTS).await?;
        self.caught_up = page.events.is_empty();
        self.seen = self.seen.max(page.next);
        self.pending.extend(page.events);
        Ok(())
    }

    fn take(&mut self, commit: &Commit) {
        let (Some(first), Some(last)) = (commit.first(), commit.last()) else {
            return;
        };
        if first.position > self.seen.next() {
            // A commit before this one never came: it is in the store.
            self.caught_up = false;
            return;
        }
        let fresh = commit.iter().filter(|event| event.position > self.seen);
        self.pending.extend(fresh.filter(|event| self.filter.admits(event)).map(Arc::clone));
        self.seen = self.seen.max(last.position);
    }
}
