//! What the suite found out: checks of scenarios.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::failure::{Context, Failure, Outcome};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Status {
    Success,
    Failure,
    Warning,
    Skipped,
    Info,
}

/// One check.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Check {
    pub(crate) id: String,
    pub(crate) status: Status,
    #[serde(default, rename = "errorMessage")]
    pub(crate) message: String,
}

/// The checks of each scenario.
pub(crate) type Results = BTreeMap<String, Vec<Check>>;

/// Reads what the suite wrote into `folder`; `prefix` is before each scenario's name there.
///
/// # Errors
/// If the folder or a file in it cannot be read, or there is none.
pub(crate) fn read(folder: &Path, prefix: &str) -> Outcome<Results> {
    let mut results = Results::new();
    let entries = fs::read_dir(folder).cannot(|| format!("read {}", folder.display()))?;
    for entry in entries.flatten() {
        let file = entry.path().join("checks.json");
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(scenario) = scenario(&name, prefix).filter(|_| file.exists()) else {
            continue;
        };
        let text = fs::read(&file).cannot(|| format!("read {}", file.display()))?;
        let checks =
            serde_json::from_slice(&text).cannot(|| format!("understand {}", file.display()))?;
        results.insert(scenario.to_owned(), checks);
    }
    if results.is_empty() {
        return Err(Failure::new(format!("the suite left no results in {}", folder.display())));
    }
    Ok(results)
}

/// The scenario of a folder named `PREFIX` scenario `-2026-01-31T10-11-12-131Z`.
fn scenario<'a>(folder: &'a str, prefix: &str) -> Option<&'a str> {
    const TIME: usize = "-2026-01-31T10-11-12-131Z".len();
    let name = folder.strip_prefix(prefix)?;
    name.get(..name.len().checked_sub(TIME)?)
}

/// How many checks of a scenario ended so.
pub(crate) fn count(checks: &[Check], status: Status) -> usize {
    checks.iter().filter(|check| check.status == status).count()
}

/// What is wrong with a server: checks that failed or ended with a warning.
pub(crate) fn findings(results: &Results) -> Vec<String> {
    let bad = |check: &&Check| matches!(check.status, Status::Failure | Status::Warning);
    results
        .iter()
        .flat_map(|(scenario, checks)| {
            checks
                .iter()
                .filter(bad)
                .map(move |check| format!("{scenario}: {}: {}", check.id, check.message.trim_end()))
        })
        .collect()
}

/// What `other` passes and `results` does not, without what [`findings`] says already and without
/// the checks in `exempt`, as `scenario: check`.
///
/// The same check can be there several times: each has to be passed.
pub(crate) fn difference(results: &Results, other: &Results, exempt: &[&str]) -> Vec<String> {
    let mut missing = Vec::new();
    for (scenario, checks) in other {
        let mut ids: Vec<&str> = checks.iter().map(|check| check.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let here = results.get(scenario).map(Vec::as_slice).unwrap_or_default();
        for id in ids {
            let ended = |checks: &[Check], statuses: &[Status]| {
                checks.iter().filter(|it| it.id == id && statuses.contains(&it.status)).count()
            };
            let want = ended(checks, &[Status::Success]);
            let have = ended(here, &[Status::Success]);
            let name = format!("{scenario}: {id}");
            let is_told = ended(here, &[Status::Failure, Status::Warning]) > 0;
            if have < want && !is_told && !exempt.contains(&name.as_str()) {
                missing.push(format!("{name}: passed {have} times instead of {want}"));
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, status: Status) -> Check {
        Check { id: id.to_owned(), status, message: "why".to_owned() }
    }

    fn results(checks: &[(&str, Status)]) -> Results {
        let checks = checks.iter().map(|(id, status)| check(id, *status)).collect();
        Results::from([("ping".to_owned(), checks)])
    }

    #[test]
    fn the_name_of_a_folder_gives_the_scenario() {
        let folder = "server-server-initialize-2026-11-23T00-01-31-831Z";
        assert_eq!(scenario(folder, "server-"), Some("server-initialize"));
        assert_eq!(scenario("server-x", "server-"), None);
    }

    #[test]
    fn failures_and_warnings_are_findings() {
        let found = results(&[
            ("a", Status::Success),
            ("b", Status::Failure),
            ("c", Status::Warning),
            ("d", Status::Info),
            ("e", Status::Skipped),
        ]);
        assert_eq!(findings(&found), ["ping: b: why", "ping: c: why"]);
    }

    #[test]
    fn a_check_that_only_the_other_passes_is_missing() {
        let twice = results(&[("a", Status::Success), ("a", Status::Success)]);
        let once = results(&[("a", Status::Success), ("a", Status::Skipped)]);
        let missing = ["ping: a: passed 1 times instead of 2"];
        assert_eq!(difference(&once, &twice, &[]), missing);
        assert_eq!(difference(&Results::new(), &once, &[]).len(), 1);
        assert!(difference(&twice, &once, &[]).is_empty());
        // A failure is a finding of its own.
        let failed = results(&[("a", Status::Failure)]);
        assert!(difference(&failed, &once, &[]).is_empty());
        // One that found nothing to judge is not passed, unless it cannot be.
        let told = results(&[("a", Status::Info)]);
        assert_eq!(difference(&told, &once, &["ping: b"]).len(), 1);
        assert!(difference(&told, &once, &["ping: a"]).is_empty());
    }
}
