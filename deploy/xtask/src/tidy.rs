//! `cargo xtask tidy`: the rules of the tree that no other tool checks.
//!
//! Each rule is a pure function from what is in the tree to findings, in a file of its own, with
//! a test that plants a breach. This file reads the tree.

mod arrows;
mod decisions;
mod forbidden;
mod links;
mod manifests;
mod map;
mod measure;
mod migrations;
mod ratchet;
mod whitespace;

use std::fmt;
use std::fs;
use std::path::Path;

use crate::failure::{Context, Failure, Outcome};
use crate::process;
use crate::workspace::Workspace;
use measure::Measures;

/// A place in the tree that breaks a rule.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    /// A path, with a line where it helps, or a crate.
    at: String,
    what: String,
}

impl Finding {
    pub(crate) fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self { at: at.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.at, self.what)
    }
}

/// A text file of the tree, by its path from the root.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// Checks the tree and prints what breaks a rule; `bless` first writes down what shrank.
///
/// # Errors
/// If there is a finding, or the tree cannot be read.
pub(crate) fn run(workspace: &Workspace, bless: bool) -> Outcome {
    if bless {
        let measures = measure::tree(&files(workspace)?)?;
        ratchet::bless(&workspace.root, &measures)?;
    }
    let findings = findings(workspace)?;
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("tidy: {} findings", findings.len())))
    }
}

/// All that breaks a rule, in no order that means anything.
///
/// # Errors
/// If the tree cannot be read, or a source file is not Rust.
pub(crate) fn findings(workspace: &Workspace) -> Outcome<Vec<Finding>> {
    let files = files(workspace)?;
    let measures: Measures = measure::tree(&files)?;
    let exists = |path: &str| workspace.root.join(path).exists();
    let architecture = files.iter().find(|file| file.path == "ARCHITECTURE.md");
    let mut findings = arrows::check(&workspace.crates);
    findings.extend(map::check(architecture, &workspace.crates, exists));
    findings.extend(ratchet::check(&workspace.root, &measures)?);
    findings.extend(forbidden::check(&files)?);
    findings.extend(whitespace::check(&files));
    findings.extend(manifests::check(&files));
    findings.extend(migrations::check(&files));
    findings.extend(decisions::check(&files));
    findings.extend(links::check(&files, exists));
    Ok(findings)
}

/// What git tracks or would track; binary files and links left out.
fn files(workspace: &Workspace) -> Outcome<Vec<File>> {
    let mut git = process::command("git", &workspace.root);
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let names = process::capture(&mut git)?;
    let mut files = Vec::new();
    for path in names.split('\0').filter(|path| !path.is_empty()) {
        let full = workspace.root.join(path);
        // A file that git still lists may be gone from the tree.
        if !full.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let bytes = fs::read(&full).cannot(|| format!("read {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}
