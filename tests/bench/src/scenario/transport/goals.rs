//! What the figures must show: for `buffered` over Streamable HTTP, and for the floor itself.

use super::Mode;
use super::figures::Row;
use crate::goal::Goal;

/// p50 added at one session, as a multiple of the floor's.
const ADDED_P50: f64 = 2.0;
/// CPU per call, as a multiple of the floor's.
const CPU: f64 = 2.0;
/// req/s with the most sessions, as a part of the floor's.
const RATE: f64 = 0.5;
/// req/s of the floor, as a part of direct's: a slower floor would flatter all else.
const FLOOR_RATE: f64 = 0.4;

pub(super) fn goals(rows: &[Row]) -> Vec<Goal> {
    let errors: u64 = rows.iter().map(|row| row.errors).sum();
    let gaps: u64 = rows.iter().map(|row| row.executions.abs_diff(row.answers)).sum();
    let mut goals = vec![
        Goal::at_most("all modes: errors", errors as f64, 0.0),
        Goal::at_most("all modes: executions that are not answers", gaps as f64, 0.0),
    ];
    for row in rows {
        let name = |what: &str| format!("{} at {}: {what}", row.mode.name(), row.sessions);
        match row.mode {
            Mode::Floor => {
                if let Some(rate) = row.rate_to_direct {
                    goals.push(Goal::at_least(name("req/s to direct"), rate, FLOOR_RATE));
                }
            }
            Mode::HttpBuffered => buffered(&mut goals, row, &name),
            _ => {}
        }
    }
    goals
}

fn buffered(goals: &mut Vec<Goal>, row: &Row, name: &dyn Fn(&str) -> String) {
    if let Some(cpu) = row.cpu_to_floor {
        goals.push(Goal::at_most(name("CPU to floor"), cpu, CPU));
    }
    if let Some(added) = row.added_p50_to_floor.filter(|_| row.sessions == 1) {
        goals.push(Goal::at_most(name("added p50 to floor"), added, ADDED_P50));
    }
    if let Some(rate) = row.rate_to_floor.filter(|_| row.sessions == 32) {
        goals.push(Goal::at_least(name("req/s to floor"), rate, RATE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mode: Mode, sessions: usize) -> Row {
        Row {
            mode,
            sessions,
            answers: 10,
            executions: 10,
            errors: 0,
            requests_per_second: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            hop_cpu_us: Some(1.0),
            upstream_cpu_us: 1.0,
            load_cpu_us: 1.0,
            hop_memory_mb: None,
            rate_to_direct: Some(0.5),
            rate_to_floor: Some(0.6),
            added_p50_to_floor: Some(1.5),
            cpu_to_floor: Some(1.5),
        }
    }

    fn missed(row: Row) -> usize {
        goals(&[row]).iter().filter(|goal| !goal.met()).count()
    }

    #[test]
    fn each_figure_beyond_its_limit_misses_a_goal() {
        let good = || row(Mode::HttpBuffered, 1);
        assert_eq!(missed(good()), 0);
        assert_eq!(missed(Row { errors: 1, ..good() }), 1);
        assert_eq!(missed(Row { executions: 11, ..good() }), 1);
        assert_eq!(missed(Row { executions: 9, ..good() }), 1);
        assert_eq!(missed(Row { cpu_to_floor: Some(2.1), ..good() }), 1);
        assert_eq!(missed(Row { added_p50_to_floor: Some(2.1), ..good() }), 1);
        let crowded = || row(Mode::HttpBuffered, 32);
        assert_eq!(missed(Row { added_p50_to_floor: Some(2.1), ..crowded() }), 0);
        assert_eq!(missed(Row { rate_to_floor: Some(0.4), ..crowded() }), 1);
        assert_eq!(missed(Row { rate_to_direct: Some(0.3), ..row(Mode::Floor, 1) }), 1);
    }

    #[test]
    fn the_other_modes_are_stated_but_not_bound() {
        let slow = Row {
            cpu_to_floor: Some(9.0),
            rate_to_floor: Some(0.1),
            ..row(Mode::SseAcknowledged, 32)
        };
        assert_eq!(missed(slow), 0);
    }
}
