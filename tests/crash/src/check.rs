//! The reckoning: what was answered against what is on record.
//!
//! Numbered as the promises are: (1) every answered operation is in the log exactly once, every
//! other one at most once; (2) versions of streams and positions have no gap and no event stands
//! before its predecessor; (3) nothing ran twice, and nothing that was recorded in advance ran
//! unrecorded; (4) whoever places events in the log does so under one epoch after the other.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::history::{History, Told};

/// An event of the log, as far as the reckoning needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// From 1 over all tenants.
    pub position: u64,
    /// Whose it is.
    pub tenant: String,
    /// From 1 in its tenant.
    pub tenant_position: u64,
    /// Kind and id of the stream.
    pub stream: String,
    /// From 1 in its stream.
    pub version: u64,
    /// Microseconds; never before the event at the position before.
    pub recorded_at: i64,
    /// Under which leadership it got its position; 0 where there is one writer.
    pub epoch: u64,
    /// Of which operation it is the effect, if it is one's.
    pub operation: Option<String>,
}

/// What the upstream saw.
#[derive(Clone, Debug, Default)]
pub struct Executions {
    /// How often each operation ran.
    pub counts: BTreeMap<String, u64>,
    /// Operations that had to be on record before they ran.
    pub recorded_before: Vec<String>,
    /// How many records there are that say that something may have run, and not what.
    pub nameless: usize,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An answered operation is not in the log.
    Lost(String),
    /// An operation is in the log more than once.
    Doubled(String, usize),
    /// The log has an operation that nobody asked for, or that was refused for certain.
    Invented(String),
    /// After a position another one follows than the next.
    Gap {
        /// The position before.
        after: u64,
        /// The one that follows.
        found: u64,
    },
    /// The same within a tenant.
    TenantGap {
        /// Whose.
        tenant: String,
        /// What had to follow.
        expected: u64,
        /// What does.
        found: u64,
    },
    /// The versions of a stream do not follow each other in the order of positions.
    StreamOrder {
        /// Which stream.
        stream: String,
        /// What had to follow.
        expected: u64,
        /// What does.
        found: u64,
    },
    /// Time runs backwards at this position.
    Time(u64),
    /// An event was placed under an older epoch than the one before it.
    StaleEpoch(u64),
    /// An operation ran more than once.
    RanTwice(String, u64),
    /// An operation ran whose client was told for certain that it did not.
    RanRefused(String),
    /// An operation was answered as done, and never ran.
    NeverRan(String),
    /// An operation ran that had to be on record first, and is not.
    RanUnrecorded(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(id) => write!(formatter, "{id} was answered and is not in the log"),
            Self::Doubled(id, times) => write!(formatter, "{id} is in the log {times} times"),
            Self::Invented(id) => write!(formatter, "{id} is in the log and was never made"),
            Self::Gap { after, found } => {
                write!(formatter, "position {found} follows on {after}")
            }
            Self::TenantGap { tenant, expected, found } => {
                write!(formatter, "tenant {tenant}: {found} where {expected} had to follow")
            }
            Self::StreamOrder { stream, expected, found } => {
                write!(formatter, "stream {stream}: version {found} where {expected} had to follow")
            }
            Self::Time(position) => write!(formatter, "time runs backwards at {position}"),
            Self::StaleEpoch(position) => {
                write!(formatter, "position {position} was given under an epoch that was over")
            }
            Self::RanTwice(id, times) => write!(formatter, "{id} ran {times} times"),
            Self::RanRefused(id) => write!(formatter, "{id} was refused and ran"),
            Self::NeverRan(id) => write!(formatter, "{id} was answered and never ran"),
            Self::RanUnrecorded(id) => write!(formatter, "{id} ran and is not on record"),
        }
    }
}

/// Everything that is wrong with a log, which is given in the order of its positions.
#[must_use]
pub fn check(history: &History, log: &[LogRow], executions: &Executions) -> Vec<Violation> {
    let mut violations = order(log);
    let mut recorded: BTreeMap<&str, usize> = BTreeMap::new();
    for id in log.iter().filter_map(|row| row.operation.as_deref()) {
        *recorded.entry(id).or_default() += 1;
    }
    for (id, told) in history.operations() {
        if told == Told::Ok && !recorded.contains_key(id) {
            violations.push(Violation::Lost(id.to_owned()));
        }
    }
    for (id, times) in &recorded {
        match history.told(id) {
            None | Some(Told::Refused) => violations.push(Violation::Invented((*id).to_owned())),
            Some(_) if *times > 1 => violations.push(Violation::Doubled((*id).to_owned(), *times)),
            Some(_) => {}
        }
    }
    violations.extend(ran(history, executions, &recorded));
    violations
}

