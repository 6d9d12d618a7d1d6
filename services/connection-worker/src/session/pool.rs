//! The connections of single clients to one server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::internal::v1::Peer;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::entry::{Entry, Use};
use super::keeper::Keeper;
use super::spare::Bench;
use crate::connection::{ActorDeps, Client, FAIL_FAST, Link, Slot, Switchboard};
use crate::meters::Checkout;

/// The longest name of a session, in bytes.
const MAX_NAME_BYTES: usize = 512;
/// How long a connection that makes room for another may take to end.
const EVICTION_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// A limit was reached.
    #[error("{0}")]
    Full(String),
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(&'static str),
    /// It does not stand; why, secrets masked.
    #[error("{0}")]
    Unavailable(Arc<str>),
}

/// See the module.
pub(crate) struct Pool {
    deps: Arc<ActorDeps>,
    slot: Arc<Slot>,
    stop: CancellationToken,
    keepers: TaskTracker,
    /// One permit for each connection of the server.
    room: Arc<Semaphore>,
    /// One permit for each connection of the project.
    project_room: Arc<Semaphore>,
    entries: Mutex<Vec<Arc<Entry>>>,
    bench: Arc<Bench>,
    last_failure: Mutex<Option<Failure>>,
}

/// What a connection takes of its limits.
type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// A connection in use; dropping it gives it back.
pub(crate) struct Lease {
    taken: Taken,
    link: Arc<Link>,
}

/// One use of a connection that may not stand yet.
struct Taken {
    entry: Arc<Entry>,
    usage: Use,
}

/// A connection that could not be set up, for who comes next.
struct Failure {
    at: Instant,
    cause: Arc<str>,
}

impl Pool {
    /// No connection yet; all of them end with `stop`.
    pub(crate) fn new(deps: Arc<ActorDeps>, slot: Arc<Slot>, stop: CancellationToken) -> Arc<Self> {
        let project_room = deps.projects.room(&slot.spec.project);
        Arc::new(Self {
            room: Arc::new(Semaphore::new(deps.config.max_sessions_per_server)),
            deps,
            slot,
            stop,
            keepers: TaskTracker::new(),
            project_room,
            entries: Mutex::default(),
            bench: Arc::default(),
            last_failure: Mutex::default(),
        })
    }

