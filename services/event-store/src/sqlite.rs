//! The log in one SQLite file, for one process.
//!
//! One task owns the only connection that writes, and commits the appends of many callers
//! together (`writer.rs`); a pool of connections reads. WAL with `synchronous=FULL`: what was
//! answered is on the disk. A lock file beside the database keeps a second process out.

mod bulk;
pub(crate) mod export;
mod facts;
mod insert;
mod leases;
mod newest;
mod open;
mod read;
mod rows;
mod upkeep;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{EventId, StreamId, TenantId, Timestamp};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::append::{Append, Appended, ReservationSet};
use crate::error::{AppendError, OpenError, StoreError};
use crate::lease::{self, Claim, Lease};
use crate::limits;
use crate::port::{Clock, Directory, EventStore, Leases};
use crate::recorded::{Page, Position, ReadFilter, Recorded};
use crate::subscription::{Commit, LIVE_COMMITS, Source, Subscription};

pub use open::SqliteConfig;

use read::Reader;
use upkeep::Upkeep;
use writer::{GROUP_BYTES, GROUP_EVENTS, LeaseRequest, Request, Writer};

/// The event store in a SQLite file. Clones are handles of the same store.
#[derive(Clone)]
pub struct SqliteEventStore {
    clock: Clock,
    reader: Reader,
    /// `None` when the file was opened for reading only.
    writer: Option<mpsc::Sender<Request>>,
    /// Weak: subscriptions end when the writer ends.
    live: broadcast::WeakSender<Commit>,
}

impl SqliteEventStore {
    /// Creates the file when there is none, readable for its owner only, and brings its schema
    /// up to date.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while a process has it open for writing; [`OpenError::Newer`] when
    /// a newer build migrated it; [`OpenError::Foreign`]; [`OpenError::Failed`].
    pub async fn prepare(path: &Path) -> Result<(), OpenError> {
        open::prepare(path).await
    }

    /// Opens a prepared file for reading and writing, and starts the writer on the current
    /// runtime.
    ///
    /// # Errors
    /// [`OpenError`]: each variant says what to do.
    pub async fn open(config: SqliteConfig) -> Result<Self, OpenError> {
        let lock: File = open::lock(&config.path)?;
        open::check_schema(&config.path).await?;
        let connection = open::writer_connection(&config.path).await?;
        let (live, _) = broadcast::channel(LIVE_COMMITS);
        let (requests, received) = mpsc::channel(config.queue);
        let store = Self {
            clock: Arc::clone(&config.clock),
            reader: Reader::new(&config),
            writer: Some(requests),
            live: live.downgrade(),
        };
        tokio::spawn(Writer::new(config, connection, live, lock).run(received));
        Ok(store)
    }

    /// Opens a prepared file for reading only, also while another process writes it. Appends
    /// are [`AppendError::Unavailable`], and subscriptions end after what is there.
    ///
    /// # Errors
    /// As [`open`](Self::open), without [`OpenError::InUse`].
    pub async fn open_read_only(config: SqliteConfig) -> Result<Self, OpenError> {
        open::check_schema(&config.path).await?;
        let (live, _) = broadcast::channel(1);
        Ok(Self {
            clock: Arc::clone(&config.clock),
            reader: Reader::new(&config),
            writer: None,
            live: live.downgrade(),
        })
    }

    /// Carries out what is queued, moves the write-ahead log into the file, closes it and gives
    /// the lock back. Later appends are refused and subscriptions end.
    pub async fn close(&self) {
        if let Some(writer) = &self.writer {
            let (answer, closed) = oneshot::channel();
            if writer.send(Request::Close { answer }).await.is_ok() {
                // An error says that the writer is gone already.
                let _ = closed.await;
            }
        }
        self.reader.close().await;
    }

    /// What is copied to another store.
    pub(crate) fn export(&self) -> export::Export {
        export::Export::new(self.reader.clone())
    }

    /// Sends to the writer and waits for its answer.
    async fn request<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, Unanswered> {
        let writer = self.writer.as_ref().ok_or(Unanswered::ReadOnly)?;
        let (answer, answered) = oneshot::channel();
        writer.send(request(answer)).await.map_err(|_| Unanswered::Closed)?;
        answered.await.map_err(|_| Unanswered::Lost)
    }

    async fn upkeep(&self, upkeep: Upkeep) -> Result<u64, StoreError> {
        let answer = self.request(|answer| Request::Upkeep { upkeep, answer }).await;
        answer.unwrap_or_else(|unanswered| Err(unanswered.into()))
    }

    async fn about_leases<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> LeaseRequest,
    ) -> Result<T, StoreError> {
        let answer = self.request(|answer| Request::Leases(request(answer))).await;
        answer.unwrap_or_else(|unanswered| Err(unanswered.into()))
    }

    async fn append_group(&self, group: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        let size = group.len();
        let answers = self.request(|answer| Request::Append { batches: group, answer }).await;
        answers.unwrap_or_else(|unanswered| vec![Err(unanswered.into()); size])
    }
}

/// Why there is no answer of the writer.
#[derive(Clone, Copy)]
enum Unanswered {
    ReadOnly,
    Closed,
    /// It had the request and ended before its answer.
    Lost,
}

