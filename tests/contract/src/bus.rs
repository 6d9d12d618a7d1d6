//! What every [`Bus`] does, as one suite per adapter.
//!
//! An adapter's test file calls [`bus_contract!`](crate::bus_contract) with an expression that
//! makes a future of a fresh, empty bus. Cases assume nothing of an adapter's timing but that it
//! does in seconds what it promises.

mod events;
mod exchanges;
pub mod memory;
mod presence;
mod pressure;

use std::sync::Arc;
use std::time::Duration;

pub use events::*;
pub use exchanges::*;
pub use presence::*;
pub use pressure::*;

use bus::{Bus, Subject, SubjectFilter};

/// The bus under test.
pub type Fresh = Arc<dyn Bus>;

/// After so long without progress a queue counts as full.
const STALLED: Duration = Duration::from_millis(200);

fn subject(text: &str) -> Subject {
    Subject::new(text).expect("a valid subject")
}

fn filter(text: &str) -> SubjectFilter {
    SubjectFilter::new(text).expect("a valid filter")
}

/// Makes one test of each case, run on the bus that `$fresh` resolves to.
#[macro_export]
macro_rules! bus_contract {
    ($fresh:expr) => {
        $crate::bus_contract! { $fresh;
            events_of_a_publisher_arrive_in_order
            a_filter_gets_what_it_matches
            every_subscriber_gets_every_event_until_it_leaves
            a_slow_subscriber_is_told_what_it_lost_and_where
            a_repeated_id_is_delivered_once
            concurrent_repetitions_are_delivered_once
            events_without_an_id_all_count
            an_event_above_the_limit_is_refused
            subscribers_agree_on_the_order_of_concurrent_publishers

            nobody_serving_is_no_responders_at_once
            frames_arrive_in_order_until_the_finish
            follow_ups_are_answered_within_the_exchange
            a_client_that_leaves_is_seen_by_the_server
            a_server_that_leaves_is_seen_by_the_client
            a_server_that_leaves_before_it_took_the_request_has_not_seen_it
            a_finished_exchange_takes_nothing_more
            a_group_of_servers_shares_the_requests
            a_server_gets_only_the_subjects_it_serves
            a_request_gives_the_first_frame
            a_request_gives_up_in_time
            many_exchanges_run_side_by_side

            a_slow_client_holds_the_server_back
            a_slow_client_holds_small_frames_back
            a_slow_server_holds_follow_ups_back
            a_blocked_writer_learns_that_the_reader_left
            a_frame_larger_than_the_window_passes
            a_frame_above_the_limit_is_refused
            a_full_queue_is_busy_until_it_is_served
            an_abandoned_read_loses_no_frame

            an_announced_key_is_present_until_its_drop
            a_watch_sees_keys_come_change_and_go
            a_watch_sees_only_its_filter
            a_newer_announcement_takes_the_key_over
            a_presence_value_above_the_limit_is_refused
        }
    };
    ($fresh:expr; $($case:ident)*) => {
        /// What was run, to compare adapters.
        pub(crate) const CASES: &[&str] = &[$(stringify!($case)),*];
        $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let case = async { $crate::bus::$case($fresh.await).await };
            tokio::time::timeout(std::time::Duration::from_secs(30), case)
                .await
                .expect("the case ends in time");
        }
    )*};
}

/// Makes one test of each case, run on the two [`SharedMemory`](bus::SharedMemory) that `$fresh`
/// resolves to: the same memory, as two processes see it.
#[macro_export]
macro_rules! shared_memory_contract {
    ($fresh:expr) => {
        $crate::shared_memory_contract! { $fresh;
            what_one_wrote_everybody_reads
            a_write_that_expects_nothing_finds_nothing
            a_stale_revision_is_refused
            of_concurrent_writes_one_wins
            a_removed_key_begins_anew
            a_value_above_the_limit_is_refused
            keys_are_apart_from_each_other
            a_trail_keeps_the_order_of_each_writer
            a_trail_keeps_its_latest_entries
            a_dropped_trail_is_empty_and_others_are_not
            an_entry_above_the_limit_is_refused
        }
    };
    ($fresh:expr; $($case:ident)*) => {
        /// What was run, to compare adapters.
        pub(crate) const CASES: &[&str] = &[$(stringify!($case)),*];
        $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let case = async { $crate::bus::memory::$case($fresh.await).await };
            tokio::time::timeout(std::time::Duration::from_secs(30), case)
                .await
                .expect("the case ends in time");
        }
    )*};
}
