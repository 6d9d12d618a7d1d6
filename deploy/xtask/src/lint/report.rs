//! What the steps of a lint run took and said.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome};

/// What a step that passed has to say, such as what it left out and why.
pub(crate) type Note = Option<String>;

/// The steps that ended, in that order. Steps may run on several threads.
#[derive(Default)]
pub(crate) struct Report {
    ended: Mutex<Vec<Step>>,
}

struct Step {
    name: &'static str,
    took: Duration,
    passed: bool,
    note: String,
}

impl Report {
    /// Runs a step, and prints its outcome when it ends.
    pub(crate) fn step(&self, name: &'static str, run: impl FnOnce() -> Outcome<Note>) {
        let started = Instant::now();
        let outcome = run();
        let took = started.elapsed();
        let (passed, note) = match outcome {
            Ok(note) => (true, note.unwrap_or_default()),
            Err(failure) => {
                eprintln!("\n--- {name} failed\n{failure}\n");
                (false, "see above".into())
            }
        };
        let step = Step { name, took, passed, note };
        eprintln!("{step}");
        // A poisoned list is still a list: the thread that panicked is reported by its scope.
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    /// Prints all steps once more, together.
    ///
    /// # Errors
    /// If any step failed; names all that did.
    pub(crate) fn finish(self) -> Outcome {
        let ended = self.ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut summary = String::from("\nlint\n");
        for step in &ended {
            // Writing to a string does not fail.
            writeln!(summary, "  {step}").ok();
        }
        eprint!("{summary}");
        let failed: Vec<&str> =
            ended.iter().filter(|step| !step.passed).map(|step| step.name).collect();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(format!("lint: {} failed", failed.join(", "))))
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.passed { "ok  " } else { "FAIL" };
        let seconds = self.took.as_secs_f64();
        write!(formatter, "{mark} {:<13} {seconds:>6.1} s  {}", self.name, self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::Report;
    use crate::failure::Failure;

    #[test]
    fn a_run_fails_by_naming_each_failed_step() {
        let report = Report::default();
        report.step("good", || Ok(None));
        report.step("bad", || Err(Failure::new("broken")));
        report.step("worse", || Err(Failure::new("very broken")));
        let failure = report.finish().expect_err("two steps failed").to_string();
        assert_eq!(failure, "lint: bad, worse failed");
    }

    #[test]
    fn a_run_of_good_steps_passes() {
        let report = Report::default();
        report.step("good", || Ok(Some("skipped nothing".into())));
        assert!(report.finish().is_ok());
    }
}
