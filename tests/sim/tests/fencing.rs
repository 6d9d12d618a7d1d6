//! The model of lease fencing, in every order up to its bounds.

use sim::fencing::Fencing;
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn no_order_lets_a_stale_write_in() {
    let checker = Fencing { fenced: true }.checker().spawn_bfs().join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
    assert!(checker.unique_state_count() > 10_000, "too few orders to mean anything");
}

#[test]
fn without_fencing_the_model_finds_a_stale_write() {
    let expected =
        ["no write of an epoch follows one of a later", "a write is taken in the last epoch only"];
    let found = HasDiscoveries::AllOf(expected.into_iter().collect());
    let checker = Fencing { fenced: false }.checker().finish_when(found).spawn_bfs().join();
    for property in expected {
        checker.assert_any_discovery(property);
    }
}
