//! Which worker should have which server: weighted rendezvous hashing with a bound on the load.
//!
//! Pure and the same on every replica: the result depends on the workers and the servers alone,
//! not on their order, a clock or what was before. A server goes to the worker that draws the
//! highest number for it among those that have its labels and room. A worker has room below
//! `ceil(1.25 × its share)` of all servers, its share being by weight, and never above its
//! capacity; where labels and capacities leave no such worker, the least loaded one that may take
//! it does.
//!
//! Cost: one draw for each pair of a worker's weight and a server, of about ten nanoseconds with
//! what is around it. 1,000 workers of weight 1 and 10,000 servers are ten million draws: some
//! 0.1 s of one core, once for each change of the workers or the servers, and 1 MB for the
//! result. When one of the 1,000 leaves, its own ten servers move, and about five others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use domain::ServerId;
use ring::digest::{SHA256, digest};

/// Largest weight; a larger one counts as this.
pub const MAX_WEIGHT: u32 = 64;

/// A worker that takes servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name on the bus.
    pub instance: Arc<str>,
    /// What is special about it.
    pub labels: BTreeSet<String>,
    /// Its share relative to the others; 0 counts as 1.
    pub weight: u32,
    /// Most servers that it takes; 0 for no limit.
    pub capacity: u32,
}

/// A server that is to run somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub id: ServerId,
    /// What its worker must have.
    pub labels: BTreeSet<String>,
}

/// Why a server has no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplaced {
    /// There is no worker that takes servers.
    #[error("no worker is running")]
    NoWorker,
    /// No worker has all of its labels.
    #[error("no worker has {}", named(_0))]
    NoLabels(BTreeSet<String>),
    /// All workers that may take it are at their capacity.
    #[error("every worker that may run it is at its capacity")]
    Full,
}

fn named(labels: &BTreeSet<String>) -> String {
    let list: Vec<_> = labels.iter().map(String::as_str).collect();
    let noun = if list.len() == 1 { "the label" } else { "the labels" };
    format!("{noun} {}", list.join(", "))
}

/// Where every server should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    owners: HashMap<ServerId, Arc<str>>,
    unplaced: BTreeMap<ServerId, Unplaced>,
}

impl Placement {
    /// The worker that should have the server.
    pub fn owner(&self, server: ServerId) -> Option<&Arc<str>> {
        self.owners.get(&server)
    }

    /// Every server that has a place, in no order.
    pub fn owners(&self) -> impl Iterator<Item = (ServerId, &Arc<str>)> {
        self.owners.iter().map(|(server, owner)| (*server, owner))
    }

    /// The servers that have no place, and why.
    pub fn unplaced(&self) -> &BTreeMap<ServerId, Unplaced> {
        &self.unplaced
    }
}

/// Where the servers should be, given these workers.
pub fn place(workers: &[Candidate], servers: &[Wanted]) -> Placement {
    let mut placement = Placement::default();
    let mut room = Room::new(workers, servers.len());
    let mut order: Vec<_> =
        servers.iter().map(|server| (seed_of_server(server.id), server)).collect();
    // Those that few workers may take come first; else the order is nobody's choice.
    order.sort_unstable_by_key(|(seed, server)| {
        (std::cmp::Reverse(server.labels.len()), *seed, server.id)
    });
    let mut eligible: HashMap<&BTreeSet<String>, Vec<usize>> = HashMap::new();
    for (seed, server) in order {
        let may =
            eligible.entry(&server.labels).or_insert_with(|| room.with_labels(&server.labels));
        match room.take(may, seed) {
            Some(owner) => {
                placement.owners.insert(server.id, owner);
            }
            None => {
                let why = match (workers.is_empty(), may.is_empty()) {
                    (true, _) => Unplaced::NoWorker,
                    (false, true) => Unplaced::NoLabels(server.labels.clone()),
                    (false, false) => Unplaced::Full,
                };
                placement.unplaced.insert(server.id, why);
            }
        }
    }
    placement
}

