//! One cell in one round, and the sum of its rounds.

use std::time::Duration;

use super::{Mode, Stage};
use crate::cost::{cpu_time, memory_kib, settled_cpu_time};
use crate::error::Error;
use crate::load::{Load, Outcome};
use crate::sample::Latencies;

/// A mode at a number of sessions, in one round.
pub(super) struct Cell {
    pub(super) mode: Mode,
    pub(super) sessions: usize,
    pub(super) calls: usize,
    pub(super) warm_up: usize,
    /// Unique in the run.
    pub(super) name: String,
}

/// What one round of a cell measured.
pub(super) struct Measured {
    outcome: Outcome,
    executions: u64,
    hop_cpu: Option<Duration>,
    upstream_cpu: Duration,
    load_cpu: Duration,
    hop_memory_kib: Option<u64>,
}

impl Cell {
    pub(super) async fn run(&self, stage: &Stage) -> Result<Measured, Error> {
        let endpoint = stage.endpoint(self.mode)?;
        let mut load = Load::open(&[endpoint], self.sessions, self.warm_up, &self.name).await?;
        let hop = stage.hop(self.mode);
        let hop_before = match hop {
            Some(hop) => Some(settled_cpu_time(hop).await?),
            None => None,
        };
        let executions_before = stage.executions(self.mode)?;
        let upstream_before = cpu_time(stage.upstream.id())?;
        let load_before = cpu_time(std::process::id())?;
        let outcome = load.run("timed", self.calls).await;
        let load_cpu = cpu_time(std::process::id())?.saturating_sub(load_before);
        // The hop may put work off: what it does after the last answer belongs to the calls.
        let hop_cpu = match hop.zip(hop_before) {
            Some((hop, before)) => Some(settled_cpu_time(hop).await?.saturating_sub(before)),
            None => None,
        };
        let upstream_cpu = cpu_time(stage.upstream.id())?.saturating_sub(upstream_before);
        let executions = stage.executions(self.mode)?.saturating_sub(executions_before);
        load.close().await;
        let hop_memory_kib = hop.map(memory_kib).transpose()?;
        Ok(Measured { outcome, executions, hop_cpu, upstream_cpu, load_cpu, hop_memory_kib })
    }
}

/// All rounds of a cell.
#[derive(Default)]
pub(super) struct Total {
    pub(super) latencies: Latencies,
    pub(super) elapsed: Duration,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    pub(super) executions: u64,
    pub(super) hop_cpu: Option<Duration>,
    pub(super) upstream_cpu: Duration,
    pub(super) load_cpu: Duration,
    /// The highest of the rounds.
    pub(super) hop_memory_kib: Option<u64>,
}

impl Total {
    pub(super) fn add(&mut self, round: Measured) {
        self.latencies.extend(&round.outcome.latencies);
        self.elapsed += round.outcome.elapsed;
        self.errors += round.outcome.errors;
        self.first_error = self.first_error.take().or(round.outcome.first_error);
        self.executions += round.executions;
        if let Some(cpu) = round.hop_cpu {
            self.hop_cpu = Some(self.hop_cpu.unwrap_or_default() + cpu);
        }
        self.upstream_cpu += round.upstream_cpu;
        self.load_cpu += round.load_cpu;
        self.hop_memory_kib = self.hop_memory_kib.max(round.hop_memory_kib);
    }
}
