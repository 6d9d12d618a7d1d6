//! What is longer than the limits is written down, and may only shrink.
//!
//! A shrink has to be written down too (`cargo xtask tidy --bless`), so that it cannot grow
//! back. Nothing enters the list but with the list: the first blessing, where there is no file,
//! writes what is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Finding;
use super::measure::{FILE_LINES, FUNCTION_LINES, Measures};
use crate::failure::{Context, Outcome};

const LIST: &str = "deploy/xtask/ratchet.json";

/// The list as it is stored: lines by path, and by `path#Type::function`.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Ratchet {
    files: BTreeMap<String, usize>,
    functions: BTreeMap<String, usize>,
}

/// Compares what is measured with the list in the tree.
///
/// # Errors
/// If the list is there and cannot be read.
pub(super) fn check(root: &Path, measures: &Measures) -> Outcome<Vec<Finding>> {
    Ok(compare(&load(root)?.unwrap_or_default(), measures))
}

/// Lowers and removes what shrank; where there is no list yet, writes one.
///
/// # Errors
/// If the list cannot be read or written.
pub(super) fn bless(root: &Path, measures: &Measures) -> Outcome {
    let blessed = match load(root)? {
        Some(held) => Ratchet {
            files: lowered(&held.files, &measures.files),
            functions: lowered(&held.functions, &measures.functions),
        },
        None => Ratchet { files: measures.files.clone(), functions: measures.functions.clone() },
    };
    let text = serde_json::to_string_pretty(&blessed).cannot(|| "write the ratchet".into())?;
    fs::write(path(root), format!("{text}\n")).cannot(|| format!("write {LIST}"))
}

fn path(root: &Path) -> PathBuf {
    root.join(LIST)
}

fn load(root: &Path) -> Outcome<Option<Ratchet>> {
    let path = path(root);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).cannot(|| format!("read {LIST}"))?;
    serde_json::from_str(&text).map(Some).cannot(|| format!("read {LIST}"))
}

fn lowered(
    held: &BTreeMap<String, usize>,
    measured: &BTreeMap<String, usize>,
) -> BTreeMap<String, usize> {
    let kept = held.iter().filter_map(|(name, held)| {
        let measured = measured.get(name)?;
        Some((name.clone(), *measured.min(held)))
    });
    kept.collect()
}

fn compare(held: &Ratchet, measures: &Measures) -> Vec<Finding> {
    let mut findings = compare_kind(&held.files, &measures.files, FILE_LINES);
    findings.extend(compare_kind(&held.functions, &measures.functions, FUNCTION_LINES));
    findings
}

fn compare_kind(
    held: &BTreeMap<String, usize>,
    measured: &BTreeMap<String, usize>,
    limit: usize,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, lines) in measured {
        let what = match held.get(name) {
            None => format!("{lines} lines, and the limit is {limit}: split it"),
            Some(held) if lines > held => {
                format!("grew from {held} to {lines} lines; over {limit} it may only shrink")
            }
            Some(held) if lines < held => {
                format!("shrank from {held} to {lines} lines: `cargo xtask tidy --bless` holds it")
            }
            Some(_) => continue,
        };
        findings.push(Finding::new(name, what));
    }
    for name in held.keys().filter(|name| !measured.contains_key(*name)) {
        let what = "is within the limit or gone: `cargo xtask tidy --bless` takes it off the list";
        findings.push(Finding::new(name, what));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::{LIST, Measures, bless, check};

    fn measures(functions: &[(&str, usize)]) -> Measures {
        let functions = functions.iter().map(|(name, lines)| ((*name).to_owned(), *lines));
        Measures { files: BTreeMap::new(), functions: functions.collect() }
    }

    /// A tree whose list holds these functions.
    fn tree(held: &[(&str, usize)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("folder");
        fs::create_dir_all(root.path().join(LIST).parent().expect("a folder")).expect("folder");
        bless(root.path(), &measures(held)).expect("written");
        root
    }

    fn found(root: &tempfile::TempDir, measured: &[(&str, usize)]) -> Vec<String> {
        let findings = check(root.path(), &measures(measured)).expect("readable");
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_held_at_its_size_is_fine() {
        assert!(found(&tree(&[("a#f", 90)]), &[("a#f", 90)]).is_empty());
    }

    #[test]
    fn what_is_new_or_grew_is_found_and_no_blessing_takes_it() {
        let root = tree(&[("a#f", 90)]);
        let measured = [("a#f", 91), ("b#g", 80)];
        let findings = [
            "a#f: grew from 90 to 91 lines; over 70 it may only shrink",
            "b#g: 80 lines, and the limit is 70: split it",
        ];
        assert_eq!(found(&root, &measured), findings);
        bless(root.path(), &measures(&measured)).expect("written");
        assert_eq!(found(&root, &measured), findings);
    }

    #[test]
    fn a_shrink_is_required_to_be_written_down_and_then_holds() {
        let root = tree(&[("a#f", 90), ("b#g", 80)]);
        let measured = [("a#f", 75)];
        assert_eq!(found(&root, &measured).len(), 2);

        bless(root.path(), &measures(&measured)).expect("written");
        assert!(found(&root, &measured).is_empty());
        assert_eq!(found(&root, &[("a#f", 90)]).len(), 1, "it may not grow back");
    }
}