impl From<Unanswered> for AppendError {
    fn from(unanswered: Unanswered) -> Self {
        let reason = match unanswered {
            Unanswered::ReadOnly => "it is open for reading only",
            Unanswered::Closed => "it is closed",
            Unanswered::Lost => return Self::OutcomeUnknown { cause: None },
        };
        Self::Unavailable { reason, cause: None }
    }
}

impl From<Unanswered> for StoreError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::ReadOnly => {
                Self::Unavailable { reason: "it is open for reading only", cause: None }
            }
            Unanswered::Closed | Unanswered::Lost => Self::Closed,
        }
    }
}

/// Splits appends into groups that one commit holds, in order.
fn groups(batches: Vec<Append>) -> Vec<Vec<Append>> {
    let mut groups = Vec::new();
    let (mut group, mut events, mut bytes) = (Vec::new(), 0, 0);
    for batch in batches {
        events += batch.events.len();
        bytes += batch.weight();
        group.push(batch);
        if events >= GROUP_EVENTS || bytes >= GROUP_BYTES {
            groups.push(std::mem::take(&mut group));
            (events, bytes) = (0, 0);
        }
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

#[async_trait]
impl EventStore for SqliteEventStore {
    async fn append(&self, batch: Append) -> Result<Appended, AppendError> {
        // Before the queue, so that what is too large is never held there.
        limits::check(&batch)?;
        let answer = self.append_group(vec![batch]).await.pop();
        answer.unwrap_or(Err(AppendError::OutcomeUnknown { cause: None }))
    }

    async fn append_all(&self, batches: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        let groups = groups(batches).into_iter().map(|group| self.append_group(group));
        // One after the other: the answers of a group are there before the next is queued, so
        // one caller never fills the queue.
        let mut answers = Vec::new();
        for group in groups {
            answers.extend(group.await);
        }
        answers
    }

    async fn former(
        &self,
        tenant: TenantId,
        key: &str,
        request_hash: &[u8; 32],
    ) -> Result<Option<Appended>, AppendError> {
        let former =
            self.reader.command(tenant, key).await.map_err(|error| AppendError::Unavailable {
                reason: "the former result cannot be read",
                cause: Some(Arc::new(error)),
            })?;
        let now = (self.clock)();
        former.map_or(Ok(None), |former| former.answer(key, request_hash, now))
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Recorded>>, StoreError> {
        self.reader.stream(stream, after_version, limit).await
    }

    async fn read(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.reader.page(after, filter, limit).await
    }

    async fn event(
        &self,
        tenant: TenantId,
        event_id: EventId,
    ) -> Result<Option<Arc<Recorded>>, StoreError> {
        self.reader.event(tenant, event_id).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.reader.head().await
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        self.reader.position_at(time).await
    }

    async fn wait_position(&self, appended: &Appended) -> Result<Position, StoreError> {
        // The one writer gives positions while it appends.
        appended.last_position.ok_or(StoreError::Unavailable {
            reason: "the append did not come from this store",
            cause: None,
        })
    }

    fn subscribe(&self, after: Position, filter: ReadFilter) -> Subscription {
        let live = match self.live.upgrade() {
            Some(live) => live.subscribe(),
            // Its sender is dropped here: closed from the start.
            None => broadcast::channel(1).1,
        };
        Subscription::new(Arc::new(self.reader.clone()), live, after, filter)
    }

    async fn body(&self, tenant: TenantId, event_id: EventId) -> Result<Option<Bytes>, StoreError> {
        self.reader.body(tenant, event_id, (self.clock)()).await
    }

    async fn delete_bodies(
        &self,
        tenant: Option<TenantId>,
        expired_at: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError> {
        self.upkeep(Upkeep::DeleteBodies { tenant, expired_at, limit }).await
    }

    async fn destroy_bodies(
        &self,
        tenant: TenantId,
        event_ids: &[EventId],
    ) -> Result<u64, StoreError> {
        self.upkeep(Upkeep::DestroyBodies { tenant, event_ids: event_ids.to_vec() }).await
    }

    async fn forget_keys(&self, expired_at: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.upkeep(Upkeep::ForgetKeys { expired_at, limit }).await
    }
}

#[async_trait]
impl Directory for SqliteEventStore {
    async fn holder(
        &self,
        set: &ReservationSet,
        value: &str,
    ) -> Result<Option<String>, StoreError> {
        self.reader.holder(set, value).await
    }
}

#[async_trait]
impl Leases for SqliteEventStore {
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<Lease>>, StoreError> {
        lease::check(claims)?;
        let claims = claims.to_vec();
        self.about_leases(|answer| LeaseRequest::Claim { claims, answer }).await
    }

    async fn release(&self, holder: &str, held: &[(String, u64)]) -> Result<(), StoreError> {
        lease::check_release(held)?;
        let (holder, held) = (holder.to_owned(), held.to_vec());
        self.about_leases(|answer| LeaseRequest::Release { holder, held, answer }).await
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError> {
        let prefix = prefix.to_owned();
        self.about_leases(|answer| LeaseRequest::List { prefix, answer }).await
    }
}

#[async_trait]
impl Source for Reader {
    async fn page(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        Self::page(self, after, filter, limit).await
    }
}
