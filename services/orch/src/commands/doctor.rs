//! `mcp-orch doctor`: what this machine lacks, and what it is needed for.

use std::path::PathBuf;
use std::process::ExitCode;

use super::table::say;

/// Programs that MCP servers are started with.
const LAUNCHERS: [(&str, &str, &str); 5] = [
    ("npx", "servers from npm", "install Node.js, e.g. `apt-get install nodejs npm`"),
    ("uvx", "servers from PyPI", "`pip install uv`"),
    ("python3", "servers written in Python", "`apt-get install python3`"),
    ("docker", "servers in containers", "install Docker Engine"),
    ("git", "servers that work on repositories", "`apt-get install git`"),
];

/// Looks, and fails when something that every server needs is missing.
pub(crate) fn run() -> ExitCode {
    let mut well = true;
    for (program, purpose, remedy) in LAUNCHERS {
        match find(program) {
            Some(path) => say(&format!("ok       {program:<8} {}", path.display())),
            None => say(&format!("missing  {program:<8} needed for {purpose}: {remedy}")),
        }
    }
    for name in ["PATH", "HOME"] {
        if std::env::var_os(name).is_none() {
            well = false;
            say(&format!("missing  {name} is not set: stdio servers will not start"));
        }
    }
    let proc = PathBuf::from("/proc/self/stat").exists();
    if !proc {
        well = false;
        say("missing  /proc is not mounted: processes of stdio servers cannot be cleaned up");
    }
    match nofile() {
        Some(limit) if limit < 4_096 => {
            say(&format!(
                "low      {limit} open files allowed: `ulimit -n 65536` for many clients"
            ));
        }
        Some(limit) => say(&format!("ok       {limit} open files allowed")),
        None => say("unknown  how many open files are allowed"),
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn nofile() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
