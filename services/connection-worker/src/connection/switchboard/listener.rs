//! Those who listen to a connection, as they see it.

use std::sync::Arc;

use mcp::LogLevel;
use tokio::sync::mpsc;

use super::{About, Attached, Heard, MAX_WAITING, State, Switchboard, TooMany, Waiting};
use crate::connection::Wants;
use crate::connection::interests::Union;

/// A listener that stays; dropping it takes its interests back.
pub(crate) struct Attachment {
    board: Arc<Switchboard>,
    key: u64,
    heard: mpsc::Receiver<Heard>,
}

/// A call that listens while it runs.
pub(crate) struct Seat {
    board: Arc<Switchboard>,
    key: u64,
    heard: mpsc::Receiver<Heard>,
}

impl Attachment {
    pub(super) const fn new(
        board: Arc<Switchboard>,
        key: u64,
        heard: mpsc::Receiver<Heard>,
    ) -> Self {
        Self { board, key, heard }
    }

    /// What comes next. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Heard {
        if self.heard.is_empty() && self.board.state().ended {
            return Heard::Ended;
        }
        self.heard.recv().await.unwrap_or(Heard::Ended)
    }

    /// What it wants.
    pub(crate) fn wants(&self) -> Wants {
        let state = self.board.state();
        state.attachments.get(&self.key).map(|attached| attached.wants.clone()).unwrap_or_default()
    }

    /// Wants to hear of a resource; [`Heard::Done`] follows.
    ///
    /// # Errors
    /// [`TooMany`]; then nothing follows.
    pub(crate) fn subscribe(&self, interest: u64, uri: &str) -> Result<(), TooMany> {
        self.change(interest, About::Resource(uri.to_owned()), |attached, union| {
            if !attached.wants.has_room(uri) || union.is_full() {
                return Err(TooMany("resources are followed"));
            }
            if attached.wants.uris.insert(uri.to_owned()) {
                union.add(uri);
            }
            Ok(())
        })
    }

    /// Wants to hear of a resource no longer; [`Heard::Done`] follows.
    ///
    /// # Errors
    /// [`TooMany`]; then nothing follows.
    pub(crate) fn unsubscribe(&self, interest: u64, uri: &str) -> Result<(), TooMany> {
        self.change(interest, About::Resource(uri.to_owned()), |attached, union| {
            if attached.wants.uris.remove(uri) {
                union.remove(uri);
            }
            Ok(())
        })
    }

    /// Wants log messages from that level on; [`Heard::Done`] follows.
    ///
    /// # Errors
    /// [`TooMany`]; then nothing follows.
    pub(crate) fn set_level(&self, interest: u64, level: LogLevel) -> Result<(), TooMany> {
        self.change(interest, About::Level, |attached, _| {
            attached.wants.level = Some(level);
            Ok(())
        })
    }

    fn change(
        &self,
        interest: u64,
        about: About,
        apply: impl FnOnce(&mut Attached, &mut Union) -> Result<(), TooMany>,
    ) -> Result<(), TooMany> {
        let mut state = self.board.state();
        if state.waiting.len() >= MAX_WAITING {
            return Err(TooMany("changes are not done yet"));
        }
        let State { attachments, union, waiting, .. } = &mut *state;
        if let Some(attached) = attachments.get_mut(&self.key) {
            apply(attached, union)?;
            waiting.push(Waiting { attachment: self.key, interest, about });
        }
        drop(state);
        self.board.changed.notify_one();
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut state = self.board.state();
        if let Some(attached) = state.attachments.remove(&self.key) {
            for uri in &attached.wants.uris {
                state.union.remove(uri);
            }
        }
        let key = self.key;
        state.waiting.retain(|waiting| waiting.attachment != key);
        drop(state);
        self.board.changed.notify_one();
    }
}

impl Seat {
    pub(super) const fn new(
        board: Arc<Switchboard>,
        key: u64,
        heard: mpsc::Receiver<Heard>,
    ) -> Self {
        Self { board, key, heard }
    }

    /// What comes next; never ends. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }

    /// Everything that was said before now and was not heard yet.
    pub(crate) async fn rest(&mut self) -> Vec<Heard> {
        self.board.catch_up().await;
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.board.state().calls.remove(&self.key);
    }
}