    /// Keeps a process warm from the first time that the server `stands`, until the pool is
    /// stopped; returns when no connection is left.
    pub(crate) async fn run(self: Arc<Self>, stands: Arc<Notify>) {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = stands.notified() => self.bench.fill(&self.deps, &self.slot, &self.stop),
            }
        }
        self.bench.clear();
        self.keepers.close();
        self.keepers.wait().await;
    }

    /// A connection for one request.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) async fn for_call(&self, peer: &Peer) -> Result<Lease, Denied> {
        self.check_out(peer, Use::Call).await
    }

    /// A connection for an attachment.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) async fn for_attachment(&self, peer: &Peer) -> Result<Lease, Denied> {
        self.check_out(peer, Use::Attachment).await
    }

    async fn check_out(&self, peer: &Peer, usage: Use) -> Result<Lease, Denied> {
        if peer.session.len() > MAX_NAME_BYTES {
            return Err(Denied::Invalid("the name of the session is too long"));
        }
        let found = self.find_or_start(peer, usage).await;
        let entry = found.inspect_err(|_| self.slot.meters().checked_out(Checkout::Refused))?;
        let taken = Taken { entry, usage };
        match taken.entry.link().await {
            Ok(link) => Ok(Lease { taken, link }),
            Err(cause) => {
                let failure = Failure { at: Instant::now(), cause: Arc::clone(&cause) };
                *self.failure() = Some(failure);
                Err(Denied::Unavailable(cause))
            }
        }
    }

    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt that failed just now counts for who comes next, too.
    fn check_failure(&self) -> Result<(), Denied> {
        match &*self.failure() {
            Some(Failure { at, cause }) if at.elapsed() < FAIL_FAST => {
                Err(Denied::Unavailable(Arc::clone(cause)))
            }
            _ => Ok(()),
        }
    }

    /// The connection of that session, taken; at the limit the one that was idle for longest
    /// makes room.
    async fn find_or_start(&self, peer: &Peer, usage: Use) -> Result<Arc<Entry>, Denied> {
        let mut permits: Option<Permits> = None;
        loop {
            let victim = {
                let mut entries = self.entries();
                let known = entries.iter().find(|entry| {
                    entry.session == peer.session
                        && entry.exclusive == peer.exclusive
                        && entry.take(usage)
                });
                if let Some(entry) = known {
                    self.slot.meters().checked_out(Checkout::Reused);
                    return Ok(Arc::clone(entry));
                }
                self.check_failure()?;
                match permits.take().or_else(|| self.try_permits()) {
                    Some(permits) => return Ok(self.start(&mut entries, peer, usage, permits)),
                    None => idle_longest(&mut entries),
                }
            };
            let Some(victim) = victim else { return Err(self.full()) };
            victim.stop.cancel();
            permits = timeout(EVICTION_LIMIT, self.permits()).await.ok().flatten();
            if permits.is_none() {
                return Err(self.full());
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_permits(&self) -> Option<Permits> {
        let own = Arc::clone(&self.room).try_acquire_owned().ok()?;
        Some((own, Arc::clone(&self.project_room).try_acquire_owned().ok()?))
    }

    async fn permits(&self) -> Option<Permits> {
        let own = Arc::clone(&self.room).acquire_owned().await.ok()?;
        Some((own, Arc::clone(&self.project_room).acquire_owned().await.ok()?))
    }

    fn full(&self) -> Denied {
        let config = &self.deps.config;
        let (limit, whose) = match self.room.available_permits() {
            0 => (config.max_sessions_per_server, "server"),
            _ => (config.max_sessions_per_project, "project"),
        };
        Denied::Full(format!(
            "the {whose} has {limit} connections for sessions in use, which is its limit: end \
             sessions or retry later"
        ))
    }

    fn start(
        &self,
        entries: &mut Vec<Arc<Entry>>,
        peer: &Peer,
        usage: Use,
        permits: Permits,
    ) -> Arc<Entry> {
        let client = Client::of(Some(peer));
        let stop = self.stop.child_token();
        let entry = Entry::new(&peer.session, peer.exclusive, client, stop, Instant::now());
        entry.take(usage);
        entries.retain(|known| !known.is_retired());
        entries.push(Arc::clone(&entry));
        let spare = self.bench.take();
        let how = if spare.is_some() { Checkout::Warm } else { Checkout::Cold };
        let meters = self.slot.meters();
        meters.checked_out(how);
        let keeper = Keeper {
            deps: Arc::clone(&self.deps),
            slot: Arc::clone(&self.slot),
            entry: Arc::clone(&entry),
        };
        let (deps, slot, stop) =
            (Arc::clone(&self.deps), Arc::clone(&self.slot), self.stop.clone());
        let bench = Arc::clone(&self.bench);
        // Both: the worker waits for all of its tasks, the pool for its own.
        let kept = self.keepers.track_future(async move {
            let _permits = permits;
            meters.session_began();
            keeper.run(spare).await;
            meters.session_ended();
        });
        self.deps.tasks.spawn(kept);
        bench.fill(&deps, &slot, &stop);
        entry
    }
}

/// Takes the connection out that was idle for longest.
fn idle_longest(entries: &mut Vec<Arc<Entry>>) -> Option<Arc<Entry>> {
    let idle = entries.iter().enumerate();
    let idle = idle.filter_map(|(at, entry)| Some((entry.idle_since()?, at)));
    let (_, at) = idle.min()?;
    let entry = entries.get(at).filter(|entry| entry.retire_if_idle()).cloned()?;
    entries.swap_remove(at);
    Some(entry)
}

impl Lease {
    /// The connection.
    pub(crate) const fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Who listens to it.
    pub(crate) fn board(&self) -> &Arc<Switchboard> {
        &self.taken.entry.board
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.entry.give_back(self.usage, Instant::now());
    }
}
