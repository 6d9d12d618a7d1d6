//! Arrows between crates point down, and some dependencies have one home.
//!
//! Crates on one level do not know each other. Tests and tasks may use anything, and nothing
//! depends on them but tests.

use super::Finding;
use crate::workspace::{Crate, Dependency};

/// The levels, from the top. A new crate under `services/` takes its place here.
const LEVELS: [&[&str]; 6] = [
    &["mcp-orch"],
    &["connection-worker", "control-plane", "edge"],
    &["backplane"],
    &["bus", "event-store", "mcp", "runtime", "secrets"],
    &["authz", "events"],
    &["domain", "proto"],
];

/// Dependencies that only these crates may name, in tests too.
const HOMES: [(&str, &[&str]); 6] = [
    ("casbin", &["authz"]),
    ("event-store", &["control-plane", "mcp-orch"]),
    ("pbjson", &["proto"]),
    ("pbjson-build", &["proto"]),
    ("reqwest-eventsource", &["mcp"]),
    ("sqlx", &["control-plane", "event-store", "mcp-orch"]),
];

pub(super) fn check(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in crates {
        if in_services(member) && level(&member.name).is_none() {
            let what = "is on no level: add it to LEVELS in deploy/xtask/src/tidy/arrows.rs";
            findings.push(Finding::new(&member.folder, what));
        }
        for dependency in &member.dependencies {
            let target = crates.iter().find(|other| other.name == dependency.name);
            let wrong = target
                .and_then(|target| wrong_arrow(member, dependency, target))
                .or_else(|| wrong_home(member, dependency));
            findings.extend(wrong.map(|what| Finding::new(&member.folder, what)));
        }
    }
    findings
}

fn wrong_arrow(from: &Crate, dependency: &Dependency, to: &Crate) -> Option<String> {
    if to.folder.starts_with("deploy/") {
        return Some(format!("depends on {}, a task", to.name));
    }
    if !in_services(from) {
        return None;
    }
    if to.folder.starts_with("tests/") {
        let only_in_tests = dependency.dev;
        return (!only_in_tests).then(|| format!("depends on {}, which is for tests", to.name));
    }
    // A crate on no level has a finding of its own.
    let (above, below) = (level(&from.name)?, level(&to.name)?);
    if below > above {
        None
    } else if below == above {
        Some(format!("depends on {}, which is on the same level", to.name))
    } else {
        Some(format!("depends on {}, which is above it", to.name))
    }
}

fn wrong_home(from: &Crate, dependency: &Dependency) -> Option<String> {
    if !in_services(from) {
        return None;
    }
    let (_, homes) = HOMES.iter().find(|(name, _)| *name == dependency.name)?;
    let at_home = homes.contains(&from.name.as_str());
    (!at_home).then(|| format!("depends on {}: only {} may", dependency.name, homes.join(", ")))
}

fn in_services(member: &Crate) -> bool {
    member.folder.starts_with("services/")
}

fn level(name: &str) -> Option<usize> {
    LEVELS.iter().position(|level| level.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::{Crate, Dependency, check};

    fn member(folder: &str, dependencies: &[(&str, bool)]) -> Crate {
        let name = folder.rsplit('/').next().expect("a name");
        let dependencies = dependencies
            .iter()
            .map(|(name, dev)| Dependency { name: (*name).to_owned(), dev: *dev });
        Crate {
            name: if name == "orch" { "mcp-orch".into() } else { name.into() },
            folder: folder.into(),
            dependencies: dependencies.collect(),
        }
    }

    fn tree(planted: Crate) -> Vec<String> {
        let mut crates = vec![
            member("services/orch", &[("edge", false), ("event-store", false), ("serde", false)]),
            member("services/edge", &[("bus", false), ("domain", false)]),
            member("services/control-plane", &[("event-store", false), ("sqlx", false)]),
            member("services/bus", &[("proto", false)]),
            member("services/event-store", &[("domain", false), ("sqlx", false)]),
            member("services/authz", &[("domain", false), ("casbin", false)]),
            member("services/domain", &[]),
            member("services/proto", &[("pbjson", false)]),
            member("tests/contract", &[("event-store", false), ("fixtures", false)]),
            member("tests/fixtures", &[]),
            member("deploy/xtask", &[]),
        ];
        crates.retain(|member| member.folder != planted.folder);
        crates.push(planted);
        check(&crates).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn arrows_that_point_down_are_fine() {
        assert_eq!(tree(member("services/edge", &[("authz", false)])), Vec::<String>::new());
        assert_eq!(tree(member("services/bus", &[("contract", true)])), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_up_is_found() {
        assert_eq!(
            tree(member("services/bus", &[("edge", false)])),
            ["services/bus: depends on edge, which is above it"]
        );
        assert_eq!(
            tree(member("services/domain", &[("events", true), ("bus", true)])),
            ["services/domain: depends on bus, which is above it"]
        );
    }

    #[test]
    fn an_arrow_along_a_level_is_found() {
        assert_eq!(
            tree(member("services/edge", &[("control-plane", false)])),
            ["services/edge: depends on control-plane, which is on the same level"]
        );
    }

    #[test]
    fn a_dependency_outside_its_home_is_found() {
        assert_eq!(
            tree(member("services/edge", &[("event-store", false), ("sqlx", true)])),
            [
                "services/edge: depends on event-store: only control-plane, mcp-orch may",
                "services/edge: depends on sqlx: only control-plane, event-store, mcp-orch may",
            ]
        );
    }

    #[test]
    fn the_product_does_not_depend_on_tests_or_tasks() {
        assert_eq!(
            tree(member("services/edge", &[("fixtures", false), ("xtask", true)])),
            [
                "services/edge: depends on fixtures, which is for tests",
                "services/edge: depends on xtask, a task",
            ]
        );
    }

    #[test]
    fn a_crate_on_no_level_is_found() {
        let found = tree(member("services/common", &[("domain", false)]));
        assert!(found[0].starts_with("services/common: is on no level"), "{found:?}");
    }
}
