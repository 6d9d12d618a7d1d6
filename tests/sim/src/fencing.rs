//! Every order of events around one lease, up to small bounds: who holds it, who believes to,
//! which writes are on their way.
//!
//! Time is left out: a lease may end at any moment, and a claim's answer, a write, or a second
//! copy of it may arrive at any later one. So nothing rests on clocks here, and what holds in
//! all of these orders holds whatever clocks do.

use stateright::{Model, Property};

/// Bounds: takings of the lease, writes that are taken, writes on their way.
const EPOCHS: u8 = 3;
const WRITES: usize = 3;
const FLIGHTS: usize = 2;
const WORKERS: u8 = 2;

/// The rules of the store for a lease; `fenced` is left out to see that the check notices.
#[derive(Debug, Clone)]
pub struct Fencing {
    /// Whether a write's epoch is compared.
    pub fenced: bool,
}

/// Everything there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// Who holds the lease; `None` once it ended.
    holder: Option<u8>,
    /// The epoch of the last taking.
    epoch: u8,
    /// Answers to claims that are on their way.
    answers: Vec<(u8, u8)>,
    /// The epoch in which each worker believes to hold it.
    beliefs: Vec<Option<u8>>,
    /// The epochs of writes that are on their way.
    flights: Vec<u8>,
    /// The epoch of each write that was taken, and that of the lease at that moment.
    taken: Vec<(u8, u8)>,
    /// Whether a write was refused.
    refused: bool,
}

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The lease ends by time, or is given up.
    End,
    /// A worker claims.
    Claim(u8),
    /// The answer to a claim arrives.
    Learn(usize),
    /// A worker that believes writes.
    Write(u8),
    /// A worker dies, and knows nothing when it is back.
    Crash(u8),
    /// A write arrives, and a copy of it may still be on its way.
    Arrive(usize, bool),
}

impl Model for Fencing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            holder: None,
            epoch: 0,
            answers: Vec::new(),
            beliefs: vec![None; WORKERS as usize],
            flights: Vec::new(),
            taken: Vec::new(),
            refused: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.holder.is_some() {
            actions.push(Action::End);
        }
        for worker in 0..WORKERS {
            if state.answers.len() < FLIGHTS {
                actions.push(Action::Claim(worker));
            }
            if state.beliefs[worker as usize].is_some() {
                actions.push(Action::Crash(worker));
                if state.flights.len() < FLIGHTS {
                    actions.push(Action::Write(worker));
                }
            }
        }
        actions.extend((0..state.answers.len()).map(Action::Learn));
        for flight in 0..state.flights.len() {
            actions.push(Action::Arrive(flight, false));
            actions.push(Action::Arrive(flight, true));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::End => state.holder = None,
            Action::Claim(worker) => {
                match state.holder {
                    Some(holder) if holder == worker => {}
                    Some(_) => return None,
                    None => {
                        state.epoch += 1;
                        state.holder = Some(worker);
                    }
                }
                state.answers.push((worker, state.epoch));
            }
            Action::Learn(answer) => {
                let (worker, epoch) = state.answers.remove(answer);
                state.beliefs[worker as usize] = Some(epoch);
            }
            Action::Write(worker) => state.flights.push(state.beliefs[worker as usize]?),
            Action::Crash(worker) => state.beliefs[worker as usize] = None,
            Action::Arrive(flight, copied) => {
                let epoch = state.flights[flight];
                if !copied {
                    state.flights.remove(flight);
                }
                if self.fenced && epoch < state.epoch {
                    state.refused = true;
                } else {
                    state.taken.push((epoch, state.epoch));
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no write of an epoch follows one of a later", |_, state: &State| {
                state.taken.is_sorted_by_key(|(epoch, _)| *epoch)
            }),
            Property::always("a write is taken in the last epoch only", |_, state: &State| {
                state.taken.iter().all(|(epoch, last)| epoch == last)
            }),
            Property::always("nobody believes in an epoch to come", |_, state: &State| {
                state.beliefs.iter().flatten().all(|epoch| *epoch <= state.epoch)
            }),
            Property::sometimes("both believe to hold it", |_, state: &State| {
                state.beliefs.iter().all(Option::is_some) && state.beliefs[0] != state.beliefs[1]
            }),
            Property::sometimes("writes of two epochs are taken", |_, state: &State| {
                state.taken.iter().any(|(epoch, _)| *epoch != state.taken[0].0)
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.epoch <= EPOCHS && state.taken.len() <= WRITES
    }
}

impl State {
    /// Whether a write was refused on the way here.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.refused
    }
}
