//! The log in memory: for tests of what stands on the port. It keeps nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{EventId, StreamId, TenantId, Timestamp};
use tokio::sync::broadcast;

use crate::admission::{Admission, Facts};
use crate::append::{Append, Appended, Body, Fence, ReservationSet, Retention};
use crate::error::{AppendError, StoreError};
use crate::lease::{self, Claim, Lease, LeaseBook};
use crate::limits::{MAX_PAGE_BYTES, MAX_PAGE_EVENTS};
use crate::port::{Clock, Directory, EventStore, Leases};
use crate::recorded::{Page, Position, ReadFilter, Recorded};
use crate::subscription::{Commit, LIVE_COMMITS, Source, Subscription};

/// The event store that forgets everything when it is dropped.
#[derive(Clone)]
pub struct MemoryEventStore {
    clock: Clock,
    log: Arc<Mutex<Log>>,
    live: broadcast::Sender<Commit>,
}

#[derive(Default)]
struct Log {
    facts: Facts,
    events: Vec<Arc<Recorded>>,
    bodies: HashMap<(TenantId, EventId), Body>,
    leases: LeaseBook,
}

impl MemoryEventStore {
    /// An empty log.
    pub fn new(clock: Clock) -> Self {
        let (live, _) = broadcast::channel(LIVE_COMMITS);
        Self { clock, log: Arc::default(), live }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

/// A panic elsewhere leaves the log whole: an admitted append is taken over without a step
/// that can fail.
fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    fn append(&mut self, append: Append, now: Timestamp) -> Result<Taken, AppendError> {
        if let Some(Fence { lease, .. }) = &append.fence {
            self.facts.epochs.insert(lease.clone(), self.leases.epoch(lease));
        }
        let admitted = match self.facts.admit(append, now)? {
            Admission::Former(appended) => return Ok((appended, Vec::new())),
            Admission::New(admitted) => *admitted,
        };
        self.events.extend(admitted.events.iter().map(Arc::clone));
        for (event, body) in admitted.bodies {
            self.bodies.insert((event.stream.tenant, event.event_id), body);
        }
        Ok((admitted.appended, admitted.events))
    }

    fn page(&self, after: Position, filter: &ReadFilter, limit: usize) -> Page {
        let head = Position::new(self.events.len() as u64);
        let start = usize::try_from(after.as_u64()).unwrap_or(usize::MAX).min(self.events.len());
        let matching = self.events[start..].iter().filter(|event| filter.admits(event));
        let (events, full) = cut(matching, limit);
        let next = match events.last() {
            Some(last) if full => last.position,
            _ => head.max(after),
        };
        Page { events, next }
    }
}

type Taken = (Appended, Vec<Arc<Recorded>>);

/// The first events within the limits of a page, and whether a limit was reached.
fn cut<'a>(
    events: impl Iterator<Item = &'a Arc<Recorded>>,
    limit: usize,
) -> (Vec<Arc<Recorded>>, bool) {
    let limit = limit.clamp(1, MAX_PAGE_EVENTS);
    let mut bytes = 0;
    let mut page = Vec::new();
    for event in events {
        bytes += event.payload.len();
        page.push(Arc::clone(event));
        if page.len() == limit || bytes > MAX_PAGE_BYTES {
            return (page, true);
        }
    }
    (page, false)
}

#[async_trait]
impl Source for Mutex<Log> {
    async fn page(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        Ok(lock(self).page(after, filter, limit))
    }
}

#[async_trait]
impl EventStore for MemoryEventStore {
    async fn append(&self, batch: Append) -> Result<Appended, AppendError> {
        let now = (self.clock)();
        let mut log = self.log();
        let (appended, events) = log.append(batch, now)?;
        if !events.is_empty() {
            // Sent under the lock, so that commits reach subscribers in order. An error says
            // that nobody follows.
            let _ = self.live.send(events.into());
        }
        Ok(appended)
    }

    async fn append_all(&self, batches: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        let mut answers = Vec::with_capacity(batches.len());
        for batch in batches {
            answers.push(self.append(batch).await);
        }
        answers
    }

