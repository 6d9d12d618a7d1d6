//! Which edges are there, as the bus says it.
//!
//! What always holds: an edge that was out of touch itself calls nobody gone before it has heard
//! from the others again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use backplane::subject;
use bus::SubjectFilter;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{MEMORY_WAIT, Roaming};

/// After so long in touch with the bus, everybody who is there was heard of.
const SETTLE: Duration = Duration::from_secs(5);
/// How long it takes until it is tried again to follow who is there.
const AGAIN: Duration = Duration::from_millis(500);

/// What is known of the other edges.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Since when this edge is in touch again; `None` if it always was.
    returned: Mutex<Option<Instant>>,
    changed: Notify,
}

impl Company {
    /// Whether it is long enough in touch to know who is there.
    fn is_settled(&self) -> bool {
        let returned = *self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        returned.is_none_or(|since| since.elapsed() >= SETTLE)
    }

    /// Waits until somebody came or went, or as long as that.
    pub(super) async fn change(&self, most: Duration) {
        let _ = timeout(most, self.changed.notified()).await;
    }

    fn returned(&self) {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        *returned = Some(Instant::now());
    }
}

impl Roaming {
    /// Whether an edge is there; `None` if that cannot be seen now.
    pub(super) async fn is_there(&self, instance: &str) -> Option<bool> {
        let Ok(key) = subject::edge(instance) else { return Some(false) };
        let filter = SubjectFilter::from(key);
        match timeout(MEMORY_WAIT, self.bus.present(&filter)).await {
            Ok(Ok(present)) if !present.is_empty() => Some(true),
            Ok(Ok(_)) => self.company.is_settled().then_some(false),
            Ok(Err(error)) => {
                tracing::warn!(%error, "it cannot be seen which edges are there");
                None
            }
            Err(_) => None,
        }
    }

    /// Follows who comes and goes, and whether this edge is in touch, for as long as it is waited
    /// for.
    pub(super) async fn follow_company(&self) {
        tokio::join!(self.follow_presence(), self.follow_connectivity());
    }

    async fn follow_presence(&self) {
        loop {
            if let Ok(mut watch) = self.bus.watch(subject::edges()).await {
                while watch.next().await.is_some() {
                    self.company.changed.notify_waiters();
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn follow_connectivity(&self) {
        let mut connectivity = self.bus.connectivity();
        let mut was_connected = connectivity.borrow_and_update().is_connected();
        while connectivity.changed().await.is_ok() {
            let is_connected = connectivity.borrow_and_update().is_connected();
            // A change that was too quick to be seen was one, too.
            if is_connected || was_connected {
                self.company.returned();
            }
            was_connected = is_connected;
        }
    }
}
