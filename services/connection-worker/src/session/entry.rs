//! The connection of one client session, for who uses it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connection::{Client, Clientele, Link, Switchboard};

/// How it is doing.
#[derive(Clone)]
pub(super) enum Phase {
    /// Being set up.
    Connecting,
    /// It stands.
    Ready(Arc<Link>),
    /// It is gone for good, or never stood; why, secrets masked.
    Ended(Arc<str>),
}

/// One connection of one client.
pub(super) struct Entry {
    /// The session's name.
    pub(super) session: String,
    /// Only one request at a time.
    pub(super) exclusive: bool,
    /// Whose it is.
    pub(super) client: Client,
    /// Who listens to it.
    pub(super) board: Arc<Switchboard>,
    /// Ends it.
    pub(super) stop: CancellationToken,
    /// Something about its use changed.
    pub(super) activity: Notify,
    phase: watch::Sender<Phase>,
    usage: Mutex<Usage>,
}

/// How it is used.
#[derive(Debug)]
struct Usage {
    calls: usize,
    attachments: usize,
    /// When it was last given back.
    left_at: Instant,
    /// Its last attachment ended: the client's session most likely did.
    was_left: bool,
    /// It is given to nobody any more.
    is_retired: bool,
}

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A request.
    Call,
    /// An attachment.
    Attachment,
}

impl Entry {
    /// A connection that is to be set up, and that nobody uses.
    pub(super) fn new(
        session: &str,
        exclusive: bool,
        client: Client,
        stop: CancellationToken,
        now: Instant,
    ) -> Arc<Self> {
        let clientele = if exclusive { Clientele::OneCall } else { Clientele::One };
        Arc::new(Self {
            session: session.to_owned(),
            exclusive,
            client,
            board: Switchboard::new(clientele),
            stop,
            activity: Notify::new(),
            phase: watch::Sender::new(Phase::Connecting),
            usage: Mutex::new(Usage {
                calls: 0,
                attachments: 0,
                left_at: now,
                was_left: false,
                is_retired: false,
            }),
        })
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it for a use, if it may be.
    pub(super) fn take(&self, usage: Use) -> bool {
        let mut now = self.usage();
        let is_busy = now.calls + now.attachments > 0;
        if now.is_retired || (self.exclusive && is_busy) {
            return false;
        }
        match usage {
            Use::Call => now.calls += 1,
            Use::Attachment => {
                now.attachments += 1;
                now.was_left = false;
            }
        }
        drop(now);
        self.activity.notify_one();
        true
    }

    /// Gives it back.
    pub(super) fn give_back(&self, usage: Use, at: Instant) {
        let mut now = self.usage();
        match usage {
            Use::Call => now.calls = now.calls.saturating_sub(1),
            Use::Attachment => {
                now.attachments = now.attachments.saturating_sub(1);
                now.was_left = now.attachments == 0;
            }
        }
        now.left_at = at;
        drop(now);
        self.activity.notify_one();
    }

    /// Since when nobody uses it; `None` while somebody does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let now = self.usage();
        (now.calls + now.attachments == 0 && !now.is_retired).then_some(now.left_at)
    }

    /// When it is to end, if nobody takes it before.
    pub(super) fn idle_deadline(&self, idle: Duration, left_idle: Duration) -> Option<Instant> {
        let since = self.idle_since()?;
        Some(since + if self.usage().was_left { left_idle } else { idle })
    }

    /// Gives it to nobody any more, if nobody uses it; whether that is so now.
    pub(super) fn retire_if_idle(&self) -> bool {
        let mut now = self.usage();
        let is_idle = now.calls + now.attachments == 0;
        now.is_retired |= is_idle;
        is_idle
    }

    /// Gives it to nobody any more.
    pub(super) fn retire(&self) {
        self.usage().is_retired = true;
    }

    /// Whether it is given to nobody any more.
    pub(super) fn is_retired(&self) -> bool {
        self.usage().is_retired
    }

    /// Waits until no call uses it.
    pub(super) async fn without_calls(&self) {
        loop {
            let changed = self.activity.notified();
            if self.usage().calls == 0 {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until it stands.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) async fn link(&self) -> Result<Arc<Link>, Arc<str>> {
        let mut phase = self.phase.subscribe();
        loop {
            match phase.borrow_and_update().clone() {
                Phase::Ready(link) => return Ok(link),
                Phase::Ended(cause) => return Err(cause),
                Phase::Connecting => {}
            }
            if phase.changed().await.is_err() {
                return Err("the server was stopped".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(600);
    const LEFT: Duration = Duration::from_secs(60);

    fn entry(exclusive: bool, now: Instant) -> Arc<Entry> {
        Entry::new("session", exclusive, Client::of(None), CancellationToken::new(), now)
    }

    #[test]
    fn an_exclusive_connection_has_one_user_and_another_has_many() {
        let now = Instant::now();
        let exclusive = entry(true, now);
        assert!(exclusive.take(Use::Call));
        assert!(!exclusive.take(Use::Call) && !exclusive.take(Use::Attachment));
        exclusive.give_back(Use::Call, now);
        assert!(exclusive.take(Use::Call));
        let common = entry(false, now);
        assert!(common.take(Use::Call) && common.take(Use::Call) && common.take(Use::Attachment));
    }

    #[test]
    fn what_is_used_is_kept_and_what_was_left_ends_sooner() {
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        let entry = entry(false, start);
        assert_eq!(entry.idle_deadline(IDLE, LEFT), Some(start + IDLE));
        assert!(entry.take(Use::Attachment) && entry.take(Use::Call));
        assert_eq!(entry.idle_deadline(IDLE, LEFT), None);
        assert!(!entry.retire_if_idle());
        entry.give_back(Use::Call, later);
        assert_eq!(entry.idle_deadline(IDLE, LEFT), None);
        entry.give_back(Use::Attachment, later);
        assert_eq!(entry.idle_deadline(IDLE, LEFT), Some(later + LEFT));
        assert!(entry.take(Use::Attachment));
        entry.give_back(Use::Attachment, later);
        assert!(entry.retire_if_idle());
        assert!(!entry.take(Use::Call));
        assert_eq!(entry.idle_since(), None);
    }
}
