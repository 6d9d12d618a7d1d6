//! Every target over its corpus, and over mutations of it that are the same in every run.
//!
//! `FUZZ_ROUNDS` sets how many mutations there are of each input; the default takes a few seconds.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as the tests themselves do")]

use std::fs;
use std::panic;
use std::path::Path;

use fuzz::mutation::{Numbers, mutate};
use fuzz::{TARGETS, Target};

/// Mutations of each target's corpus, all inputs together.
const ROUNDS: u64 = 4_000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs the target, and says which input broke it.
fn run(target: Target, input: &[u8], origin: &str) {
    if panic::catch_unwind(|| (target.run)(input)).is_err() {
        let escaped = input.escape_ascii();
        panic!("{} breaks at {origin}; the input is b\"{escaped}\"", target.name);
    }
}

fn exercise(name: &str) {
    let target = *TARGETS.iter().find(|target| target.name == name).unwrap();
    let inputs = corpus(name);
    assert!(inputs.len() >= 3, "{name} has too small a corpus");
    run(target, b"", "nothing");
    for (index, input) in inputs.iter().enumerate() {
        run(target, input, &format!("input {index} of the corpus"));
    }
    let rounds = std::env::var("FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for seed in 0..rounds {
        let mut numbers = Numbers::of_seed(seed);
        let input = &inputs[numbers.below(inputs.len())];
        run(target, &mutate(input, &inputs, &mut numbers), &format!("seed {seed}"));
    }
}

#[test]
fn every_corpus_has_a_target_and_a_binary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let stems = entries.map(|entry| {
            let path = entry.unwrap().path();
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        });
        let mut names: Vec<_> = stems.collect();
        names.sort();
        names
    };
    let targets: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
}

macro_rules! each {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                exercise(stringify!($name));
            }
        )*

        #[test]
        fn none_is_left_out() {
            let names = [$(stringify!($name)),*];
            assert!(TARGETS.iter().map(|target| target.name).eq(names));
        }
    };
}

each! {
    batch catalogue envelope header_value naming places request_state scan splice sse stdio uri
}
