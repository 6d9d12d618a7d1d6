//! From the sums of the cells to the figures of the table, ratios included.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::Table;
use serde::Serialize;

use super::Mode;
use super::cell::Total;
use crate::report;

/// One line of the table. Ratios are to the same number of sessions in the same run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) mode: Mode,
    pub(super) sessions: usize,
    /// Calls that were answered rightly.
    pub(super) answers: u64,
    /// Executions that the upstream counted.
    pub(super) executions: u64,
    pub(super) errors: u64,
    pub(super) requests_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// CPU of the process on the way, per call.
    pub(super) hop_cpu_us: Option<f64>,
    /// CPU of the upstream over HTTP, per call.
    pub(super) upstream_cpu_us: f64,
    /// CPU of this program, per call.
    pub(super) load_cpu_us: f64,
    pub(super) hop_memory_mb: Option<f64>,
    /// req/s to that of direct.
    pub(super) rate_to_direct: Option<f64>,
    /// req/s to that of the floor.
    pub(super) rate_to_floor: Option<f64>,
    /// p50 above direct, to that of the floor.
    pub(super) added_p50_to_floor: Option<f64>,
    /// CPU of the hop to that of the floor.
    pub(super) cpu_to_floor: Option<f64>,
}

pub(super) fn rows(totals: BTreeMap<(usize, Mode), Total>) -> Vec<Row> {
    let mut rows: Vec<Row> =
        totals.into_iter().map(|((sessions, mode), total)| row(sessions, mode, total)).collect();
    let plain = rows.clone();
    for row in &mut rows {
        let find = |mode| plain.iter().find(|it| it.mode == mode && it.sessions == row.sessions);
        let (direct, floor) = (find(Mode::Direct), find(Mode::Floor));
        row.rate_to_direct =
            direct.map(|direct| row.requests_per_second / direct.requests_per_second);
        let Some(floor) = floor else { continue };
        row.rate_to_floor = Some(row.requests_per_second / floor.requests_per_second);
        row.cpu_to_floor = row.hop_cpu_us.zip(floor.hop_cpu_us).map(|(own, floor)| own / floor);
        row.added_p50_to_floor = direct
            .filter(|_| row.mode != Mode::Direct)
            .map(|direct| added(row.p50_us, direct.p50_us, floor.p50_us));
    }
    rows
}

/// What a mode adds to the p50 of direct, as a multiple of what the floor adds. Not a number when
/// the floor seems to add nothing: the machine was then too noisy to tell.
fn added(own_us: f64, direct_us: f64, floor_us: f64) -> f64 {
    if floor_us > direct_us { (own_us - direct_us) / (floor_us - direct_us) } else { f64::NAN }
}

fn row(sessions: usize, mode: Mode, mut total: Total) -> Row {
    let answers = total.latencies.len() as u64;
    let per_call = |cpu: Duration| cpu.as_secs_f64() * 1e6 / (answers.max(1) as f64);
    Row {
        mode,
        sessions,
        answers,
        executions: total.executions,
        errors: total.errors,
        requests_per_second: answers as f64 / total.elapsed.as_secs_f64(),
        p50_us: total.latencies.percentile_us(50),
        p99_us: total.latencies.percentile_us(99),
        hop_cpu_us: total.hop_cpu.map(per_call),
        upstream_cpu_us: per_call(total.upstream_cpu),
        load_cpu_us: per_call(total.load_cpu),
        hop_memory_mb: total.hop_memory_kib.map(|kib| kib as f64 * 1024.0 / 1e6),
        rate_to_direct: None,
        rate_to_floor: None,
        added_p50_to_floor: None,
        cpu_to_floor: None,
    }
}

pub(super) fn table(rows: &[Row]) -> Table {
    let columns = [
        "mode",
        "sessions",
        "answers",
        "executed",
        "errors",
        "req/s",
        "p50 µs",
        "p99 µs",
        "hop CPU µs",
        "upstream",
        "load",
        "hop MB",
        "req/s : direct",
        ": floor",
        "added p50 : floor",
        "CPU : floor",
    ];
    let rows = rows.iter().map(|row| {
        let optional = |value: Option<f64>| value.map_or("-".to_owned(), |it| format!("{it:.1}"));
        vec![
            row.mode.name().to_owned(),
            row.sessions.to_string(),
            row.answers.to_string(),
            row.executions.to_string(),
            row.errors.to_string(),
            format!("{:.0}", row.requests_per_second),
            format!("{:.1}", row.p50_us),
            format!("{:.1}", row.p99_us),
            optional(row.hop_cpu_us),
            format!("{:.1}", row.upstream_cpu_us),
            format!("{:.1}", row.load_cpu_us),
            optional(row.hop_memory_mb),
            report::ratio(row.rate_to_direct),
            report::ratio(row.rate_to_floor),
            report::ratio(row.added_p50_to_floor),
            report::ratio(row.cpu_to_floor),
        ]
    });
    report::table(&columns, 1, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(micros: u64, executions: u64) -> Total {
        let mut total = Total { executions, ..Total::default() };
        total.latencies.add(Duration::from_micros(micros));
        total.elapsed = Duration::from_micros(micros);
        total.hop_cpu = Some(Duration::from_micros(micros));
        total
    }

    fn rows_of(direct: u64, floor: u64, buffered: u64) -> Vec<Row> {
        rows(BTreeMap::from([
            ((1, Mode::Direct), total(direct, 1)),
            ((1, Mode::Floor), total(floor, 1)),
            ((1, Mode::HttpBuffered), total(buffered, 1)),
        ]))
    }

    #[test]
    fn ratios_are_to_direct_and_to_the_floor() {
        let rows = rows_of(100, 150, 200);
        assert_eq!(report::ratio(rows[1].rate_to_direct), "0.67");
        assert_eq!(report::ratio(rows[2].rate_to_floor), "0.75");
        assert_eq!(report::ratio(rows[2].added_p50_to_floor), "2.00");
        assert_eq!(report::ratio(rows[2].cpu_to_floor), "1.33");
    }

    #[test]
    fn a_floor_that_adds_nothing_gives_no_ratio() {
        assert!(rows_of(100, 90, 120)[2].added_p50_to_floor.is_some_and(f64::is_nan));
    }
}
