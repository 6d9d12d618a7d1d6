//! The log in PostgreSQL, for many processes.
//!
//! An append locks the rows of its streams, checks versions, and writes events, outbox rows and
//! everything beside them in one transaction; the appends of one tenant that come at the same
//! time share it (`lanes.rs`, `group.rs`; `fresh.rs` for new streams). Nothing else is locked, so appends never wait for
//! those of other streams. One process at a time, the leader, moves the outbox into the log
//! (`sequencer.rs`) and so gives positions without gaps. Every process follows the log with one
//! tail (`tail.rs`) that feeds its subscriptions.
//!
//! What always holds besides the rules of the crate:
//! - Whoever appends sees one tenant: row-level security is forced, the tenant is set for the
//!   transaction only, and a role that could pass it by is refused when the store is opened.
//! - Positions are given by one epoch at a time: the row of the sequencer is written where it
//!   has that epoch only.
//! - No connection waits for ever: statements, locks and transactions end by themselves on the
//!   server, and the client gives up besides.

mod facts;
mod fresh;
mod group;
mod insert;
mod lanes;
mod leases;
mod migrate;
mod open;
mod place;
mod port;
mod read;
pub(crate) mod receive;
mod rows;
mod sequencer;
mod session;
mod tail;
mod upkeep;

use std::sync::Arc;

use domain::StreamId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::error::StoreError;
use crate::port::Clock;
use crate::recorded::Position;
use crate::subscription::{Commit, LIVE_COMMITS};

pub use migrate::{MigrateError, SCHEMA_VERSION, migrate, migrate_to, set_passwords};
pub use open::{PostgresConfig, PostgresOpenError};
pub use sequencer::{LEADER, Sequencer};

use lanes::Lanes;
use open::Pools;
use read::Reader;
use tail::Tail;

/// Commits that the sequencer of this process may be ahead of its tail; more are read.
const OFFERED_COMMITS: usize = 16;

/// The event store in a PostgreSQL database. Clones are handles of the same store, which is
/// closed when the last one is dropped.
#[derive(Clone)]
pub struct PostgresEventStore {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    config: PostgresConfig,
    pools: Pools,
    reader: Reader,
    lanes: Arc<Lanes>,
    /// Weak: subscriptions end when the tail ends.
    live: broadcast::WeakSender<Commit>,
    /// What the sequencer of this process committed, for its tail.
    offers: mpsc::Sender<Commit>,
    /// Rung after each append of this process.
    appended: Arc<Notify>,
    closed: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl PostgresEventStore {
    /// Opens a migrated database and starts to follow it on the current runtime.
    ///
    /// # Errors
    /// [`PostgresOpenError`]: each variant says what to do.
    pub async fn open(config: PostgresConfig) -> Result<Self, PostgresOpenError> {
        let pools = open::connect(&config).await?;
        let reader = Reader::new(pools.clone());
        let head = reader
            .head()
            .await
            .map_err(|error| PostgresOpenError::Unreachable { cause: Arc::new(error) })?;
        let (live, _) = broadcast::channel(LIVE_COMMITS);
        let (offers, offered) = mpsc::channel(OFFERED_COMMITS);
        let (appended, closed) = (Arc::new(Notify::new()), CancellationToken::new());
        let inner = Inner {
            clock: Arc::clone(&config.clock),
            lanes: Lanes::start(&config, &pools, Arc::clone(&appended)),
            reader: reader.clone(),
            live: live.downgrade(),
            offers,
            appended,
            closed: closed.clone(),
            pools,
            config,
        };
        tokio::spawn(Tail::new(reader, live, head).run(offered, closed));
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ends subscriptions and closes the connections. Appends that were begun are ended first.
    pub async fn close(&self) {
        self.inner.lanes.close().await;
        self.inner.closed.cancel();
        self.inner.pools.close().await;
    }

    /// The position up to which events were published on the bus.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn published(&self) -> Result<Position, StoreError> {
        self.inner.reader.published().await
    }

    /// Notes that everything up to `position` was published, by the leader of `epoch`. A
    /// position below the noted one changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another leads; [`StoreError::Unavailable`].
    pub async fn mark_published(&self, epoch: u64, position: Position) -> Result<(), StoreError> {
        place::mark_published(&self.inner.pools, epoch, position).await
    }

    /// Publishing begins again after `position`, as when the bus lost its stream.
    ///
    /// # Errors
    /// As [`mark_published`](Self::mark_published).
    pub async fn publish_again(&self, epoch: u64, position: Position) -> Result<(), StoreError> {
        place::publish_again(&self.inner.pools, epoch, position).await
    }

    fn follow(&self) -> broadcast::Receiver<Commit> {
        match self.inner.live.upgrade() {
            Some(live) => live.subscribe(),
            // Its sender is dropped here: closed from the start.
            None => broadcast::channel(1).1,
        }
    }

    /// Waits until the event has a position, at most as long as the configuration says.
    async fn placement(&self, stream: &StreamId, version: u64) -> Result<Position, StoreError> {
        let placed = tokio::time::timeout(self.inner.config.placement, async {
            let mut live = self.follow();
            loop {
                if let Some(position) = self.inner.reader.position_of(stream, version).await? {
                    return Ok(position);
                }
                if let Some(position) = await_event(&mut live, stream, version).await? {
                    return Ok(position);
                }
            }
        });
        placed.await.unwrap_or(Err(StoreError::Unavailable {
            reason: "no position was given in time: no control-plane leads",
            cause: None,
        }))
    }
}

/// The position of the event when it passes by; `None` when something was missed.
async fn await_event(
    live: &mut broadcast::Receiver<Commit>,
    stream: &StreamId,
    version: u64,
) -> Result<Option<Position>, StoreError> {
    loop {
        match live.recv().await {
            Ok(commit) => {
                let found =
                    commit.iter().find(|event| event.version == version && event.stream == *stream);
                if let Some(event) = found {
                    return Ok(Some(event.position));
                }
            }
            Err(RecvError::Lagged(_)) => return Ok(None),
            Err(RecvError::Closed) => return Err(StoreError::Closed),
        }
    }
}
