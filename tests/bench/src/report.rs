//! The figures of a run, as text and as JSON.

use std::fmt::Write;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::affinity::Cores;
use crate::goal::Goal;
use crate::scenario::isolation::Isolation;
use crate::scenario::memory::Memory;
use crate::scenario::transport::Transport;

/// What a run measured; a scenario that did not run is absent.
#[derive(Serialize)]
pub(crate) struct Report {
    placement: String,
    /// Load average of the last minute before the run: above 0.5 the machine was not quiet, and
    /// rates and latencies say little.
    load_average: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transport: Option<Transport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) isolation: Option<Isolation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
}

impl Report {
    pub(crate) fn new(cores: &Cores) -> Self {
        let load_average = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load_average = load_average.split(' ').next().and_then(|text| text.parse().ok());
        let placement = cores.describe();
        Self { placement, load_average, transport: None, isolation: None, memory: None }
    }

    pub(crate) fn goals_met(&self) -> bool {
        self.goals().all(Goal::met)
    }

    fn goals(&self) -> impl Iterator<Item = &Goal> {
        let transport = self.transport.iter().flat_map(|it| &it.goals);
        let isolation = self.isolation.iter().flat_map(|it| &it.goals);
        transport.chain(isolation).chain(self.memory.iter().flat_map(|it| &it.goals))
    }

    pub(crate) fn text(&self) -> String {
        let load = ratio(self.load_average);
        let mut text = format!("{}; load average before the run {load}\n", self.placement);
        if let Some(transport) = &self.transport {
            let _ = writeln!(text, "\n{}", transport.table());
            for error in &transport.errors {
                let _ = writeln!(text, "first error of {error}");
            }
        }
        if let Some(isolation) = &self.isolation {
            let _ = writeln!(text, "\n{}\n{}", isolation.table(), isolation.states());
        }
        if let Some(memory) = &self.memory {
            let _ = writeln!(text, "\n{}", memory.line());
        }
        text.push('\n');
        for goal in self.goals() {
            let _ = writeln!(text, "{}", goal.line());
        }
        text
    }
}

/// A table with these columns; all but the first `names` columns are numbers.
pub(crate) fn table(columns: &[&str], names: usize, rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(columns).add_rows(rows);
    for column in table.column_iter_mut().skip(names) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A ratio, or a dash where there is none.
pub(crate) fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}