/// Positions, versions, times and epochs.
fn order(log: &[LogRow]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let (mut position, mut time, mut epoch) = (0, i64::MIN, 0);
    let mut tenants: HashMap<&str, u64> = HashMap::new();
    let mut streams: HashMap<(&str, &str), u64> = HashMap::new();
    for row in log {
        if row.position != position + 1 {
            violations.push(Violation::Gap { after: position, found: row.position });
        }
        position = row.position;
        if row.recorded_at < time {
            violations.push(Violation::Time(row.position));
        }
        time = time.max(row.recorded_at);
        if row.epoch < epoch {
            violations.push(Violation::StaleEpoch(row.position));
        }
        epoch = epoch.max(row.epoch);
        let last = tenants.entry(&row.tenant).or_default();
        if row.tenant_position != *last + 1 {
            violations.push(Violation::TenantGap {
                tenant: row.tenant.clone(),
                expected: *last + 1,
                found: row.tenant_position,
            });
        }
        *last = row.tenant_position;
        let last = streams.entry((&row.tenant, &row.stream)).or_default();
        if row.version != *last + 1 {
            violations.push(Violation::StreamOrder {
                stream: row.stream.clone(),
                expected: *last + 1,
                found: row.version,
            });
        }
        *last = row.version;
    }
    violations
}

/// What ran, against what was answered and what is on record.
fn ran(
    history: &History,
    executions: &Executions,
    recorded: &BTreeMap<&str, usize>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (id, times) in &executions.counts {
        if history.told(id) == Some(Told::Refused) {
            violations.push(Violation::RanRefused(id.clone()));
        }
        if *times > 1 {
            violations.push(Violation::RanTwice(id.clone(), *times));
        }
    }
    // Each nameless record may stand for one of them.
    let unrecorded = executions
        .recorded_before
        .iter()
        .filter(|id| executions.counts.contains_key(*id) && !recorded.contains_key(id.as_str()));
    let unrecorded = unrecorded.skip(executions.nameless).cloned();
    violations.extend(unrecorded.map(Violation::RanUnrecorded));
    let answered = history.operations().filter(|(_, told)| *told == Told::Ok);
    for (id, _) in answered.filter(|(id, _)| is_call(id)) {
        if !executions.counts.contains_key(id) {
            violations.push(Violation::NeverRan(id.to_owned()));
        }
    }
    violations
}

