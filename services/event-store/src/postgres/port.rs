//! The ports on PostgreSQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{EventId, StreamId, TenantId, Timestamp};
use futures::future::join_all;

use super::group::Answer;
use super::lanes::{GROUP_BYTES, GROUP_EVENTS};
use super::{PostgresEventStore, upkeep};
use crate::append::{Append, Appended, ReservationChange, ReservationSet};
use crate::error::{AppendError, StoreError};
use crate::limits;
use crate::port::{Directory, EventStore};
use crate::recorded::{Page, Position, ReadFilter, Recorded};
use crate::subscription::Subscription;

/// How often a read looks again at events that got no place meanwhile.
const LOOKS: usize = 3;

#[async_trait]
impl EventStore for PostgresEventStore {
    async fn append(&self, batch: Append) -> Result<Appended, AppendError> {
        // Before the queue, so that what is too large is never held there.
        limits::check(&batch)?;
        let answer = self.inner.lanes.append(batch.stream.tenant, vec![batch]).await.pop();
        answer.unwrap_or(Err(AppendError::OutcomeUnknown { cause: None }))
    }

    async fn append_all(&self, batches: Vec<Append>) -> Vec<Answer> {
        if changes_what_tenants_share(&batches) {
            return self.append_in_order(batches).await;
        }
        let mut lanes: BTreeMap<TenantId, Vec<(usize, Append)>> = BTreeMap::new();
        let mut answers = vec![None; batches.len()];
        for (at, batch) in batches.into_iter().enumerate() {
            match limits::check(&batch) {
                Ok(()) => lanes.entry(batch.stream.tenant).or_default().push((at, batch)),
                Err(refused) => answers[at] = Some(Err(refused)),
            }
        }
        let of_tenants = lanes.into_iter().map(|(tenant, numbered)| async move {
            let (places, appends): (Vec<_>, Vec<_>) = numbered.into_iter().unzip();
            places.into_iter().zip(self.append_lane(tenant, appends).await).collect::<Vec<_>>()
        });
        for (at, answer) in join_all(of_tenants).await.into_iter().flatten() {
            answers[at] = Some(answer);
        }
        let unknown = Err(AppendError::OutcomeUnknown { cause: None });
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| unknown.clone())).collect()
    }

    async fn former(
        &self,
        tenant: TenantId,
        key: &str,
        request_hash: &[u8; 32],
    ) -> Result<Option<Appended>, AppendError> {
        let former = self.inner.reader.command(tenant, key).await.map_err(|error| {
            AppendError::Unavailable {
                reason: "the former result cannot be read",
                cause: Some(Arc::new(error)),
            }
        })?;
        let now = (self.inner.clock)();
        former.map_or(Ok(None), |former| former.answer(key, request_hash, now))
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Recorded>>, StoreError> {
        for _ in 0..LOOKS {
            let events = self.inner.reader.stream(stream, after_version, limit).await?;
            // Within a stream the last one gets its place last.
            match events.iter().rfind(|event| event.position == Position::START) {
                None => return Ok(events.into_iter().map(Arc::new).collect()),
                Some(last) => self.placement(stream, last.version).await?,
            };
        }
        Err(StoreError::Unavailable { reason: "the stream grows too fast", cause: None })
    }

    async fn read(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.inner.reader.page(after, filter, limit).await
    }

    async fn event(
        &self,
        tenant: TenantId,
        event_id: EventId,
    ) -> Result<Option<Arc<Recorded>>, StoreError> {
        let mut event = self.inner.reader.event(tenant, event_id).await?;
        if let Some(found) = event.as_ref().filter(|found| found.position == Position::START) {
            self.placement(&found.stream, found.version).await?;
            event = self.inner.reader.event(tenant, event_id).await?;
        }
        Ok(event.map(Arc::new))
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.inner.reader.head().await
    }

    async fn settled(&self) -> Result<Position, StoreError> {
        self.inner.reader.settled().await
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        self.inner.reader.position_at(time).await
    }

    async fn wait_position(&self, appended: &Appended) -> Result<Position, StoreError> {
        match appended.last_position {
            Some(position) => Ok(position),
            None => self.placement(&appended.stream, appended.last_version).await,
        }
    }

    fn subscribe(&self, after: Position, filter: ReadFilter) -> Subscription {
        let source = Arc::new(self.inner.reader.clone());
        Subscription::new(source, self.follow(), after, filter)
    }

    async fn body(&self, tenant: TenantId, event_id: EventId) -> Result<Option<Bytes>, StoreError> {
        self.inner.reader.body(tenant, event_id, (self.inner.clock)()).await
    }

    async fn delete_bodies(
        &self,
        tenant: Option<TenantId>,
        expired_at: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError> {
        upkeep::delete_bodies(&self.inner.pools, tenant, expired_at, limit).await
    }

    async fn destroy_bodies(
        &self,
        tenant: TenantId,
        event_ids: &[EventId],
    ) -> Result<u64, StoreError> {
        upkeep::destroy_bodies(&self.inner.pools, tenant, event_ids).await
    }

    async fn forget_keys(&self, expired_at: Timestamp, limit: usize) -> Result<u64, StoreError> {
        upkeep::forget_keys(&self.inner.pools, expired_at, limit).await
    }
}

#[async_trait]
impl Directory for PostgresEventStore {
    async fn holder(
        &self,
        set: &ReservationSet,
        value: &str,
    ) -> Result<Option<String>, StoreError> {
        self.inner.reader.holder(set, value).await
    }
}

impl PostgresEventStore {
    /// Appends of one tenant, in groups that one commit holds, one after the other.
    async fn append_lane(&self, tenant: TenantId, appends: Vec<Append>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(appends.len());
        let (mut group, mut events, mut bytes) = (Vec::new(), 0, 0);
        for append in appends {
            events += append.events.len();
            bytes += append.weight();
            group.push(append);
            if events >= GROUP_EVENTS || bytes >= GROUP_BYTES {
                let full = std::mem::take(&mut group);
                answers.extend(self.inner.lanes.append(tenant, full).await);
                (events, bytes) = (0, 0);
            }
        }
        if !group.is_empty() {
            answers.extend(self.inner.lanes.append(tenant, group).await);
        }
        answers
    }

    /// One tenant after the other, as they come.
    async fn append_in_order(&self, batches: Vec<Append>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(batches.len());
        let mut run: Vec<Append> = Vec::new();
        for batch in batches {
            if let Err(refused) = limits::check(&batch) {
                self.end_run(&mut run, &mut answers).await;
                answers.push(Err(refused));
                continue;
            }
            if run.last().is_some_and(|last| last.stream.tenant != batch.stream.tenant) {
                self.end_run(&mut run, &mut answers).await;
            }
            run.push(batch);
        }
        self.end_run(&mut run, &mut answers).await;
        answers
    }

    async fn end_run(&self, run: &mut Vec<Append>, answers: &mut Vec<Answer>) {
        if let Some(first) = run.first() {
            let tenant = first.stream.tenant;
            answers.extend(self.append_lane(tenant, std::mem::take(run)).await);
        }
    }
}

/// Whether appends of several tenants could be in each other's way: then their order counts.
fn changes_what_tenants_share(batches: &[Append]) -> bool {
    let several = batches
        .first()
        .is_some_and(|first| batches.iter().any(|one| one.stream.tenant != first.stream.tenant));
    let shared = |change: &ReservationChange| {
        let (ReservationChange::Take { set, .. } | ReservationChange::Release { set, .. }) = change;
        set.tenant().is_none()
    };
    several && batches.iter().flat_map(|append| &append.reservations).any(shared)
}
