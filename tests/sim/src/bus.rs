//! The bus: loses, repeats, delays and so reorders what it carries.

use crate::database::Placed;
use crate::random::Random;

/// How likely each fault is, in percent.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// A message does not arrive.
    pub lost: u64,
    /// It arrives twice.
    pub twice: u64,
    /// It arrives later than those behind it.
    pub late: u64,
}

/// No fault.
pub const CALM: Weather = Weather { lost: 0, twice: 0, late: 0 };
/// Each fault often.
pub const STORM: Weather = Weather { lost: 10, twice: 10, late: 25 };

/// A message on its way to one follower.
#[derive(Debug, Clone, Copy)]
struct Flight {
    at_ms: i64,
    follower: usize,
    placed: Placed,
}

/// What is on its way.
#[derive(Debug, Default)]
pub struct Bus {
    flights: Vec<Flight>,
}

impl Bus {
    /// Sends an event to each follower.
    pub fn publish(
        &mut self,
        placed: Placed,
        followers: usize,
        now_ms: i64,
        weather: Weather,
        random: &mut Random,
    ) {
        for follower in 0..followers {
            if random.chance(weather.lost) {
                continue;
            }
            let copies = if random.chance(weather.twice) { 2 } else { 1 };
            for _ in 0..copies {
                let most = if random.chance(weather.late) { 2_000 } else { 5 };
                let at_ms = now_ms + i64::try_from(random.below(most)).unwrap_or(0);
                self.flights.push(Flight { at_ms, follower, placed });
            }
        }
    }

    /// What arrives until `now_ms`, in the order of arrival.
    pub fn arrivals(&mut self, now_ms: i64) -> Vec<(usize, Placed)> {
        self.flights.sort_by_key(|flight| flight.at_ms);
        let due = self.flights.partition_point(|flight| flight.at_ms <= now_ms);
        self.flights.drain(..due).map(|flight| (flight.follower, flight.placed)).collect()
    }

    /// The server of the bus dies with everything that is on its way.
    pub fn crash(&mut self) {
        self.flights.clear();
    }
}
