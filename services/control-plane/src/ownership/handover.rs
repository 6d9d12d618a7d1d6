//! From where the servers are to where they should be, step by step: who gets what is free, who
//! makes ready for what will come, who lets go.
//!
//! Pure and the same on every replica, as far as they read the same leases at the same time; where
//! they differ for a moment, the leases themselves decide. What always holds: only the worker that
//! should have a server is told to take it; a worker that stays lets go only of what its successor
//! is ready for; few servers move at a time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{ServerId, Timestamp};

use super::note::WorkerNote;
use super::placement::{Placement, seed_of_server, shuffled};

/// Fewest and most servers that move at a time because another worker suits them better; in
/// between it is one in a hundred.
const REBALANCED: (usize, usize) = (8, 64);
/// Servers of one worker that drains which move at a time.
const DRAINED: usize = 64;
/// Servers that are granted in one answer; a worker asks every second.
pub const GRANTED: usize = 256;
/// After this time others have their turn to be made ready: one that never is holds nobody up.
const TURN: Duration = Duration::from_secs(15);

/// Who has a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The worker.
    pub worker: Arc<str>,
    /// Under which epoch.
    pub epoch: u64,
}

/// What one worker is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// Free, or its own without its knowing: to be granted.
    pub take: Vec<ServerId>,
    /// To be connected, because they will come.
    pub prepare: Vec<ServerId>,
    /// To be given up as soon as it can.
    pub let_go: Vec<ServerId>,
}

/// What is known at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Where the servers should be.
    pub placement: &'a Placement,
    /// The live workers, by name.
    pub workers: &'a BTreeMap<Arc<str>, WorkerNote>,
    /// Where the servers are.
    pub holders: &'a HashMap<ServerId, Held>,
    /// Now.
    pub now: Timestamp,
    /// After this time a worker that drains lets go of what nobody is ready for.
    pub drain_limit: Duration,
}

/// A server that should be elsewhere.
struct Misplaced<'a> {
    seed: u64,
    server: ServerId,
    from: &'a Arc<str>,
    to: &'a Arc<str>,
}

/// What every worker is to do.
pub fn directions(situation: &Situation<'_>) -> HashMap<Arc<str>, Directions> {
    let mut all: HashMap<Arc<str>, Directions> = HashMap::new();
    let mut misplaced = Vec::new();
    for (server, owner) in situation.placement.owners() {
        match situation.holders.get(&server) {
            Some(held) if held.worker != *owner => misplaced.push(Misplaced {
                seed: seed_of_server(server),
                server,
                from: &held.worker,
                to: owner,
            }),
            _ => entry(&mut all, owner).take.push(server),
        }
    }
    let turn_us = i64::try_from(TURN.as_micros()).unwrap_or(i64::MAX);
    let turn = situation.now.as_micros().div_euclid(turn_us) as u64;
    misplaced.sort_unstable_by_key(|one| (shuffled(one.seed, turn), one.server));
    let prepared = situation.prepared();
    let share = situation.placement.owners().count() / 100;
    let mut rebalanced = share.clamp(REBALANCED.0, REBALANCED.1);
    let mut drained: HashMap<&Arc<str>, usize> = HashMap::new();
    for one in &misplaced {
        let ready = prepared.contains(&(one.to, one.server));
        let draining = situation.draining_since(one.from);
        let budget = match draining {
            Some(_) => drained.entry(one.from).or_insert(DRAINED),
            None => &mut rebalanced,
        };
        if ready || *budget > 0 {
            *budget = budget.saturating_sub(1);
            entry(&mut all, one.to).prepare.push(one.server);
        }
        if ready || draining.is_some_and(|since| situation.is_over(since)) {
            entry(&mut all, one.from).let_go.push(one.server);
        }
    }
    for directions in all.values_mut() {
        directions.take.sort_unstable();
        directions.prepare.sort_unstable();
        directions.let_go.sort_unstable();
    }
    all
}

fn entry<'a>(all: &'a mut HashMap<Arc<str>, Directions>, worker: &Arc<str>) -> &'a mut Directions {
    all.entry(Arc::clone(worker)).or_default()
}

impl Situation<'_> {
    /// Which worker is ready for which server.
    fn prepared(&self) -> HashSet<(&Arc<str>, ServerId)> {
        let of = |(worker, note)| {
            let note: &WorkerNote = note;
            note.prepared.iter().map(move |server| (worker, *server))
        };
        self.workers.iter().flat_map(of).collect()
    }

    fn draining_since(&self, worker: &Arc<str>) -> Option<Timestamp> {
        self.workers.get(worker)?.draining_since()
    }

    fn is_over(&self, since: Timestamp) -> bool {
        let limit_us = i64::try_from(self.drain_limit.as_micros()).unwrap_or(i64::MAX);
        self.now.as_micros().saturating_sub(since.as_micros()) >= limit_us
    }
}

#[cfg(test)]
mod tests;
