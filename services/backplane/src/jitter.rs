//! Keeps many processes from doing the same at the same moment.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Numbers that look random, and are others for each process. Nothing secret is made of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jitter {
    seed: u64,
    turn: u64,
}

impl Jitter {
    /// For a process of that name.
    pub(crate) fn of(instance: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        instance.hash(&mut hasher);
        Self { seed: hasher.finish(), turn: 0 }
    }

    /// The next number, from 0 to 1.
    pub(crate) fn next(&mut self) -> f64 {
        self.turn = self.turn.wrapping_add(1);
        let mut hasher = DefaultHasher::new();
        (self.seed, self.turn).hash(&mut hasher);
        f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_and_differ_between_processes() {
        let (mut one, mut other) = (Jitter::of("edge-1"), Jitter::of("edge-2"));
        let numbers: Vec<f64> = (0..1_000).map(|_| one.next()).collect();
        assert!(numbers.iter().all(|number| (0.0..=1.0).contains(number)));
        let low = numbers.iter().filter(|number| **number < 0.5).count();
        assert!((400..600).contains(&low), "{low}");
        assert!(numbers.iter().any(|number| *number != other.next()));
    }
}