    async fn former(
        &self,
        tenant: TenantId,
        key: &str,
        request_hash: &[u8; 32],
    ) -> Result<Option<Appended>, AppendError> {
        let now = (self.clock)();
        let log = self.log();
        let former = log.facts.commands.get(&(tenant, key.to_owned()));
        former.map_or(Ok(None), |former| former.answer(key, request_hash, now))
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Recorded>>, StoreError> {
        let log = self.log();
        let of_stream = log.events.iter().filter(|event| event.stream == *stream);
        Ok(cut(of_stream.filter(|event| event.version > after_version), limit).0)
    }

    async fn read(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        Ok(self.log().page(after, filter, limit))
    }

    async fn event(
        &self,
        tenant: TenantId,
        event_id: EventId,
    ) -> Result<Option<Arc<Recorded>>, StoreError> {
        Ok(self.log().facts.events.get(&(tenant, event_id)).map(Arc::clone))
    }

    async fn head(&self) -> Result<Position, StoreError> {
        Ok(self.log().facts.heads.position)
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        let log = self.log();
        let until = log.events.partition_point(|event| event.recorded_at <= time);
        Ok(Position::new(until as u64))
    }

    async fn wait_position(&self, appended: &Appended) -> Result<Position, StoreError> {
        appended.last_position.ok_or(StoreError::Unavailable {
            reason: "the append did not come from this store",
            cause: None,
        })
    }

    fn subscribe(&self, after: Position, filter: ReadFilter) -> Subscription {
        let source = Arc::clone(&self.log);
        Subscription::new(source, self.live.subscribe(), after, filter)
    }

    async fn body(&self, tenant: TenantId, event_id: EventId) -> Result<Option<Bytes>, StoreError> {
        let now = (self.clock)();
        let log = self.log();
        let body = log.bodies.get(&(tenant, event_id));
        Ok(body.filter(|body| !is_over(body, now)).map(|body| body.bytes.clone()))
    }

    async fn delete_bodies(
        &self,
        tenant: Option<TenantId>,
        expired_at: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError> {
        let mut log = self.log();
        let over = log.bodies.iter().filter(|((of, _), body)| {
            tenant.is_none_or(|tenant| tenant == *of) && is_over(body, expired_at)
        });
        let over: Vec<_> = over.map(|(key, _)| *key).take(limit).collect();
        Ok(over.iter().filter(|key| log.bodies.remove(key).is_some()).count() as u64)
    }

    async fn destroy_bodies(
        &self,
        tenant: TenantId,
        event_ids: &[EventId],
    ) -> Result<u64, StoreError> {
        let mut log = self.log();
        let removed = event_ids.iter().filter(|id| log.bodies.remove(&(tenant, **id)).is_some());
        Ok(removed.count() as u64)
    }

    async fn forget_keys(&self, expired_at: Timestamp, limit: usize) -> Result<u64, StoreError> {
        let commands = &mut self.log().facts.commands;
        let over = commands.iter().filter(|(_, former)| former.expires_at <= expired_at);
        let over: Vec<_> = over.map(|(key, _)| key.clone()).take(limit).collect();
        Ok(over.iter().filter(|key| commands.remove(key).is_some()).count() as u64)
    }
}

fn is_over(body: &Body, now: Timestamp) -> bool {
    matches!(body.retention, Retention::Until(end) if end <= now)
}

#[async_trait]
impl Directory for MemoryEventStore {
    async fn holder(
        &self,
        set: &ReservationSet,
        value: &str,
    ) -> Result<Option<String>, StoreError> {
        let key = (set.clone(), value.to_owned());
        Ok(self.log().facts.holders.get(&key).cloned())
    }
}

#[async_trait]
impl Leases for MemoryEventStore {
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<Lease>>, StoreError> {
        lease::check(claims)?;
        let now = (self.clock)();
        let book = &mut self.log().leases;
        Ok(claims.iter().map(|claim| book.claim(claim, now)).collect())
    }

    async fn release(&self, holder: &str, held: &[(String, u64)]) -> Result<(), StoreError> {
        lease::check_release(held)?;
        self.log().leases.release(holder, held);
        Ok(())
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError> {
        let now = (self.clock)();
        Ok(self.log().leases.list(prefix, now))
    }
}
