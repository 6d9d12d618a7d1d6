//! The port itself.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    Announcement, BusError, ClientSide, Connectivity, Event, Presence, PresenceWatch, Server,
    Subject, SubjectFilter, Subscription,
};

/// Largest queue of a subscription or a server, in entries. A capacity outside `1..=MAX_CAPACITY`
/// is taken as the nearest one inside.
pub const MAX_CAPACITY: usize = 65_536;

/// What the services meet over; see the crate's documentation for what always holds.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Name of this process on the bus: one token of a subject, unique for each start.
    fn instance(&self) -> &str;

    /// Whether the bus can be reached now, and the changes of that. It ends with the bus.
    fn connectivity(&self) -> watch::Receiver<Connectivity>;

    /// Delivers `event` to the subscribers of its subject. An id that was published before,
    /// within the adapter's window, is delivered only once and is no error.
    ///
    /// # Errors
    /// [`BusError::TooLarge`]; [`BusError::Unavailable`], then publish the same id again.
    async fn publish(&self, event: Event) -> Result<(), BusError>;

    /// Receives what is published to `filter` from the moment this returns. At most `capacity`
    /// events wait; what comes beyond is lost, and said to be lost.
    ///
    /// # Errors
    /// [`BusError::Busy`] at the limit of subscriptions, [`BusError::Unavailable`].
    async fn subscribe(
        &self,
        filter: SubjectFilter,
        capacity: usize,
    ) -> Result<Subscription, BusError>;

    /// Takes requests to `filter`, of which at most `capacity` wait. All servers that match a
    /// subject form one group: each request goes to one of them.
    ///
    /// # Errors
    /// [`BusError::Busy`] at the limit of servers, [`BusError::Unavailable`].
    async fn serve(&self, filter: SubjectFilter, capacity: usize) -> Result<Server, BusError>;

    /// Opens an exchange with one of the servers of `subject`.
    ///
    /// # Errors
    /// In each case no server saw the request: [`BusError::NoResponders`] at once when there is
    /// none, [`BusError::Busy`] when the queues of all are full, [`BusError::TooLarge`],
    /// [`BusError::Unavailable`].
    async fn open(&self, subject: &Subject, first: Bytes) -> Result<ClientSide, BusError>;

    /// Opens an exchange and takes its first frame as the answer.
    ///
    /// # Errors
    /// As of [`open`](Self::open); [`BusError::TimedOut`] after `timeout`; [`BusError::Closed`]
    /// if the server ended the exchange without a frame.
    async fn request(
        &self,
        subject: &Subject,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, BusError> {
        let answer = async {
            let exchange = self.open(subject, payload).await?;
            exchange.next_frame().await.unwrap_or(Err(BusError::Closed))
        };
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        tokio::time::timeout(timeout, answer)
            .await
            .unwrap_or(Err(BusError::TimedOut { timeout_ms }))
    }

    /// Keeps `key` present with `value` until the announcement is dropped. Where the process
    /// dies instead, the adapter withdraws the key after its own time limit.
    ///
    /// # Errors
    /// [`BusError::TooLarge`], [`BusError::Busy`] at the limit of keys,
    /// [`BusError::Unavailable`].
    async fn announce(&self, key: Subject, value: Bytes) -> Result<Announcement, BusError>;

    /// The keys that are present now, sorted.
    ///
    /// # Errors
    /// [`BusError::Unavailable`].
    async fn present(&self, filter: &SubjectFilter) -> Result<Vec<Presence>, BusError>;

    /// Follows the keys that `filter` matches.
    ///
    /// # Errors
    /// [`BusError::Busy`] at the limit of watches, [`BusError::Unavailable`].
    async fn watch(&self, filter: SubjectFilter) -> Result<PresenceWatch, BusError>;
}
