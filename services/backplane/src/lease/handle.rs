//! What a worker does with its leases.

use std::sync::Arc;
use std::time::Duration;

use domain::ServerId;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Owned;
use super::keeper::Shared;

/// How long the others may take to learn of what was released.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// Reads leases and gives them up; clones share them.
#[derive(Clone)]
pub struct LeaseHandle(Kind);

#[derive(Clone)]
enum Kind {
    /// Everything is owned, and nobody is asked.
    All(Arc<watch::Sender<Owned>>),
    /// What the keeper was granted.
    Kept(Arc<Shared>),
}

impl LeaseHandle {
    /// Owns everything for good: for the one worker of a process that does everything. Costs
    /// nothing on the bus.
    pub fn all() -> Self {
        Self(Kind::All(Arc::new(watch::Sender::new(Owned::everything()))))
    }

    pub(super) const fn kept(shared: Arc<Shared>) -> Self {
        Self(Kind::Kept(shared))
    }

    /// Whether everything is owned without asking.
    pub const fn is_all(&self) -> bool {
        matches!(self.0, Kind::All(_))
    }

    /// What is owned, to be let go and to be prepared, and changes of that. Right before something
    /// is done that only the owner may do, ask [`epoch`](Self::epoch).
    pub fn owned(&self) -> watch::Receiver<Owned> {
        match &self.0 {
            Kind::All(owned) => owned.subscribe(),
            Kind::Kept(shared) => shared.owned.subscribe(),
        }
    }

    /// The epoch under which `server` is owned at this moment; `None` as soon as that is not
    /// certain any more. 0, which is not fenced, where everything is owned.
    pub fn epoch(&self, server: ServerId) -> Option<u64> {
        match &self.0 {
            Kind::All(_) => Some(0),
            Kind::Kept(shared) => shared.book().epoch(server, Instant::now()),
        }
    }

    /// A server that [is to be prepared](Owned::is_to_prepare) could be served here. One that is
    /// to be prepared no longer is passed over.
    pub fn prepared(&self, server: ServerId) {
        if let Kind::Kept(shared) = &self.0 {
            let is_news = shared.book().prepared(server);
            if is_news {
                shared.poke.notify_one();
            }
        }
    }

    /// Gives up a server that is no longer served here; from now on it has no
    /// [`epoch`](Self::epoch).
    pub fn release(&self, server: ServerId) {
        if let Kind::Kept(shared) = &self.0 {
            shared.change(|book| book.give_up(server, Instant::now()));
        }
    }

    /// Something was refused because `epoch` is not the latest of `server`: somebody else owns it.
    pub fn lost(&self, server: ServerId, epoch: u64) {
        if let Kind::Kept(shared) = &self.0 {
            shared.change(|book| book.lose(server, epoch, Instant::now()));
        }
    }

    /// Says from now on that this worker is about to end: it is given nothing new, and is told to
    /// let go what others are ready for.
    pub fn drain(&self) {
        if let Kind::Kept(shared) = &self.0 {
            shared.change(super::book::Book::drain);
        }
    }

    /// Gives up everything that is held, and waits until the others know, or for two seconds.
    pub async fn release_all(&self) {
        let Kind::Kept(shared) = &self.0 else { return };
        shared.change(|book| book.give_up_all(Instant::now()));
        if tokio::time::timeout(RELEASE_LIMIT, shared.told()).await.is_err() {
            tracing::warn!("nobody heard of the released servers: others wait for their leases");
        }
    }
}
