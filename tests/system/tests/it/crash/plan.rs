//! When the system dies, from a seed.

use std::hash::{BuildHasher, RandomState};

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// SIGKILL as soon as this many answers are there.
    AfterAnswers(usize),
    /// It aborts itself before the commit with this number.
    BeforeCommit(u64),
    /// It aborts itself after the commit with this number, before anyone is answered.
    AfterCommit(u64),
}

impl Death {
    /// The value of the variable that asks the system for it.
    pub(super) fn failpoint(self) -> Option<String> {
        match self {
            Self::AfterAnswers(_) => None,
            Self::BeforeCommit(number) => Some(format!("before_commit:{number}")),
            Self::AfterCommit(number) => Some(format!("after_commit:{number}")),
        }
    }
}

/// The seed of this run: given, to see a failure again, or a new one.
pub(super) fn seed() -> u64 {
    match std::env::var("MCP_ORCH_TEST_SEED") {
        Ok(text) => text.parse().expect("MCP_ORCH_TEST_SEED is a number"),
        Err(_) => RandomState::new().hash_one("seed"),
    }
}

/// How many deaths there are to be: as many as are asked for, else `usual`.
pub(super) fn deaths(usual: usize) -> usize {
    match std::env::var("MCP_ORCH_TEST_KILLS") {
        Ok(text) => text.parse().expect("MCP_ORCH_TEST_KILLS is a number"),
        Err(_) => usual,
    }
}

/// The death of a round.
pub(super) fn death(seed: u64, round: usize, operations: usize) -> Death {
    let random = mix(seed ^ mix(round as u64));
    // A round has about twenty commits, some of them while it starts.
    let commit = 3 + random % 10;
    match round % 4 {
        0 => Death::BeforeCommit(commit),
        1 => Death::AfterCommit(commit),
        _ => Death::AfterAnswers(1 + usize::try_from(random).unwrap_or(0) % (operations - 20)),
    }
}

/// SplitMix64: neighbours lead to values that have nothing in common.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn a_seed_gives_the_same_plan_again() {
    let plan = |seed| (0..24).map(|round| death(seed, round, 200)).collect::<Vec<_>>();
    assert_eq!(plan(7), plan(7));
    assert_ne!(plan(7), plan(8));
    let failpoints = plan(7).iter().filter(|death| death.failpoint().is_some()).count();
    assert_eq!(failpoints, 12);
}
