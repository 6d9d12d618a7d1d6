//! The ports: what the services may ask of an event store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{EventId, StreamId, TenantId, Timestamp};

use crate::append::{Append, Appended, ReservationSet};
use crate::error::{AppendError, StoreError};
use crate::lease::{Claim, Lease};
use crate::recorded::{Page, Position, ReadFilter, Recorded};
use crate::subscription::Subscription;

/// The time, as a parameter.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The log.
///
/// Every method may be called from many tasks at once. A future that is dropped may still have
/// its effect: an append is retried with the same event ids.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Writes one append and answers when it is durable.
    ///
    /// In this order: a known idempotency key answers the former result; known event ids with
    /// the same content answer the former result; the version is checked; the reservations are
    /// changed; the events are written.
    async fn append(&self, batch: Append) -> Result<Appended, AppendError>;

    /// Writes many appends, each as if by [`append`](Self::append) and in the given order, in
    /// as few commits as the limits allow. The answers have the order of the appends; one that
    /// is refused leaves the others as they are.
    async fn append_all(&self, batches: Vec<Append>) -> Vec<Result<Appended, AppendError>>;

    /// The result of the command that used `key` and has not expired. `request_hash` is the
    /// digest of the request at hand.
    ///
    /// # Errors
    /// [`AppendError::IdempotencyMismatch`] when the key belongs to another request.
    async fn former(
        &self,
        tenant: TenantId,
        key: &str,
        request_hash: &[u8; 32],
    ) -> Result<Option<Appended>, AppendError>;

    /// The events of one stream with versions above `after_version`, at most `limit` and
    /// [`MAX_PAGE_EVENTS`](crate::MAX_PAGE_EVENTS), fewer when they are large. Empty only at
    /// the stream's end.
    async fn read_stream(
        &self,
        stream: &StreamId,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<Arc<Recorded>>, StoreError>;

    /// The events after a position that the filter lets through, at most `limit` and
    /// [`MAX_PAGE_EVENTS`](crate::MAX_PAGE_EVENTS), fewer when they are large.
    async fn read(
        &self,
        after: Position,
        filter: &ReadFilter,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// One event by its id; `None` for an unknown one and for another tenant's.
    async fn event(
        &self,
        tenant: TenantId,
        event_id: EventId,
    ) -> Result<Option<Arc<Recorded>>, StoreError>;

    /// The position of the last event, [`Position::START`] in an empty log.
    async fn head(&self) -> Result<Position, StoreError>;

    /// A position that no append which was answered before the question is above: the head, once
    /// everything that waits for its position has one. Who has read up to here has seen it all.
    async fn settled(&self) -> Result<Position, StoreError> {
        self.head().await
    }

    /// The position of the last event recorded at `time` or before: the log as of that time.
    async fn position_at(&self, time: Timestamp) -> Result<Position, StoreError>;

    /// The position of the append's last event, waiting where positions are given later.
    async fn wait_position(&self, appended: &Appended) -> Result<Position, StoreError>;

    /// Follows the log from `after` on: in order, without gaps, each event once.
    fn subscribe(&self, after: Position, filter: ReadFilter) -> Subscription;

    /// The body of an event; `None` when there is none, when it expired or was destroyed, and
    /// for another tenant's event.
    async fn body(&self, tenant: TenantId, event_id: EventId) -> Result<Option<Bytes>, StoreError>;

    /// Deletes at most `limit` bodies whose retention ended at `expired_at` or before, of one
    /// tenant or of all. Returns how many; call again while it is `limit`.
    async fn delete_bodies(
        &self,
        tenant: Option<TenantId>,
        expired_at: Timestamp,
        limit: usize,
    ) -> Result<u64, StoreError>;

    /// Deletes the bodies of these events, whatever their retention. Returns how many there
    /// were. Unknown ids are passed over.
    async fn destroy_bodies(
        &self,
        tenant: TenantId,
        event_ids: &[EventId],
    ) -> Result<u64, StoreError>;

    /// Deletes at most `limit` idempotency keys that expired at `expired_at` or before.
    /// Returns how many.
    async fn forget_keys(&self, expired_at: Timestamp, limit: usize) -> Result<u64, StoreError>;
}

/// Look-ups that cannot name a tenant, because they find it: the owner of a key's hash, of a
/// login, of a project id.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Who holds `value` in `set`.
    async fn holder(&self, set: &ReservationSet, value: &str)
    -> Result<Option<String>, StoreError>;
}

/// Who may act on what, and since which epoch. See the module `lease` for what always holds.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Each claim for itself, in the given order: free or expired → taken with the next epoch;
    /// held by the same holder → renewed with the same epoch and the new note; another's →
    /// `None`. The answers have the order of the claims.
    ///
    /// Time is the store's: the clock of the database where many processes share it.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`]; [`StoreError::Unavailable`], after which the claims may have
    /// been granted or not: claim again.
    async fn claim(&self, claims: &[Claim]) -> Result<Vec<Option<Lease>>, StoreError>;

    /// Gives up; a lease that is not `holder`'s with that epoch is passed over.
    async fn release(&self, holder: &str, held: &[(String, u64)]) -> Result<(), StoreError>;

    /// The leases that are held now and whose names begin with `prefix`, sorted by name.
    async fn leases(&self, prefix: &str) -> Result<Vec<Lease>, StoreError>;
}
