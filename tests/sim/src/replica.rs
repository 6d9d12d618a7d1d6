//! A control-plane's part: claims the lead, gives positions and publishes while it believes
//! that it leads.

use crate::bus::{Bus, Weather};
use crate::database::{Database, Step};
use crate::random::Random;

/// Without a renewal that was sent within this time, it no longer believes.
const CERTAIN_MS: i64 = 3_000;
/// Most events of one step.
const STEP: u64 = 6;

/// The lead, as a replica believes to have it.
#[derive(Debug, Clone, Copy)]
struct Lead {
    epoch: u64,
    sent_ms: i64,
    /// Whether the sequencer has the epoch.
    taken: bool,
}

/// One process. Dead or stopped, it does nothing; stopped, it goes on where it was.
#[derive(Debug)]
pub struct Replica {
    number: usize,
    /// Counts its starts: each has another name.
    life: u32,
    lead: Option<Lead>,
    step: Option<Step>,
    /// Until when it is stopped.
    pub stopped_until_ms: i64,
}

impl Replica {
    /// One that just began.
    #[must_use]
    pub fn new(number: usize) -> Self {
        let (lead, step) = (None, None);
        Self { number, life: 0, lead, step, stopped_until_ms: 0 }
    }

    fn holder(&self) -> String {
        format!("replica {} life {}", self.number, self.life)
    }

    /// It dies, and begins again knowing nothing.
    pub fn crash(&mut self, database: &mut Database) {
        database.abort_step(self.number);
        let (number, life) = (self.number, self.life + 1);
        *self = Self { life, ..Self::new(number) };
    }

    /// Claims the lead. The answer may not come.
    pub fn claim(&mut self, database: &Database, now_ms: i64, lost: bool) {
        let claimed = database.claim(&self.holder());
        if lost {
            return;
        }
        self.lead = claimed.map(|epoch| {
            let taken = self.lead.is_some_and(|lead| lead.epoch == epoch && lead.taken);
            Lead { epoch, sent_ms: now_ms, taken }
        });
    }

    /// One statement of the sequencer. What it began it ends, believing or not: a process that
    /// was stopped in between does not look at the time.
    pub fn sequence(&mut self, database: &mut Database, now_ms: i64, random: &mut Random) {
        if let Some(step) = self.step.take() {
            if !database.commit_step(&step) {
                self.step_down(database);
            }
            return;
        }
        let Some(mut lead) = self.believes(now_ms) else { return };
        if !lead.taken {
            lead.taken = database.take_over(lead.epoch);
            self.lead = Some(lead);
            if !lead.taken {
                self.step_down(database);
            }
            return;
        }
        let most = usize::try_from(1 + random.below(STEP)).unwrap_or(1);
        self.step = database.begin_step(self.number, lead.epoch, most);
    }

    /// Publishes the next event.
    pub fn publish(
        &mut self,
        database: &mut Database,
        bus: &mut Bus,
        (followers, now_ms, weather): (usize, i64, Weather),
        random: &mut Random,
    ) {
        let Some(lead) = self.believes(now_ms) else { return };
        let next = database.published + 1;
        let at = usize::try_from(database.published).unwrap_or(usize::MAX);
        let Some(placed) = database.log.get(at).copied() else { return };
        let acknowledged = !random.chance(weather.lost);
        bus.publish(placed, followers, now_ms, weather, random);
        // Without the acknowledgement it comes again.
        if acknowledged && !database.mark_published(lead.epoch, next) {
            self.step_down(database);
        }
    }

    fn believes(&self, now_ms: i64) -> Option<Lead> {
        self.lead.filter(|lead| now_ms - lead.sent_ms < CERTAIN_MS)
    }

    fn step_down(&mut self, database: &Database) {
        if let Some(lead) = self.lead.take() {
            database.release(&self.holder(), lead.epoch);
        }
    }
}
