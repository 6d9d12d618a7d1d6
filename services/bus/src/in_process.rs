//! The bus inside one process: for `up`, and for tests.
//!
//! Publishing is serialized, so that all subscribers see all events in one order. Nothing is
//! spawned; an exchange costs one allocation and one place in a queue. When the last handle is
//! dropped, subscriptions, servers and watches end; exchanges under way go on.

mod directory;
mod memory;
mod roll;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use self::directory::Directory;
use self::memory::Memory;
use self::roll::Roll;
use crate::error::check_size;
use crate::event::Inbox;
use crate::pipe::MAX_FRAME_BYTES;
use crate::recent_ids::RecentIds;
use crate::registration::Registration;
use crate::shared::check_shared;
use crate::{
    Announcement, Bus, BusError, ClientSide, Connectivity, Event, Incoming, MAX_CAPACITY,
    MemoryError, Presence, PresenceWatch, Revision, Server, SharedMemory, Subject, SubjectFilter,
    Subscription, connectivity, exchange, presence,
};

/// Limits of an [`InProcessBus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InProcessConfig {
    /// For how long the id of an event is remembered.
    pub dedup_window: Duration,
    /// How many ids are remembered at most, the oldest are forgotten first.
    pub dedup_ids: usize,
    /// Most subscriptions, most servers, and most watches.
    pub registrations: usize,
}

impl Default for InProcessConfig {
    /// Two minutes (the default of NATS), 65,536 ids, 10,000 registrations.
    fn default() -> Self {
        Self { dedup_window: Duration::from_secs(120), dedup_ids: 65_536, registrations: 10_000 }
    }
}

/// A [`Bus`] for the tasks of one process. Clones are handles to the same bus under the same
/// name.
#[derive(Debug, Clone)]
pub struct InProcessBus {
    core: Arc<Core>,
    instance: Arc<str>,
}

#[derive(Debug)]
struct Core {
    recent: Mutex<RecentIds>,
    subscribers: RwLock<Directory<Arc<Inbox>>>,
    servers: RwLock<Directory<mpsc::Sender<Incoming>>>,
    /// Where the next search for a server starts, so that a group shares its work.
    turn: AtomicUsize,
    roll: Arc<Roll>,
    memory: Mutex<Memory>,
    /// Never changes: what is in this process can be reached.
    connectivity: watch::Sender<Connectivity>,
    /// Most watches.
    registrations: usize,
}

impl Default for InProcessBus {
    fn default() -> Self {
        Self::new(InProcessConfig::default())
    }
}

impl InProcessBus {
    /// A bus without anybody on it.
    pub fn new(config: InProcessConfig) -> Self {
        let core = Core {
            recent: Mutex::new(RecentIds::new(config.dedup_window, config.dedup_ids)),
            subscribers: RwLock::new(Directory::new(config.registrations)),
            servers: RwLock::new(Directory::new(config.registrations)),
            turn: AtomicUsize::new(0),
            roll: Arc::default(),
            memory: Mutex::default(),
            connectivity: watch::Sender::new(Connectivity::Connected),
            registrations: config.registrations,
        };
        Self { core: Arc::new(core), instance: connectivity::new_instance() }
    }

    /// A handle to the same bus under a name of its own, as if it was that of another process.
    #[must_use]
    pub fn another_instance(&self) -> Self {
        Self { core: Arc::clone(&self.core), instance: connectivity::new_instance() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.core.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let subscribers = self.subscribers.get_mut().unwrap_or_else(PoisonError::into_inner);
        subscribers.all().for_each(|inbox| inbox.close());
    }
}

/// Takes an entry off a directory of a bus that may be gone already.
macro_rules! withdrawal {
    ($core:expr, $directory:ident, $filter:expr, $ticket:expr) => {{
        let (core, filter, ticket) = (Arc::downgrade($core), $filter, $ticket);
        Registration::new(move || {
            if let Some(core) = core.upgrade() {
                let mut directory = core.$directory.write().unwrap_or_else(PoisonError::into_inner);
                let gone = directory.remove(&filter, ticket);
                drop(directory);
                drop(gone);
            }
        })
    }};
}

#[async_trait]
impl Bus for InProcessBus {
    fn instance(&self) -> &str {
        &self.instance
    }

    fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.core.connectivity.subscribe()
    }

    async fn publish(&self, event: Event) -> Result<(), BusError> {
        event.check()?;
        let event = Arc::new(event);
        // Held over the deliveries: this is what gives all subscribers the same order.
        let mut recent = self.core.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = &event.id
            && !recent.remember(id, Instant::now())
        {
            return Ok(());
        }
        let subscribers = self.core.subscribers.read().unwrap_or_else(PoisonError::into_inner);
        for inbox in subscribers.matching(&event.subject) {
            inbox.push(&event);
        }
        Ok(())
    }

