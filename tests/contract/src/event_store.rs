//! What every event store must do.
//!
//! Each case is generic over an [`Adapter`]. [`event_store_suite!`](crate::event_store_suite)
//! makes one test of each case for one adapter; a case is registered in the list at the end of
//! this file, and a test fails when one is forgotten there.
#![expect(clippy::unwrap_used, reason = "a case of a suite is a test")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{EventId, StreamId, StreamKind, TenantId, Timestamp};
use event_store::{
    Append, Appended, Clock, Directory, EventStore, Expected, Leases, NewEvent, ReadFilter,
    Recorded,
};
use uuid::Uuid;

pub mod appending;
pub mod bodies;
pub mod concurrency;
pub mod fencing;
pub mod following;
pub mod idempotency;
pub mod leases;
pub mod limits;
pub mod placed;
pub mod reading;
pub mod reservations;
pub mod restart;
pub mod scripts;

/// The ports of an event store.
pub trait Store: EventStore + Directory + Leases {}
impl<T: EventStore + Directory + Leases> Store for T {}

/// Starts an event store for one case.
#[async_trait]
pub trait Adapter: Sized + Send {
    /// An empty store with this clock.
    async fn start(clock: Clock) -> Self;

    /// The running store as it is.
    fn raw(&self) -> Arc<dyn Store>;

    /// The running store, of which each append is answered with its position.
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(placed::Placed(self.raw()))
    }

    /// Ends the store in an orderly way and starts it on what it kept. An adapter that keeps
    /// nothing goes on as it is.
    async fn restart(self) -> Self;
}

/// A clock that stands until it is set.
#[derive(Clone)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// A clock at `seconds` since 1970.
    pub fn at(seconds: i64) -> Self {
        Self(Arc::new(AtomicI64::new(seconds)))
    }

    /// Sets the clock, forwards or backwards.
    pub fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    /// Sets the clock forwards.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The clock as the store takes it.
    pub fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.0);
        Arc::new(move || time(seconds.load(Ordering::SeqCst)))
    }
}

/// The time `seconds` after 1970.
pub fn time(seconds: i64) -> Timestamp {
    Timestamp::from_micros(0).plus_seconds(seconds)
}

/// The `n`-th tenant.
pub fn tenant(n: u8) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(u128::from(n)))
}

/// The `n`-th event id.
pub fn event_id(n: u64) -> EventId {
    EventId::from_uuid(Uuid::from_u128(u128::from(n)))
}

/// A stream of servers of the first tenant.
pub fn stream(id: &str) -> StreamId {
    StreamId::new(tenant(1), StreamKind::Server, id)
}

/// An event with the `n`-th id and a payload that tells it from others.
pub fn event(n: u64) -> NewEvent {
    NewEvent {
        id: event_id(n),
        event_type: "server.registered".into(),
        schema_version: 1,
        payload: Bytes::from(format!(r#"{{"number":{n}}}"#)),
        occurred_at: time(100),
        actor_type: "user".into(),
        actor_id: "ada".to_owned(),
        causation_id: None,
        correlation_id: None,
        body: None,
    }
}

/// An append of the events with these numbers, at any version.
pub fn append(stream: &StreamId, numbers: impl IntoIterator<Item = u64>) -> Append {
    let events = numbers.into_iter().map(event).collect();
    Append::new(stream.clone(), Expected::Any, events)
}

/// Appends the events with these numbers, which must succeed.
pub async fn appended(
    store: &dyn Store,
    stream: &StreamId,
    numbers: impl IntoIterator<Item = u64>,
) -> Appended {
    store.append(append(stream, numbers)).await.expect("an append that is in order")
}

/// Everything in the log, page by page.
pub async fn all(store: &dyn Store, filter: &ReadFilter) -> Vec<Arc<Recorded>> {
    let mut events = Vec::new();
    let mut after = event_store::Position::START;
    loop {
        let page = store.read(after, filter, 7).await.expect("a readable log");
        if page.events.is_empty() {
            return events;
        }
        after = page.next;
        events.extend(page.events);
    }
}

/// The numbers of the event ids.
pub fn numbers(events: &[Arc<Recorded>]) -> Vec<u64> {
    events.iter().map(|event| number(event)).collect()
}

/// The number of the event id.
pub fn number(event: &Recorded) -> u64 {
    u64::try_from(event.event_id.as_uuid().as_u128()).expect("an id of this suite")
}

/// Waits for what must come; fails instead of hanging.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it never came")
}

macro_rules! suite {
    ($d:tt $($group:ident: $($case:ident)*;)*) => {
        /// The names of all cases.
        pub const CASES: &[&str] = &[$($(stringify!($case)),*),*];

        /// Makes one test of each case of the event store's contract for one adapter, and a
        /// constant `RUN` with their number.
        #[macro_export]
        macro_rules! event_store_suite {
            ($d adapter:ty) => {
                $($(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        $crate::event_store::$group::$case::<$d adapter>().await;
                    }
                )*)*

                /// How many cases run on this adapter.
                pub(super) const RUN: usize = [$($(stringify!($case)),*),*].len();
            };
        }
    };
}

