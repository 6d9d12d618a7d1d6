//! What a process costs: the CPU time of all its threads, and its proportional share of memory.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::error::Error;

/// How often a process is looked at while it comes to rest.
const SETTLE_STEP: Duration = Duration::from_millis(50);
/// Less CPU than this in one step is rest.
const SETTLE_CPU: Duration = Duration::from_micros(750);
/// After so many steps a process counts as one that never rests.
const SETTLE_STEPS: u32 = 40;

/// User and system time of a process, ended threads included, to the nanosecond.
pub(crate) fn cpu_time(process: u32) -> Result<Duration, Error> {
    let process = Pid::from_raw(i32::try_from(process).unwrap_or_default());
    Ok(clock_gettime(ClockId::pid_cpu_clock_id(process)?)?.into())
}

/// CPU time once the process is at rest, so that work it put off is counted too. Waits at most
/// two seconds.
pub(crate) async fn settled_cpu_time(process: u32) -> Result<Duration, Error> {
    let mut before = cpu_time(process)?;
    for _ in 0..SETTLE_STEPS {
        tokio::time::sleep(SETTLE_STEP).await;
        let now = cpu_time(process)?;
        if now.saturating_sub(before) < SETTLE_CPU {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// Proportional set size of a process alone, without its children, in KiB.
pub(crate) fn memory_kib(process: u32) -> Result<u64, Error> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| Error::unexpected("smaps_rollup has no Pss line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_of_this_process_grows_with_work() {
        let before = cpu_time(std::process::id()).unwrap();
        while cpu_time(std::process::id()).unwrap() - before < Duration::from_millis(5) {}
    }

    #[test]
    fn memory_counts_what_this_process_touches() {
        let before = memory_kib(std::process::id()).unwrap();
        let block = vec![1_u8; 8 << 20];
        let after = memory_kib(std::process::id()).unwrap();
        assert!(after >= before + 7 * 1024, "{before} {after} {}", block.len());
    }
}
