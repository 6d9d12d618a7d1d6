//! An append and its position, as a caller who needs both asks for them.
//!
//! Some adapters give positions while they append, others afterwards. The cases of the suite are
//! about what is the same on all of them, so they wait for each position as the port says.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{EventId, StreamId, TenantId, Timestamp};
use event_store::{
    Append, AppendError, Appended, Claim, Directory, EventStore, Lease, Leases, Page, Position,
    ReadFilter, Recorded, ReservationSet, StoreError, Subscription,
};

use super::Store;

/// Waits after each append until it has its position. Appends of several tenants are made one
/// tenant after the other, as a caller does who cares for their order.
pub struct Placed(pub Arc<dyn Store>);

impl Placed {
    async fn place(&self, mut appended: Appended) -> Appended {
        let position = self.0.wait_position(&appended).await;
        appended.last_position = Some(position.expect("a position that comes"));
        appended
    }
}

#[async_trait]
impl EventStore for Placed {
    async fn append(&self, batch: Append) -> Result<Appended, AppendError> {
        let appended = self.0.append(batch).await?;
        Ok(self.place(appended).await)
    }

    async fn append_all(&self, batches: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        let mut answers = Vec::with_capacity(batches.len());
        let mut rest = batches.into_iter().peekable();
        while let Some(first) = rest.next() {
            let tenant = first.stream.tenant;
            let mut run = vec![first];
            while let Some(next) = rest.next_if(|next| next.stream.tenant == tenant) {
                run.push(next);
            }
            for answer in self.0.append_all(run).await {
                answers.push(match answer {
                    Ok(appended) => Ok(self.place(appended).await),
                    refused => refused,
                });
            }
        }
        answers
    }

    async fn former(
        &self,
        tenant: TenantId,
        key: &str,
        request_hash: &[u8; 32],
    ) -> Result<Option<Appended>, AppendError> {
        self.0.former(tenant, key, request_hash).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Recorded>>, StoreError> {
        self.0.read_stream(stream, after_version, limit).await
    }

    async fn read(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.0.read(after, filter, limit).await
    }

    async fn event(
        &self,
        tenant: TenantId,
        event_id: EventId,
    ) -> Result<Option<Arc<Recorded>>, StoreError> {
        self.0.event(tenant, event_id).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.0.head().await
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        self.0.position_at(time).await
    }

    async fn wait_position(&self, appended: &Appended) -> Result<Position, StoreError> {
        self.0.wait_position(appended).await
    }

    fn subscribe(&self, after: Position, filter: ReadFilter) -> Subscription {
        self.0.subscribe(after, filter)
    }

    async fn body(&self, tenant: TenantId, event_id: EventId) -> Result<Option<Bytes>, StoreError> {
        self.0.body(tenant, event_id).await
    }

    async fn delete_bodies(
        &self,
        tenant: Option<TenantId>,
        expired_at: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError> {
        self.0.delete_bodies(tenant, expired_at, limit).await
    }

    async fn destroy_bodies(
        &self,
        tenant: TenantId,
        event_ids: &[EventId],
    ) -> Result<u64, StoreError> {
        self.0.destroy_bodies(tenant, event_ids).await
    }

    async fn forget_keys(&self, expired_at: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.0.forget_keys(expired_at, limit).await
    }
}

#[async_trait]
impl Directory for Placed {
    async fn holder(
        &self,
        set: &ReservationSet,
        value: &str,
    ) -> Result<Option<String>, StoreError> {
        self.0.holder(set, value).await
    }
}

#[async_trait]
impl Leases for Placed {
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<Lease>>, StoreError> {
        self.0.claim(claims).await
    }

    async fn release(&self, holder: &str, held: &[(String, u64)]) -> Result<(), StoreError> {
        self.0.release(holder, held).await
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError> {
        self.0.leases(prefix).await
    }
}
