//! What a follower hands out, given what arrives and when.

use std::time::Duration;

use domain::Timestamp;
use events::{Follower, Offer};
use proptest::prelude::*;

const PATIENCE: i64 = Follower::<u64>::PATIENCE_MICROS;
const REWOUND: i64 = Follower::<u64>::REWOUND_MICROS;

const fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn follower(position: u64) -> Follower<u64> {
    Follower::new(position, at(0))
}

fn ready(follower: &mut Follower<u64>) -> Vec<u64> {
    std::iter::from_fn(|| follower.next_ready()).collect()
}

#[test]
fn the_next_event_is_handed_out_and_calls_between_do_not_matter() {
    let mut follower = follower(10);
    // 11 to 14 were calls.
    assert_eq!(follower.offer(15, 8, 15, at(1)), Offer::Kept);
    assert_eq!(ready(&mut follower), [15]);
    assert_eq!(follower.offer(17, 15, 17, at(2)), Offer::Kept);
    assert_eq!(ready(&mut follower), [17]);
    assert_eq!((follower.position(), follower.is_waiting()), (17, false));
}

#[test]
fn what_the_snapshot_has_is_ignored() {
    let mut follower = follower(10);
    for position in [1, 9, 10] {
        assert_eq!(follower.offer(position, 0, position, at(1)), Offer::Ignored);
    }
    assert!(ready(&mut follower).is_empty());
}

#[test]
fn an_event_that_comes_twice_is_handed_out_once() {
    let mut follower = follower(0);
    follower.offer(1, 0, 1, at(1));
    follower.offer(1, 0, 1, at(1));
    assert_eq!(ready(&mut follower), [1]);
    assert_eq!(follower.offer(1, 0, 1, at(1)), Offer::Ignored);
    assert!(ready(&mut follower).is_empty());
}

#[test]
fn an_early_event_waits_for_the_one_before() {
    let mut follower = follower(0);
    follower.offer(5, 3, 5, at(1));
    assert!(ready(&mut follower).is_empty() && follower.is_waiting());
    follower.offer(3, 0, 3, at(2));
    assert_eq!(ready(&mut follower), [3, 5]);
    assert!(!follower.is_waiting() && !follower.is_overdue(at(PATIENCE * 9)));
}

#[test]
fn a_gap_that_stays_is_overdue() {
    let mut follower = follower(0);
    follower.offer(5, 3, 5, at(10));
    assert!(!follower.is_overdue(at(10 + PATIENCE - 1)));
    assert!(follower.is_overdue(at(10 + PATIENCE)));
    assert!(ready(&mut follower).is_empty(), "nothing is handed out across a gap");
}

#[test]
fn a_beat_that_tells_of_an_event_that_does_not_come_makes_it_overdue() {
    let mut follower = follower(5);
    follower.beat(9, 7, at(10));
    follower.beat(9, 7, at(10 + PATIENCE));
    assert!(follower.is_overdue(at(10 + PATIENCE)));
}

#[test]
fn a_steady_stream_of_changes_is_no_gap() {
    let mut follower = follower(0);
    for second in 1..10_u64 {
        let now = at(i64::try_from(second).unwrap() * PATIENCE);
        follower.beat(second, second, now);
        assert!(!follower.is_overdue(now), "second {second}");
        follower.offer(second, second - 1, second, now);
        assert_eq!(ready(&mut follower), [second]);
    }
}

#[test]
fn a_log_that_is_shorter_than_what_is_known_is_overdue() {
    let mut follower = follower(100);
    follower.beat(3, 3, at(10));
    assert!(follower.is_waiting() && !follower.is_overdue(at(10 + PATIENCE)));
    assert!(follower.is_overdue(at(10 + REWOUND)));
    assert_eq!(follower.freshness(at(10)), Duration::from_micros(10), "such a beat counts nothing");

    // A publisher that was behind and has caught up is no reason.
    follower.beat(100, 90, at(20));
    assert!(!follower.is_waiting() && !follower.is_overdue(at(10 + REWOUND)));
}

#[test]
fn freshness_counts_from_the_last_beat_that_told_of_nothing_missing() {
    let mut follower = follower(5);
    assert_eq!(follower.freshness(at(7)), Duration::from_micros(7), "from asking");
    follower.beat(6, 5, at(100));
    assert_eq!(follower.freshness(at(130)), Duration::from_micros(30));
    follower.beat(8, 8, at(200));
    assert_eq!(follower.freshness(at(230)), Duration::from_micros(130), "8 has not come");
    follower.offer(8, 5, 8, at(240));
    assert_eq!(ready(&mut follower), [8]);
    assert_eq!(follower.freshness(at(250)), Duration::from_micros(50), "it told the truth at 200");
}

#[test]
fn a_clock_that_was_put_back_does_not_make_anything_fresh() {
    let mut follower = follower(5);
    follower.beat(5, 5, at(90_000_000));
    assert_eq!(follower.freshness(at(0)), Duration::from_secs(90));
}

#[test]
fn held_events_are_limited() {
    let mut follower = follower(0);
    let limit = u64::try_from(Follower::<u64>::MAX_HELD).unwrap();
    for position in 0..limit {
        assert_eq!(follower.offer(position + 2, position + 1, position, at(1)), Offer::Kept);
    }
    assert_eq!(follower.offer(limit + 2, limit + 1, 0, at(1)), Offer::Overflow);
}

proptest! {
    /// In whatever order and however often events arrive: each is handed out once, in order.
    #[test]
    fn any_order_gives_the_log(
        steps in proptest::collection::vec(1..4_u64, 1..40),
        seeds in proptest::collection::vec(any::<proptest::sample::Index>(), 0..120),
    ) {
        let mut events = Vec::new();
        let mut previous = 0;
        for step in steps {
            events.push((previous + step, previous));
            previous += step;
        }
        let mut arrivals: Vec<_> = seeds.iter().map(|seed| *seed.get(&events)).collect();
        arrivals.extend(events.iter().rev());
        let mut follower = follower(0);
        let mut out = Vec::new();
        for (position, previous) in arrivals {
            follower.offer(position, previous, position, at(1));
            out.extend(ready(&mut follower));
        }
        let expected: Vec<_> = events.iter().map(|(position, _)| *position).collect();
        prop_assert_eq!(out, expected);
        prop_assert!(!follower.is_waiting());
    }
}
