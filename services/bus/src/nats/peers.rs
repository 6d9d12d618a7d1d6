//! The processes at the other ends of our exchanges, and whether they are still there.
//!
//! Processes that share an exchange beat for each other. Silence is counted in beats of our own
//! that came back to us through the server: when this process, the server or the way between
//! them stands still, nobody's silence grows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A process that shares an exchange with this one.
#[derive(Debug)]
pub(super) struct Peer {
    inbox: String,
    /// Our beats when it was last heard.
    heard_at: AtomicU64,
    /// How often it told us that it may have missed something; 0 before it told us anything.
    losses: AtomicU64,
}

impl Peer {
    /// Where it is written to, without the last token.
    pub(super) fn inbox(&self) -> &str {
        &self.inbox
    }

    /// It said something.
    pub(super) fn heard(&self, beats: u64) {
        self.heard_at.store(beats, Ordering::Relaxed);
    }

    /// For how many of our beats it has been silent.
    pub(super) fn silence(&self, beats: u64) -> u64 {
        beats.saturating_sub(self.heard_at.load(Ordering::Relaxed))
    }

    /// It says how often it may have missed something; `true` if that is news.
    pub(super) fn may_have_missed(&self, losses: u64) -> bool {
        let known = self.losses.swap(losses, Ordering::Relaxed);
        known != 0 && known != losses
    }
}

/// The peers by their inboxes, for as long as an exchange needs them.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_inbox: Mutex<HashMap<String, Arc<Peer>>>,
}

impl Peers {
    fn by_inbox(&self) -> MutexGuard<'_, HashMap<String, Arc<Peer>>> {
        self.by_inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer with that inbox. To be asked for it is to hear of it.
    pub(super) fn at(&self, inbox: &str, beats: u64) -> Arc<Peer> {
        let mut by_inbox = self.by_inbox();
        if let Some(peer) = by_inbox.get(inbox) {
            peer.heard(beats);
            return Arc::clone(peer);
        }
        let peer = Arc::new(Peer {
            inbox: inbox.to_owned(),
            heard_at: AtomicU64::new(beats),
            losses: AtomicU64::new(0),
        });
        by_inbox.insert(inbox.to_owned(), Arc::clone(&peer));
        peer
    }

    /// The peer with that inbox, if an exchange needs it.
    pub(super) fn known(&self, inbox: &str) -> Option<Arc<Peer>> {
        self.by_inbox().get(inbox).map(Arc::clone)
    }

    /// All that exchanges need; others are forgotten.
    pub(super) fn needed(&self) -> Vec<Arc<Peer>> {
        let mut by_inbox = self.by_inbox();
        by_inbox.retain(|_, peer| Arc::strong_count(peer) > 1);
        by_inbox.values().map(Arc::clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_in_our_own_beats() {
        let peers = Peers::default();
        let peer = peers.at("_INBOX.worker.1.x", 10);
        assert_eq!(peer.silence(10), 0);
        assert_eq!(peer.silence(13), 3);
        peer.heard(13);
        assert_eq!(peer.silence(13), 0);
    }

    #[test]
    fn a_peer_is_forgotten_when_no_exchange_needs_it() {
        let peers = Peers::default();
        let peer = peers.at("_INBOX.worker.1.x", 1);
        assert_eq!(peers.needed().len(), 1);
        assert!(Arc::ptr_eq(&peer, &peers.at("_INBOX.worker.1.x", 1)));
        drop(peer);
        assert!(peers.needed().is_empty());
        assert!(peers.known("_INBOX.worker.1.x").is_none());
    }

    #[test]
    fn the_first_word_of_losses_is_no_news() {
        let peers = Peers::default();
        let peer = peers.at("_INBOX.worker.1.x", 1);
        assert!(!peer.may_have_missed(3));
        assert!(!peer.may_have_missed(3));
        assert!(peer.may_have_missed(4));
    }
}
