//! `cargo xtask fuzz`: the fuzz targets under libFuzzer, one after the other.
//!
//! What finds the way through the code is LLVM's coverage instrumentation, which stable Rust can
//! switch on: nothing has to be installed but a C++ compiler. Inputs that reach new code are kept
//! beside the build, so that the next run goes on from there; the corpus of the tree is only read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::{Context, Failure, Outcome};
use crate::process;
use crate::workspace::Workspace;

/// What libFuzzer needs of the code: edges and comparisons are counted, assertions are checked.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions=yes",
];

/// An input that takes longer than this is a finding, in seconds.
const SLOW_S: u32 = 10;
/// The longest input that is tried, in bytes.
const MAX_INPUT_BYTES: u32 = 8 * 1024;

/// What is fuzzed, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u32,
    /// The targets, such as `envelope`; all of them if none is named.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Builds the targets and runs each of them; says how many inputs were tried.
///
/// # Errors
/// If the build fails, there is no such target, or a target found something.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    let all = targets(workspace)?;
    if let Some(unknown) = options.targets.iter().find(|target| !all.contains(target)) {
        return Err(Failure::new(format!("no target {unknown}: there are {}", all.join(", "))));
    }
    let folder = workspace.target.join("fuzz");
    let host = build(workspace, &folder)?;
    let mut findings = Vec::new();
    for target in
        all.iter().filter(|one| options.targets.is_empty() || options.targets.contains(one))
    {
        let fuzzer = Fuzzer {
            program: folder.join(&host).join("release").join(target),
            corpus: workspace.root.join("tests/fuzz/corpus").join(target),
            found: folder.join("found").join(target),
            log: folder.join(format!("{target}.log")),
        };
        match fuzzer.run(workspace, options.seconds)? {
            Ok(executed) => println!("{target}: {executed} inputs, no finding"),
            Err(shown) => {
                println!("{target}: {shown}");
                findings.push(target.as_str());
            }
        }
    }
    if findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("found something: {}", findings.join(", "))))
    }
}

/// The targets, by the folders of their corpus.
fn targets(workspace: &Workspace) -> Outcome<Vec<String>> {
    let folder = workspace.root.join("tests/fuzz/corpus");
    let entries = fs::read_dir(&folder).cannot(|| format!("read {}", folder.display()))?;
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// Builds all targets, and says for which machine. It is named, so that the flags reach no build
/// script.
fn build(workspace: &Workspace, folder: &Path) -> Outcome<String> {
    let version = process::capture(process::command("rustc", &workspace.root).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| Failure::new("`rustc -vV` names no host"))?.to_owned();
    let mut build = process::cargo(&workspace.root);
    build.args(["build", "--release", "--package", "fuzz", "--bins", "--features", "libfuzzer"]);
    build.args(["--target", &host]).arg("--target-dir").arg(folder);
    build.env("RUSTFLAGS", FLAGS.join(" ")).env("CARGO_PROFILE_RELEASE_LTO", "off");
    build.env("CARGO_PROFILE_RELEASE_STRIP", "none");
    process::run(&mut build)?;
    Ok(host)
}

struct Fuzzer {
    program: PathBuf,
    corpus: PathBuf,
    /// What is kept between runs.
    found: PathBuf,
    log: PathBuf,
}

impl Fuzzer {
    /// Runs to the end: how many inputs were tried, or what was found.
    fn run(&self, workspace: &Workspace, seconds: u32) -> Outcome<Result<u64, String>> {
        fs::create_dir_all(&self.found).cannot(|| format!("make {}", self.found.display()))?;
        let log = File::create(&self.log).cannot(|| format!("write {}", self.log.display()))?;
        let mut fuzzer = process::command(&self.program, &workspace.root);
        fuzzer.arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
        fuzzer.arg(format!("-max_len={MAX_INPUT_BYTES}")).arg(format!("-timeout={SLOW_S}"));
        fuzzer.arg(format!("-artifact_prefix={}-", self.found.display()));
        fuzzer.arg(&self.found).arg(&self.corpus);
        let status = fuzzer.stderr(log).status();
        let status = status.cannot(|| format!("start {}", self.program.display()))?;
        let said = fs::read(&self.log).cannot(|| format!("read {}", self.log.display()))?;
        let said = String::from_utf8_lossy(&said);
        if !status.success() {
            let log = self.log.display();
            return Ok(Err(format!("a finding; {log} ends with\n{}", tail(&said))));
        }
        Ok(executed(&said).ok_or_else(|| format!("no count of inputs in {}", self.log.display())))
    }
}

/// How many inputs were tried, by the fuzzer's own last words.
fn executed(said: &str) -> Option<u64> {
    said.lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok())
}

fn tail(said: &str) -> String {
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::{executed, tail};

    #[test]
    fn the_count_is_read_from_the_last_words() {
        let said = "#2 INITED\nDone 12 runs\nstat::number_of_executed_units: 345678\nstat::x: 1\n";
        assert_eq!(executed(said), Some(345_678));
        assert_eq!(executed("Done 12 runs\n"), None);
        assert_eq!(tail(&"line\n".repeat(40)).lines().count(), 30);
    }
}
