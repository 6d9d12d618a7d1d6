//! Latencies, and the figures made from them.

use std::time::Duration;

/// The latencies of the calls of one cell, in microseconds with a decimal place of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    nanos: Vec<u64>,
}

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.nanos.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.nanos.extend_from_slice(&other.nanos);
    }

    pub(crate) fn len(&self) -> usize {
        self.nanos.len()
    }

    /// The smallest latency that at least `percent` percent of the calls did not exceed, in
    /// microseconds; 0 without calls.
    pub(crate) fn percentile_us(&mut self, percent: usize) -> f64 {
        if self.nanos.is_empty() {
            return 0.0;
        }
        let rank = (self.nanos.len() * percent).div_ceil(100).clamp(1, self.nanos.len());
        let (_, nanos, _) = self.nanos.select_nth_unstable(rank - 1);
        Duration::from_nanos(*nanos).as_secs_f64() * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks_of_the_sorted_latencies() {
        let mut latencies = Latencies::default();
        for micros in (1..=200).rev() {
            latencies.add(Duration::from_micros(micros));
        }
        let figures = [50, 99, 100].map(|percent| latencies.percentile_us(percent).round());
        assert_eq!(figures.map(|figure| format!("{figure}")), ["100", "198", "200"]);
    }

    #[test]
    fn without_calls_there_is_no_latency() {
        assert!(Latencies::default().percentile_us(99).abs() < f64::EPSILON);
    }
}
