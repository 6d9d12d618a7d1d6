//! What this process is about to send, in order.
//!
//! Ends of exchanges and withdrawals happen in `drop`, which cannot wait: they leave a note here,
//! and one task sends. What an exchange has to say is gathered when its turn comes, so that
//! several things travel as one message.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::link::Link;
use super::peers::Peer;

/// Most single messages that wait. Exchanges are limited by their own number.
const MAX_MESSAGES: usize = 65_536;
/// For how long a server may keep silent before the client is told that the request waits. Most
/// answers come sooner, and say so themselves.
const ANSWER_DELAY: Duration = Duration::from_millis(2);

/// One thing to send.
#[derive(Debug)]
pub(super) enum Item {
    /// What an exchange has to say.
    Link(Arc<Link>),
    /// How far the exchanges with this process are; `None`: with all.
    Audit(Option<Arc<Peer>>),
    /// A message as it is.
    Message {
        /// Where to.
        subject: String,
        /// The content.
        payload: Bytes,
    },
}

#[derive(Debug, Default)]
struct Waiting {
    ready: VecDeque<Item>,
    messages: usize,
    later: VecDeque<(Instant, Weak<Link>)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an exchange speak. It sees to it that it waits only once.
    pub(super) fn push_link(&self, link: Arc<Link>) {
        self.waiting().ready.push_back(Item::Link(link));
        self.wake.notify_one();
    }

    /// Lets an exchange speak if it has not done so by itself in a moment.
    pub(super) fn push_link_later(&self, link: &Arc<Link>) {
        let due = Instant::now() + ANSWER_DELAY;
        let mut waiting = self.waiting();
        waiting.later.push_back((due, Arc::downgrade(link)));
        let is_first = waiting.later.len() == 1;
        drop(waiting);
        if is_first {
            self.wake.notify_one();
        }
    }

    /// Tells the peer, or all of them, how far the exchanges with it are.
    pub(super) fn push_audit(&self, peer: Option<Arc<Peer>>) {
        self.waiting().ready.push_back(Item::Audit(peer));
        self.wake.notify_one();
    }

    /// Sends a message; `false` if too many wait.
    pub(super) fn push_message(&self, subject: String, payload: Bytes) -> bool {
        let mut waiting = self.waiting();
        if waiting.messages >= MAX_MESSAGES {
            return false;
        }
        waiting.messages += 1;
        waiting.ready.push_back(Item::Message { subject, payload });
        drop(waiting);
        self.wake.notify_one();
        true
    }

    /// The next thing to send, without waiting.
    pub(super) fn try_next(&self) -> Option<Item> {
        let mut waiting = self.waiting();
        if let Some((due, _)) = waiting.later.front()
            && *due <= Instant::now()
            && let Some((_, link)) = waiting.later.pop_front()
            && let Some(link) = link.upgrade()
        {
            drop(waiting);
            link.answer_is_due();
            return Some(Item::Link(link));
        }
        let item = waiting.ready.pop_front()?;
        if matches!(item, Item::Message { .. }) {
            waiting.messages -= 1;
        }
        Some(item)
    }

    /// Waits until there may be something.
    pub(super) async fn changed(&self) {
        let due = self.waiting().later.front().map(|(due, _)| *due);
        match due {
            None => self.wake.notified().await,
            Some(due) => {
                let _ = tokio::time::timeout_at(due.into(), self.wake.notified()).await;
            }
        }
    }
}