/// A worker while servers are dealt out.
struct Place<'a> {
    worker: &'a Candidate,
    seed: u64,
    weight: u32,
    load: u32,
    /// Beyond this only when there is no other way.
    bound: u32,
    capacity: u32,
}

struct Room<'a>(Vec<Place<'a>>);

impl<'a> Room<'a> {
    fn new(workers: &'a [Candidate], servers: usize) -> Self {
        let weight = |worker: &Candidate| worker.weight.clamp(1, MAX_WEIGHT);
        let total: u64 = workers.iter().map(|worker| u64::from(weight(worker))).sum();
        let mut places: Vec<_> = workers
            .iter()
            .map(|worker| {
                let capacity = if worker.capacity == 0 { u32::MAX } else { worker.capacity };
                let bound = bound(servers, weight(worker), total);
                Place {
                    worker,
                    seed: seed_of_worker(&worker.instance),
                    weight: weight(worker),
                    load: 0,
                    bound: bound.min(capacity),
                    capacity,
                }
            })
            .collect();
        places.sort_by(|a, b| a.worker.instance.cmp(&b.worker.instance));
        Self(places)
    }

    fn with_labels(&self, labels: &BTreeSet<String>) -> Vec<usize> {
        let has = |place: &Place<'_>| labels.is_subset(&place.worker.labels);
        (0..self.0.len()).filter(|index| has(&self.0[*index])).collect()
    }

    /// The worker that gets the server with this seed, of those that may.
    fn take(&mut self, may: &[usize], seed: u64) -> Option<Arc<str>> {
        let draws = |index: &usize| self.0[*index].draw(seed);
        let within = may.iter().filter(|index| self.0[**index].load < self.0[**index].bound);
        let chosen = within.max_by_key(|index| (draws(index), **index)).or_else(|| {
            let able = may.iter().filter(|index| self.0[**index].load < self.0[**index].capacity);
            able.min_by_key(|index| (self.0[**index].relative_load(), !draws(index), **index))
        });
        let place = &mut self.0[*chosen?];
        place.load += 1;
        Some(Arc::clone(&place.worker.instance))
    }
}

impl Place<'_> {
    /// The highest of as many numbers as the worker has weight: so it wins by its weight.
    fn draw(&self, server: u64) -> u64 {
        let first = self.seed ^ server;
        if self.weight == 1 {
            return mix(first);
        }
        let draws = (0..u64::from(self.weight))
            .map(|turn| mix(first.wrapping_add(turn.wrapping_mul(GOLDEN))));
        draws.max().unwrap_or_default()
    }

    fn relative_load(&self) -> u64 {
        u64::from(self.load) * 1_000_000 / u64::from(self.weight)
    }
}

/// `ceil(1.25 × the share of a weight in the total)`.
fn bound(servers: usize, weight: u32, total: u64) -> u32 {
    let wanted = (servers as u64).saturating_mul(u64::from(weight)).saturating_mul(5);
    u32::try_from(wanted.div_ceil(total.max(1).saturating_mul(4))).unwrap_or(u32::MAX)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of SplitMix64: every bit of the result depends on every bit of `x`.
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(GOLDEN);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn seed_of_worker(instance: &str) -> u64 {
    let digest = digest(&SHA256, instance.as_bytes());
    digest.as_ref().iter().take(8).fold(0, |seed, byte| (seed << 8) | u64::from(*byte))
}

/// A number that is the server's and has nothing of its age in it.
pub(super) fn seed_of_server(server: ServerId) -> u64 {
    let id = server.as_uuid().as_u128();
    mix((id >> 64) as u64 ^ mix(id as u64))
}

/// A number for the server that is another one for each `turn`.
pub(super) const fn shuffled(seed: u64, turn: u64) -> u64 {
    mix(seed ^ mix(turn))
}

#[cfg(test)]
mod tests;