    async fn subscribe(
        &self,
        filter: SubjectFilter,
        capacity: usize,
    ) -> Result<Subscription, BusError> {
        let inbox = Arc::new(Inbox::new(capacity.clamp(1, MAX_CAPACITY)));
        let ticket = self
            .core
            .subscribers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(&filter, Arc::clone(&inbox))
            .ok_or(BusError::Busy { limit: "too many subscriptions" })?;
        Ok(Subscription::new(inbox, withdrawal!(&self.core, subscribers, filter, ticket)))
    }

    async fn serve(&self, filter: SubjectFilter, capacity: usize) -> Result<Server, BusError> {
        let (sender, queue) = mpsc::channel(capacity.clamp(1, MAX_CAPACITY));
        let ticket = self
            .core
            .servers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(&filter, sender)
            .ok_or(BusError::Busy { limit: "too many servers" })?;
        Ok(Server::new(withdrawal!(&self.core, servers, filter, ticket), queue))
    }

    async fn open(&self, subject: &Subject, first: Bytes) -> Result<ClientSide, BusError> {
        check_size("a frame", first.len(), MAX_FRAME_BYTES)?;
        let (client, server) = exchange::pair();
        let incoming = Incoming { subject: subject.clone(), first, exchange: server };
        self.core.hand_over(incoming).map(|()| client)
    }

    async fn announce(&self, key: Subject, value: Bytes) -> Result<Announcement, BusError> {
        let ticket = self.core.roll.enter(&key, value)?;
        // An announcement must not keep the bus alive.
        let (roll, entered) = (Arc::downgrade(&self.core.roll), key.clone());
        let update = Box::new(move |value| match roll.upgrade() {
            Some(roll) => roll.update(&entered, ticket, value),
            None => Err(BusError::Unavailable { detail: "the bus was shut down".to_owned() }),
        });
        let (roll, entered) = (Arc::downgrade(&self.core.roll), key.clone());
        let withdraw = Registration::new(move || {
            if let Some(roll) = roll.upgrade() {
                roll.leave(&entered, ticket);
            }
        });
        Ok(Announcement::new(key, update, withdraw))
    }

    async fn present(&self, filter: &SubjectFilter) -> Result<Vec<Presence>, BusError> {
        Ok(presence::matching(&self.core.roll.all(), filter))
    }

    async fn watch(&self, filter: SubjectFilter) -> Result<PresenceWatch, BusError> {
        let all = self.core.roll.follow(self.core.registrations);
        let all = all.ok_or(BusError::Busy { limit: "too many watches" })?;
        Ok(PresenceWatch::new(filter, all))
    }
}

#[async_trait]
impl SharedMemory for InProcessBus {
    async fn write(
        &self,
        key: &Subject,
        value: Bytes,
        expected: Option<Revision>,
    ) -> Result<Revision, MemoryError> {
        check_shared(&value)?;
        self.memory().write(key, value, expected, Instant::now())
    }

    async fn read(&self, key: &Subject) -> Result<Option<(Revision, Bytes)>, MemoryError> {
        Ok(self.memory().read(key, Instant::now()))
    }

    async fn remove(&self, key: &Subject) -> Result<(), MemoryError> {
        self.memory().remove(key);
        Ok(())
    }

    async fn push(&self, trail: &Subject, entry: Bytes) -> Result<(), MemoryError> {
        check_shared(&entry)?;
        self.memory().push(trail, entry, Instant::now());
        Ok(())
    }

    async fn trail(&self, trail: &Subject) -> Result<Vec<Bytes>, MemoryError> {
        Ok(self.memory().trail(trail, Instant::now()))
    }

    async fn drop_trail(&self, trail: &Subject) -> Result<(), MemoryError> {
        self.memory().drop_trail(trail);
        Ok(())
    }
}

impl Core {
    /// Gives the request to one server of its subject: the next in turn whose queue has room.
    fn hand_over(&self, mut incoming: Incoming) -> Result<(), BusError> {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        let subject = incoming.subject.clone();
        let group: Vec<_> = servers.matching(&subject).collect();
        let mut refusal = BusError::NoResponders;
        let turn = match group.len() {
            0 | 1 => 0,
            members => self.turn.fetch_add(1, Ordering::Relaxed) % members,
        };
        for server in group[turn..].iter().chain(&group[..turn]) {
            match server.try_send(incoming) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(returned)) => incoming = returned,
                Err(TrySendError::Full(returned)) => {
                    refusal = BusError::Busy { limit: "the queues of all servers are full" };
                    incoming = returned;
                }
            }
        }
        Err(refusal)
    }
}
