//! One run: a seed, faults for a while, then calm; and what must hold at its end.

use std::collections::BTreeMap;

use crate::bus::{Bus, CALM, STORM, Weather};
use crate::database::Database;
use crate::follower::Follower;
use crate::random::Random;
use crate::replica::Replica;

const REPLICAS: usize = 3;
const FOLLOWERS: usize = 2;
const WRITERS: usize = 4;
const STREAMS: u64 = 3;
/// Turns under faults.
const STORMY: usize = 2_000;
/// Turns in calm until everything must be settled.
const CALMING: usize = 2_500;

/// A rule that is left out, to see that a run notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The store takes what a stale sequencer writes.
    NoFencing,
    /// A follower applies what comes and looks for no gap.
    NaiveFollower,
    /// A writer answers before its commit.
    AnswersEarly,
}

/// Who appends one event after the other, again until it is answered.
#[derive(Debug, Default)]
struct Writer {
    /// The event at hand, and its transaction.
    event: Option<(u64, u8)>,
    transaction: Option<u64>,
    answered: Vec<u64>,
}

struct Run {
    random: Random,
    database: Database,
    bus: Bus,
    replicas: Vec<Replica>,
    followers: Vec<Follower>,
    writers: Vec<Writer>,
    now_ms: i64,
    next_event: u64,
    weather: Weather,
    answers_early: bool,
}

/// Runs a seed.
///
/// # Errors
/// What does not hold, with the seed.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<usize, String> {
    let mut run = Run::new(seed, bug);
    for _ in 0..STORMY {
        run.turn(true);
    }
    run.weather = CALM;
    for _ in 0..CALMING {
        run.turn(false);
    }
    let checked = run.check();
    checked.map_err(|what| format!("seed {seed}: {what}"))?;
    Ok(run.database.log.len())
}

impl Run {
    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut database = Database::new();
        database.fenced = bug != Some(Bug::NoFencing);
        let naive = bug == Some(Bug::NaiveFollower);
        Self {
            random: Random::new(seed),
            database,
            bus: Bus::default(),
            replicas: (0..REPLICAS).map(Replica::new).collect(),
            followers: vec![Follower::new(naive); FOLLOWERS],
            writers: (0..WRITERS).map(|_| Writer::default()).collect(),
            now_ms: 0,
            next_event: 0,
            weather: STORM,
            answers_early: bug == Some(Bug::AnswersEarly),
        }
    }

    fn turn(&mut self, stormy: bool) {
        let ms = 1 + i64::try_from(self.random.below(60)).unwrap_or(0);
        self.now_ms += ms;
        self.database.pass(ms);
        if stormy && self.random.chance(4) {
            self.fault();
        }
        for number in 0..WRITERS {
            if self.random.chance(40) {
                self.write(number, stormy);
            }
        }
        for number in 0..REPLICAS {
            self.act(number);
        }
        for (follower, placed) in self.bus.arrivals(self.now_ms) {
            self.followers[follower].take(placed, &self.database.log);
        }
        if self.random.chance(2) {
            let end = self.database.log.len() as u64;
            for follower in &mut self.followers {
                follower.beat(end, &self.database.log);
            }
        }
    }

    fn fault(&mut self) {
        let number = usize::try_from(self.random.below(REPLICAS as u64)).unwrap_or(0);
        match self.random.below(6) {
            0 => self.replicas[number].crash(&mut self.database),
            // Stopped, often for longer than its lease and sometimes than its transaction.
            1 | 2 => {
                let ms = i64::try_from(self.random.below(10_000)).unwrap_or(0);
                self.replicas[number].stopped_until_ms = self.now_ms + ms;
            }
            3 => self.database.jump(i64::try_from(self.random.below(12_000)).unwrap_or(0)),
            4 => self.database.jump(-i64::try_from(self.random.below(6_000)).unwrap_or(0)),
            _ => self.bus.crash(),
        }
    }

    fn act(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        if replica.stopped_until_ms > self.now_ms {
            return;
        }
        if self.random.chance(6) {
            let lost = self.random.chance(self.weather.lost);
            replica.claim(&self.database, self.now_ms, lost);
        }
        if self.random.chance(50) {
            replica.sequence(&mut self.database, self.now_ms, &mut self.random);
        }
        if self.random.chance(50) {
            let about = (FOLLOWERS, self.now_ms, self.weather);
            replica.publish(&mut self.database, &mut self.bus, about, &mut self.random);
        }
    }

    /// One statement of a writer: begin, or commit, or find out what became of it.
    fn write(&mut self, number: usize, begins: bool) {
        let writer = &mut self.writers[number];
        if let Some(transaction) = writer.transaction.take() {
            if self.answers_early
                && let Some((id, _)) = writer.event.take()
            {
                writer.answered.push(id);
            }
            if self.random.chance(self.weather.lost) {
                self.database.abort_append(transaction);
                return;
            }
            let committed = self.database.commit_append(transaction);
            // The answer may be lost: the writer tries again with the same id.
            if committed
                && !self.random.chance(self.weather.lost)
                && let Some((id, _)) = writer.event.take()
            {
                writer.answered.push(id);
            }
            return;
        }
        if writer.event.is_none() && begins {
            self.next_event += 1;
            let stream = u8::try_from(self.random.below(STREAMS)).unwrap_or(0);
            writer.event = Some((self.next_event, stream));
        }
        let Some((id, stream)) = writer.event else { return };
        match self.database.begin_append(id, stream) {
            Ok(transaction) => writer.transaction = Some(transaction),
            Err(true) => {
                writer.event = None;
                writer.answered.push(id);
            }
            Err(false) => {}
        }
    }

    fn check(&self) -> Result<(), String> {
        let database = &self.database;
        if !database.is_settled() {
            return Err("something has no position in calm".to_owned());
        }
        let mut versions = BTreeMap::new();
        let mut epoch = 0;
        for (position, placed) in (1..).zip(&database.log) {
            if placed.position != position {
                return Err(format!("position {} at {position}", placed.position));
            }
            let version = versions.entry(placed.event.stream).or_insert(0);
            *version += 1;
            if placed.event.version != *version {
                return Err(format!("an inversion in a stream at {position}"));
            }
            if placed.epoch < epoch {
                return Err(format!("a stale epoch wrote position {position}"));
            }
            epoch = placed.epoch;
        }
        let ids: Vec<u64> = database.log.iter().map(|placed| placed.event.id).collect();
        if ids.len() != database.committed() {
            return Err("the log has not each committed event once".to_owned());
        }
        for id in self.writers.iter().flat_map(|writer| &writer.answered) {
            if !database.has(*id) {
                return Err(format!("event {id} was answered and is lost"));
            }
        }
        if self.followers.iter().any(|follower| follower.applied != ids) {
            return Err("a follower is not the log".to_owned());
        }
        if database.published != ids.len() as u64 {
            return Err(format!("published up to {}", database.published));
        }
        Ok(())
    }
}
