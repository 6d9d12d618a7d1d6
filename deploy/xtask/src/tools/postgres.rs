//! PostgreSQL: the machine's own, or Debian's package.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};
use crate::process;
use crate::tools::{debian, version_in};
use crate::workspace::Workspace;

/// The oldest with all that the migrations use.
const OLDEST: u32 = 15;
/// What a directory must have: some machines have a part of them on the path.
const PROGRAMS: [&str; 5] = ["initdb", "pg_ctl", "pg_isready", "postgres", "psql"];
/// Where Debian puts each version, which is on no path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Gives the directory with `postgres` and `initdb`.
///
/// # Errors
/// If there is none that is new enough, and none can be installed.
pub(crate) fn find_or_install(workspace: &Workspace) -> Outcome<PathBuf> {
    let root = &workspace.root;
    if let Some(found) = find(root) {
        return Ok(found);
    }
    let why = format!("the tests need PostgreSQL {OLDEST} or newer");
    // Only the programs: no server is to run for it.
    let settings = Path::new("/etc/postgresql-common/createcluster.d");
    if fs::create_dir_all(settings).is_ok() {
        fs::write(settings.join("mcp-orch.conf"), "create_main_cluster = false\n").ok();
    }
    debian::install(&["postgresql"], &why, root)?;
    find(root).ok_or_else(|| Failure::new(format!("{why}; the system's package is older")))
}

fn find(root: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).collect::<Vec<_>>();
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut packaged: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    // The newest first.
    packaged.sort_by_key(|folder| std::cmp::Reverse(major(folder, root)));
    on_path
        .into_iter()
        .chain(packaged)
        .filter(|folder| PROGRAMS.iter().all(|program| folder.join(program).is_file()))
        .find(|folder| major(folder, root) >= Some(OLDEST))
}

fn major(folder: &Path, root: &Path) -> Option<u32> {
    let printed =
        process::capture(process::command(folder.join("postgres"), root).arg("--version"));
    version_in(&printed.ok()?).map(|(major, _, _)| major)
}
