//! The real store in memory, as one replica reaches it: its way there can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{EventId, StreamId, TenantId, Timestamp};
use event_store::{
    Append, AppendError, Appended, Claim, EventStore, Lease, Leases, MemoryEventStore, Page,
    Position, ReadFilter, Recorded, StoreError, Subscription,
};

#[derive(Clone)]
pub(crate) struct Reached {
    store: MemoryEventStore,
    cut: Arc<AtomicBool>,
    heads: Arc<AtomicU64>,
    fenced: Arc<AtomicU64>,
}

impl Reached {
    pub(crate) fn new(store: MemoryEventStore) -> Self {
        Self { store, cut: Arc::default(), heads: Arc::default(), fenced: Arc::default() }
    }

    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    /// How often it was asked where the log ends.
    pub(crate) fn heads(&self) -> u64 {
        self.heads.load(Ordering::SeqCst)
    }

    /// How many appends were refused because another leads.
    pub(crate) fn fenced(&self) -> u64 {
        self.fenced.load(Ordering::SeqCst)
    }

    fn way(&self) -> Result<&MemoryEventStore, StoreError> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable { reason: "the way is cut", cause: None });
        }
        Ok(&self.store)
    }

    fn way_to_append(&self) -> Result<&MemoryEventStore, AppendError> {
        self.way().map_err(|_| AppendError::Unavailable { reason: "the way is cut", cause: None })
    }
}

#[async_trait]
impl EventStore for Reached {
    async fn append(&self, batch: Append) -> Result<Appended, AppendError> {
        self.way_to_append()?.append(batch).await
    }

    async fn append_all(&self, batches: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
        match self.way_to_append() {
            Ok(store) => {
                let answers = store.append_all(batches).await;
                let fenced =
                    answers.iter().filter(|one| matches!(one, Err(AppendError::Fenced { .. })));
                self.fenced.fetch_add(fenced.count() as u64, Ordering::SeqCst);
                answers
            }
            Err(error) => batches.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn former(
        &self,
        tenant: TenantId,
        key: &str,
        request_hash: &[u8; 32],
    ) -> Result<Option<Appended>, AppendError> {
        self.way_to_append()?.former(tenant, key, request_hash).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Recorded>>, StoreError> {
        self.way()?.read_stream(stream, after_version, limit).await
    }

    async fn read(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.way()?.read(after, filter, limit).await
    }

    async fn event(
        &self,
        tenant: TenantId,
        event_id: EventId,
    ) -> Result<Option<Arc<Recorded>>, StoreError> {
        self.way()?.event(tenant, event_id).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.heads.fetch_add(1, Ordering::SeqCst);
        self.way()?.head().await
    }

    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError> {
        self.way()?.position_at(time).await
    }

    async fn wait_position(&self, appended: &Appended) -> Result<Position, StoreError> {
        self.way()?.wait_position(appended).await
    }

    fn subscribe(&self, after: Position, filter: ReadFilter) -> Subscription {
        self.store.subscribe(after, filter)
    }

    async fn body(&self, tenant: TenantId, event_id: EventId) -> Result<Option<Bytes>, StoreError> {
        self.way()?.body(tenant, event_id).await
    }

    async fn delete_bodies(
        &self,
        tenant: Option<TenantId>,
        expired_at: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError> {
        self.way()?.delete_bodies(tenant, expired_at, limit).await
    }

    async fn destroy_bodies(
        &self,
        tenant: TenantId,
        event_ids: &[EventId],
    ) -> Result<u64, StoreError> {
        self.way()?.destroy_bodies(tenant, event_ids).await
    }

    async fn forget_keys(&self, expired_at: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.way()?.forget_keys(expired_at, limit).await
    }
}

#[async_trait]
impl Leases for Reached {
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<Lease>>, StoreError> {
        self.way()?.claim(claims).await
    }

    async fn release(&self, holder: &str, held: &[(String, u64)]) -> Result<(), StoreError> {
        self.way()?.release(holder, held).await
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError> {
        self.way()?.leases(prefix).await
    }
}