/// Whether the operation is one that an upstream carries out.
#[must_use]
pub fn is_call(id: &str) -> bool {
    id.starts_with("call-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::Entry;

    /// A run without a fault: calls and commands of three tenants in turn.
    fn sound(operations: usize) -> (History, Vec<LogRow>, Executions) {
        let mut history = History::default();
        let mut log = Vec::new();
        let mut executions = Executions::default();
        for number in 0..operations {
            let id =
                if number % 2 == 0 { format!("call-{number}") } else { format!("name-{number}") };
            history.add(Entry { told: Told::Nothing, id: id.clone() });
            history.add(Entry { told: Told::Ok, id: id.clone() });
            if is_call(&id) {
                executions.counts.insert(id.clone(), 1);
                executions.recorded_before.push(id.clone());
            }
            let place = number as u64;
            log.push(LogRow {
                position: place + 1,
                tenant: format!("tenant-{}", number % 3),
                tenant_position: place / 3 + 1,
                stream: format!("server/{}", number % 6),
                version: place / 6 + 1,
                recorded_at: number as i64 * 10,
                epoch: 1 + place / 20,
                operation: Some(id),
            });
        }
        (history, log, executions)
    }

    fn found(
        operations: usize,
        damage: impl FnOnce(&mut History, &mut Vec<LogRow>, &mut Executions),
    ) -> Vec<Violation> {
        let (mut history, mut log, mut executions) = sound(operations);
        damage(&mut history, &mut log, &mut executions);
        check(&history, &log, &executions)
    }

    #[test]
    fn a_sound_run_has_no_violation() {
        assert_eq!(found(60, |_, _, _| {}), []);
    }

    #[test]
    fn an_answer_before_its_commit_is_found_once_the_commit_is_lost() {
        let lost = found(60, |_, log, _| {
            log.pop();
        });
        assert_eq!(lost, [Violation::Lost("name-59".to_owned())]);
    }

    #[test]
    fn an_operation_without_an_answer_may_be_there_or_not() {
        let either = |told, is_there: bool| {
            found(60, |history, log, executions| {
                history.add(Entry { told, id: "call-x".to_owned() });
                if is_there {
                    let last = log.last().unwrap().clone();
                    log.push(LogRow {
                        position: 61,
                        tenant_position: 21,
                        version: 11,
                        stream: "server/0".to_owned(),
                        tenant: "tenant-0".to_owned(),
                        operation: Some("call-x".to_owned()),
                        ..last
                    });
                    executions.counts.insert("call-x".to_owned(), 1);
                }
            })
        };
        for told in [Told::Nothing, Told::Unknown] {
            assert_eq!(either(told, true), []);
            assert_eq!(either(told, false), []);
        }
        let invented = Violation::Invented("call-x".to_owned());
        let ran = Violation::RanRefused("call-x".to_owned());
        assert_eq!(either(Told::Refused, true), [invented, ran]);
    }

    #[test]
    fn a_cursor_that_overtakes_a_commit_is_found() {
        // What a reader of numbers drawn before the commit does: one event too early, one missed.
        let swapped = found(60, |_, log, _| {
            log[12].version += 1;
            log[18].version -= 1;
        });
        assert_eq!(swapped.len(), 3, "{swapped:?}");
        assert!(swapped.iter().all(|it| matches!(it, Violation::StreamOrder { .. })));
    }

    #[test]
    fn a_second_leader_is_found() {
        let stale = found(60, |_, log, _| log[50].epoch = 1);
        assert_eq!(stale, [Violation::StaleEpoch(51)]);
        let twice = found(60, |_, log, _| {
            let again = LogRow { position: 61, ..log[7].clone() };
            log.push(again);
        });
        assert!(twice.contains(&Violation::Doubled("name-7".to_owned(), 2)), "{twice:?}");
        assert!(twice.contains(&Violation::StaleEpoch(61)), "{twice:?}");
        assert!(twice.contains(&Violation::Time(61)), "{twice:?}");
    }

    #[test]
    fn what_ran_twice_never_or_unrecorded_is_found() {
        let ran = found(60, |_, log, executions| {
            executions.counts.insert("call-0".to_owned(), 2);
            executions.counts.remove("call-2");
            log[4].operation = None;
        });
        assert_eq!(
            ran,
            [
                Violation::Lost("call-4".to_owned()),
                Violation::RanTwice("call-0".to_owned(), 2),
                Violation::RanUnrecorded("call-4".to_owned()),
                Violation::NeverRan("call-2".to_owned()),
            ]
        );
        let refused = found(60, |history, _, executions| {
            history.add(Entry { told: Told::Refused, id: "call-x".to_owned() });
            executions.counts.insert("call-x".to_owned(), 1);
        });
        assert_eq!(refused, [Violation::RanRefused("call-x".to_owned())]);
    }

    #[test]
    fn a_nameless_record_stands_for_one_call() {
        let ran = |nameless| {
            found(60, |_, _, executions| {
                for id in ["call-x", "call-y"] {
                    executions.counts.insert(id.to_owned(), 1);
                    executions.recorded_before.push(id.to_owned());
                }
                executions.nameless = nameless;
            })
        };
        assert_eq!(ran(0).len(), 2);
        assert_eq!(ran(1), [Violation::RanUnrecorded("call-y".to_owned())]);
        assert_eq!(ran(2), []);
    }

    proptest! {
        #[test]
        fn no_row_can_be_taken_out_doubled_or_moved_unseen(
            at in 0_usize..60, to in 0_usize..60, how in 0_u8..3,
        ) {
            let violations = found(60, |_, log, _| match how {
                0 => { log.remove(at); }
                1 => { let row = log[at].clone(); log.insert(to, row); }
                _ => { let row = log.remove(at); log.insert(to.min(log.len()), row); }
            });
            prop_assert_eq!(violations.is_empty(), how == 2 && at == to);
        }
    }
}