suite! { $
    appending:
        versions_and_positions_follow_each_other
        an_event_is_read_as_it_was_appended
        a_wrong_expected_version_is_a_conflict
        a_refused_append_leaves_no_gap
        tenant_positions_are_dense
        the_time_of_recording_never_falls
        the_same_events_are_one_append
        an_event_id_of_something_else_is_refused
        event_ids_belong_to_their_tenant
        a_refused_append_leaves_its_neighbours
        later_appends_see_earlier_ones_of_the_same_call
        many_appends_in_one_call;
    idempotency:
        a_repeated_command_gives_the_former_result
        a_key_with_another_request_is_refused
        keys_belong_to_their_tenant
        an_expired_key_is_free_again
        a_refused_command_leaves_its_key_free
        a_command_repeated_in_one_call_is_one
        expired_keys_are_forgotten;
    reservations:
        a_value_has_one_holder
        a_refused_reservation_writes_nothing
        a_released_value_is_free
        only_the_holder_releases
        sets_are_apart
        a_rename_is_one_append
        changes_are_made_in_order
        a_race_for_a_name_has_one_winner;
    reading:
        a_stream_is_read_in_pages
        the_log_is_read_in_pages
        a_filter_lets_through_what_it_names
        a_filtered_page_goes_on_behind_what_it_kept_out
        there_is_nothing_after_the_head
        an_event_is_found_by_its_id_in_its_tenant
        the_log_as_of_a_time
        a_page_ends_when_it_is_large;
    bodies:
        a_body_is_read_by_its_tenant_only
        an_expired_body_is_not_readable
        expired_bodies_are_deleted_up_to_a_limit
        bodies_are_destroyed_by_name
        an_event_outlives_its_body;
    limits:
        what_is_too_large_is_refused
        what_is_at_the_limit_is_stored
        what_is_malformed_is_refused;
    following:
        a_follower_catches_up_and_goes_on_live
        a_follower_starts_behind_its_position
        a_follower_sees_what_its_filter_lets_through
        a_slow_follower_loses_nothing
        a_wait_that_is_given_up_loses_nothing
        a_batch_has_what_is_there
        a_follower_learns_that_it_caught_up
        the_position_of_an_append_can_be_waited_for;
    concurrency:
        writers_on_hot_streams_leave_no_gap_and_no_inversion
        followers_under_load_miss_nothing
        no_update_is_lost;
    leases:
        a_free_lease_is_taken_and_renewed
        the_lease_of_another_is_not_granted
        an_expired_lease_is_taken_with_the_next_epoch
        a_lease_that_is_given_up_is_free_at_once
        leases_are_listed_by_their_prefix
        the_claims_of_one_call_are_for_themselves
        a_race_for_a_lease_has_one_winner
        epochs_go_on_after_a_restart
        a_claim_that_is_too_large_is_refused;
    fencing:
        the_holder_of_a_lease_appends
        a_stale_epoch_is_refused
        a_lease_that_was_given_up_fences_from_its_next_holding_on
        a_stale_retry_of_what_was_written_is_answered
        a_fenced_append_leaves_its_neighbours
        a_lease_that_nobody_held_fences_nothing;
    restart:
        everything_is_there_after_a_restart
        a_retry_after_a_restart_is_one_append;
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_registered() {
        let sources = [
            include_str!("event_store/appending.rs"),
            include_str!("event_store/bodies.rs"),
            include_str!("event_store/concurrency.rs"),
            include_str!("event_store/fencing.rs"),
            include_str!("event_store/following.rs"),
            include_str!("event_store/idempotency.rs"),
            include_str!("event_store/leases.rs"),
            include_str!("event_store/limits.rs"),
            include_str!("event_store/reading.rs"),
            include_str!("event_store/reservations.rs"),
            include_str!("event_store/restart.rs"),
        ];
        let written: usize =
            sources.iter().map(|source| source.matches("\npub async fn ").count()).sum();
        assert_eq!(written, super::CASES.len());
    }
}
