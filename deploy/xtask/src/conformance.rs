//! `cargo xtask conformance`: the official suite, against the fixture alone, against a gateway
//! in front of it, and against the product's upstream connector.
//!
//! No scenario is left out of the server runs, and nothing is expected to fail: the fixture alone
//! passes every check, and the gateway passes every check that the fixture passes, unless what the
//! check is about cannot happen with the gateway's upstream. The suite also runs scenarios that it
//! does not score; here they count like all others.

mod report;
mod requirements;
mod results;
mod suite;
mod target;

use std::fs;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::conformance::report::Part;
pub(crate) use crate::conformance::suite::Suite;
use crate::conformance::target::{Fixture, Gateway, Upstream};
use crate::failure::{Context, Failure, Outcome};
use crate::process;
use crate::tools::node::Node;
use crate::workspace::Workspace;

/// The revisions whose server scenarios run, and how many checks a full server passes in each:
/// as many as the official Rust SDK's own fixture, at least.
const REVISIONS: [(&str, usize); 2] = [("2025-11-25", 84), ("2026-07-28", 197)];

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Only {
    /// The fixture alone.
    Fixture,
    /// The fixture, and the gateway in front of it.
    Gateway,
    /// The upstream connector.
    Client,
}

/// How the suite is run.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Run only a part.
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Run only this revision's scenarios.
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// How the gateway reaches the fixture, in place of all ways that can pass everything; may be
    /// given more than once.
    #[arg(long, value_enum)]
    upstream: Vec<Upstream>,
    /// Write the checks of all scenarios to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the suite's own results and the gateway's log in this folder.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Take the binaries as they are.
    #[arg(long)]
    no_build: bool,
}

impl Options {
    fn runs(&self, part: Only) -> bool {
        match self.only {
            None => true,
            // The gateway is compared with the fixture.
            Some(Only::Gateway) => part != Only::Client,
            Some(only) => part == only,
        }
    }

    /// What a server of sessions cannot have is no fault of the gateway: the extension of tasks,
    /// and the keys of questions that the scenarios of 2026-07-28 look for.
    fn upstreams(&self, revision: &str) -> Vec<Upstream> {
        match (&self.upstream[..], revision) {
            ([], "2026-07-28") => vec![Upstream::Http],
            ([], _) => Upstream::value_variants().to_vec(),
            (chosen, _) => chosen.to_vec(),
        }
    }

    fn revisions(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let wanted = |revision: &str| self.revision.as_deref().is_none_or(|only| only == revision);
        REVISIONS.into_iter().filter(move |(revision, _)| wanted(revision))
    }
}

/// Builds, installs and runs; prints a table.
///
/// # Errors
/// If something cannot be installed, built or started, or a check is not passed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    if !options.no_build {
        build(workspace)?;
    }
    let node = Node::find_or_install(workspace)?;
    let modules = node.modules(workspace)?;
    check(workspace, options, &Suite::new(&modules, &node.search_path()))
}

/// Only what is run: everything else is built by those who need it.
fn build(workspace: &Workspace) -> Outcome {
    let mut cargo = process::cargo(&workspace.root);
    // All features of the workspace, as the tests are built, so that nothing is built twice.
    process::run(cargo.args(["build", "--workspace", "--bins", "--examples", "--exclude", "xtask"]))
}

/// Runs what is built and installed already.
///
/// # Errors
/// If something cannot be started, or a check is not passed.
pub(crate) fn check(workspace: &Workspace, options: &Options, suite: &Suite) -> Outcome {
    let scratch = tempfile::tempdir().cannot(|| "make a folder".into())?;
    let folder = options.keep.clone().unwrap_or_else(|| scratch.path().to_owned());
    fs::create_dir_all(&folder).cannot(|| format!("create {}", folder.display()))?;
    let folder = folder.canonicalize().cannot(|| format!("find {}", folder.display()))?;
    let mut parts: Vec<Part> = Vec::new();
    for (revision, least) in options.revisions() {
        if options.runs(Only::Fixture) {
            let fixture = Fixture::start(workspace, &[])?;
            let output = folder.join(format!("fixture-{revision}"));
            let results = suite.server(&fixture.url("mcp"), revision, &output)?;
            parts.push(Part::new("fixture", revision, results).at_least(least));
        }
        if options.runs(Only::Gateway) {
            let alone = parts.last().map(|part| part.results.clone()).unwrap_or_default();
            for upstream in options.upstreams(revision) {
                let name = upstream.part().replace(' ', "-");
                let folder = folder.join(format!("{name}-{revision}"));
                let gateway = Gateway::start(workspace, upstream, &folder.join("up"))?;
                let results = suite.server(&gateway.url()?, revision, &folder)?;
                let part = Part::new(upstream.part(), revision, results);
                parts.push(part.compared_with(&alone, upstream.exempt()));
            }
        }
        if options.runs(Only::Client) {
            let client = workspace.target.join("debug/examples/conformance_client");
            let output = folder.join(format!("client-{revision}"));
            let results = suite.clients(&client, revision, &output)?;
            parts.push(Part::new("client", revision, results));
        }
    }
    if let Some(file) = &options.json {
        fs::write(file, report::json(&parts)).cannot(|| format!("write {}", file.display()))?;
    }
    println!("{}", report::table(&parts));
    let findings: usize = parts.iter().map(|part| part.findings().len()).sum();
    if findings > 0 {
        return Err(Failure::new(format!("the conformance suite has {findings} findings")));
    }
    Ok(())
}
