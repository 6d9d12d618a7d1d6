//! Many seeds hold, and each rule that is left out is noticed.
//!
//! `MCP_ORCH_SIM_SEEDS` is how many, and `MCP_ORCH_SIM_SEED` the one to run again.

use std::env;

use sim::run::{Bug, run};

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_a_seed_does_the_log_holds() {
    let seeds = match number("MCP_ORCH_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("MCP_ORCH_SIM_SEEDS").unwrap_or(60),
    };
    let mut events = 0;
    for seed in seeds.clone() {
        match run(seed, None) {
            Ok(count) => events += count,
            Err(what) => panic!("{what}; run it again with MCP_ORCH_SIM_SEED={seed}"),
        }
    }
    println!("seeds {seeds:?}: {events} events");
    assert!(events > 0, "nothing happened");
}

#[test]
fn a_seed_does_the_same_again() {
    assert_eq!(run(7, None), run(7, None));
}

/// Of as many seeds, one at least shows it.
fn is_noticed(bug: Bug) {
    let noticed = (0..100).find_map(|seed| run(seed, Some(bug)).err());
    assert!(noticed.is_some(), "{bug:?} was not noticed");
}

#[test]
fn a_store_without_fencing_is_noticed() {
    is_noticed(Bug::NoFencing);
}

#[test]
fn a_follower_that_looks_for_no_gap_is_noticed() {
    is_noticed(Bug::NaiveFollower);
}

#[test]
fn an_answer_before_the_commit_is_noticed() {
    is_noticed(Bug::AnswersEarly);
}
