//! The map in ARCHITECTURE.md shows the crates that there are.
//!
//! Every crate is named by its folder (`services/edge`), and every folder named so exists.

use std::collections::BTreeSet;

use super::{File, Finding};
use crate::workspace::Crate;

const MAP: &str = "ARCHITECTURE.md";
const PARENTS: [&str; 3] = ["deploy/", "services/", "tests/"];

pub(super) fn check(
    map: Option<&File>,
    crates: &[Crate],
    exists: impl Fn(&str) -> bool,
) -> Vec<Finding> {
    let Some(map) = map else {
        return vec![Finding::new(MAP, "is missing")];
    };
    let named = folders(&map.text);
    let gone = named.iter().filter(|folder| !exists(folder));
    let gone = gone.map(|folder| Finding::new(MAP, format!("names {folder}, which is not there")));
    let unnamed = crates.iter().filter(|member| !named.contains(&member.folder));
    let unnamed =
        unnamed.map(|member| Finding::new(MAP, format!("does not name {}", member.folder)));
    gone.chain(unnamed).collect()
}

/// All `services/x`-like paths in a text, cut after the second part.
fn folders(text: &str) -> BTreeSet<String> {
    let mut folders = BTreeSet::new();
    let of_a_path =
        |character: char| character.is_ascii_alphanumeric() || "/-_.".contains(character);
    for word in text.split(|character| !of_a_path(character)) {
        for parent in PARENTS {
            let Some(rest) = word.strip_prefix(parent) else {
                continue;
            };
            let name = rest.split('/').next().unwrap_or_default().trim_end_matches('.');
            if !name.is_empty() {
                folders.insert(format!("{parent}{name}"));
            }
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::{Crate, File, check};

    fn found(text: &str) -> Vec<String> {
        let map = File { path: "ARCHITECTURE.md".into(), text: text.into() };
        let crates = ["services/edge", "tests/contract"].map(|folder| Crate {
            name: folder.into(),
            folder: folder.into(),
            dependencies: Vec::new(),
        });
        let there = ["services/edge", "tests/contract", "deploy/npm"];
        let findings = check(Some(&map), &crates, |path| there.contains(&path));
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_map_of_what_is_there_is_fine() {
        let text = "`services/edge/src/lib.rs`, [tests](tests/contract) and deploy/npm.";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn a_folder_that_is_gone_and_a_crate_that_is_not_named_are_found() {
        assert_eq!(
            found("services/edge, services/gateway."),
            [
                "ARCHITECTURE.md: names services/gateway, which is not there",
                "ARCHITECTURE.md: does not name tests/contract",
            ]
        );
    }

    #[test]
    fn a_missing_map_is_found() {
        assert_eq!(check(None, &[], |_| true).len(), 1);
    }
}
