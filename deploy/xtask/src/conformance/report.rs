//! What a run says: a table for people, JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::results::{Results, Status, count, difference, findings};

/// One run of the suite.
pub(crate) struct Part {
    name: &'static str,
    revision: &'static str,
    pub(crate) results: Results,
    /// How many checks have to be passed.
    least: usize,
    /// What has to be passed because another server passes it.
    other: Option<Results>,
    /// What of that has no occasion here.
    exempt: &'static [&'static str],
}

impl Part {
    pub(crate) fn new(name: &'static str, revision: &'static str, results: Results) -> Self {
        Self { name, revision, results, least: 0, other: None, exempt: &[] }
    }

    pub(crate) fn at_least(mut self, checks: usize) -> Self {
        self.least = checks;
        self
    }

    pub(crate) fn compared_with(
        mut self,
        other: &Results,
        exempt: &'static [&'static str],
    ) -> Self {
        self.other = Some(other.clone());
        self.exempt = exempt;
        self
    }

    fn total(&self, status: Status) -> usize {
        self.results.values().map(|checks| count(checks, status)).sum()
    }

    /// The checks of scenarios that ran here which the other server alone can pass.
    fn not_compared(&self) -> Vec<&'static str> {
        let ran = |check: &str| {
            check.split_once(": ").is_some_and(|(scenario, _)| self.results.contains_key(scenario))
        };
        self.exempt.iter().copied().filter(|check| ran(check)).collect()
    }

    /// Everything that is wrong.
    pub(crate) fn findings(&self) -> Vec<String> {
        let mut found = findings(&self.results);
        if let Some(other) = &self.other {
            found.extend(difference(&self.results, other, self.exempt));
        }
        let passed = self.total(Status::Success);
        if passed < self.least {
            found.push(format!("{passed} checks passed, but at least {} have to be", self.least));
        }
        found
    }
}

/// All scenarios and what is wrong with them.
pub(crate) fn table(parts: &[Part]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    for part in parts {
        let _ = writeln!(text, "\n{} · {}", part.name, part.revision);
        for (scenario, checks) in &part.results {
            let (passed, failed) = (count(checks, Status::Success), count(checks, Status::Failure));
            let warned = count(checks, Status::Warning);
            let mark = if failed + warned > 0 { "✗" } else { "✓" };
            let _ = writeln!(text, "  {mark} {scenario:<48} {passed:>4} passed {failed:>3} failed");
        }
        for finding in part.findings() {
            let _ = writeln!(text, "  ! {finding}");
        }
        for check in part.not_compared() {
            let _ = writeln!(text, "  i {check}: not compared");
        }
    }
    let _ = writeln!(text);
    for part in parts {
        let _ = writeln!(
            text,
            "{:<20} {}  {:>3} scenarios {:>4} passed {:>3} failed {:>3} warnings {:>3} findings",
            part.name,
            part.revision,
            part.results.len(),
            part.total(Status::Success),
            part.total(Status::Failure),
            part.total(Status::Warning),
            part.findings().len(),
        );
    }
    text
}

/// The same for programs.
pub(crate) fn json(parts: &[Part]) -> String {
    let shown: Vec<Value> = parts
        .iter()
        .map(|part| {
            let scenarios: serde_json::Map<_, _> = part
                .results
                .iter()
                .map(|(scenario, checks)| {
                    let counts = json!({
                        "passed": count(checks, Status::Success),
                        "failed": count(checks, Status::Failure),
                        "warnings": count(checks, Status::Warning),
                    });
                    (scenario.clone(), counts)
                })
                .collect();
            json!({
                "part": part.name, "revision": part.revision, "scenarios": scenarios,
                "passed": part.total(Status::Success), "failed": part.total(Status::Failure),
                "warnings": part.total(Status::Warning), "findings": part.findings(),
                "not_compared": part.not_compared(),
            })
        })
        .collect();
    format!("{:#}\n", Value::from(shown))
}
