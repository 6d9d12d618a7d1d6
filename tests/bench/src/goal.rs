//! The stated goals, each with what was measured.

use serde::Serialize;

/// One goal and whether it was met.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Goal {
    name: String,
    /// Such as `<= 2`.
    wanted: String,
    measured: f64,
    met: bool,
}

impl Goal {
    /// A figure that must not exceed `limit`. What could not be measured misses the goal.
    pub(crate) fn at_most(name: impl Into<String>, measured: f64, limit: f64) -> Self {
        let (name, wanted) = (name.into(), format!("<= {limit}"));
        Self { name, wanted, measured, met: measured.is_finite() && measured <= limit }
    }

    /// A figure that must reach `limit`.
    pub(crate) fn at_least(name: impl Into<String>, measured: f64, limit: f64) -> Self {
        let (name, wanted) = (name.into(), format!(">= {limit}"));
        Self { name, wanted, measured, met: measured.is_finite() && measured >= limit }
    }

    pub(crate) fn met(&self) -> bool {
        self.met
    }

    pub(crate) fn line(&self) -> String {
        let verdict = if self.met { "met   " } else { "MISSED" };
        format!("{verdict}  {}: {:.3} (wanted {})", self.name, self.measured, self.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_at_its_limit_and_missed_beyond_it() {
        assert!(Goal::at_most("p50", 2.0, 2.0).met());
        assert!(!Goal::at_most("p50", 2.01, 2.0).met());
        assert!(Goal::at_least("rate", 0.5, 0.5).met());
        assert!(!Goal::at_least("rate", 0.49, 0.5).met());
    }

    #[test]
    fn what_could_not_be_measured_is_missed() {
        assert!(!Goal::at_most("p50", f64::NAN, 2.0).met());
        assert!(!Goal::at_least("rate", f64::INFINITY, 0.5).met());
    }
}
