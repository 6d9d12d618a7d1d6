//! Tools of cargo that a bare toolchain lacks: taken from the path when new enough, else built
//! once and kept in the user's cache.

use std::env;
use std::path::{Path, PathBuf};

use crate::failure::Outcome;
use crate::process;
use crate::tools::{cache, version_in};
use crate::workspace::Workspace;

/// A tool as it is on crates.io.
pub(crate) struct CargoTool {
    name: &'static str,
    /// The oldest that understands the project's configuration.
    oldest: (u32, u32, u32),
    /// What is built when there is none.
    pinned: &'static str,
}

pub(crate) const NEXTEST: CargoTool =
    CargoTool { name: "cargo-nextest", oldest: (0, 9, 140), pinned: "0.9.143" };

pub(crate) const DENY: CargoTool =
    CargoTool { name: "cargo-deny", oldest: (0, 18, 0), pinned: "0.20.2" };

impl CargoTool {
    /// Gives the program, building it first if there is none.
    ///
    /// # Errors
    /// If it has to be built and that fails.
    pub(crate) fn find_or_install(&self, workspace: &Workspace) -> Outcome<PathBuf> {
        let root = &workspace.root;
        let printed = process::capture(process::command(self.name, root).arg("--version"));
        if printed.ok().and_then(|text| version_in(&text)).is_some_and(|v| v >= self.oldest) {
            return Ok(PathBuf::from(self.name));
        }
        let parent = user_cache().unwrap_or_else(|| workspace.cache());
        let folder = cache::folder(&parent, self.name, self.pinned, |folder| {
            eprintln!("building {} {}: some minutes, once", self.name, self.pinned);
            self.build(root, folder)
        })?;
        Ok(folder.join("bin").join(self.name))
    }

    fn build(&self, root: &Path, folder: &Path) -> Outcome {
        let target = folder.join("target");
        process::capture(
            process::cargo(root)
                .args(["install", "--quiet", "--locked", "--version", self.pinned])
                .args(["--no-track", "--root"])
                .arg(folder)
                .arg(self.name)
                // A target directory of its own: the workspace's is locked by other steps.
                .env("CARGO_TARGET_DIR", &target)
                // It runs for seconds and builds for minutes: optimise the building.
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "64")
                .env("CARGO_PROFILE_RELEASE_DEBUG", "0"),
        )?;
        // Only the program is kept; what is left of the build is no reason to fail.
        std::fs::remove_dir_all(target).ok();
        Ok(())
    }
}

fn user_cache() -> Option<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| {
        let home = env::var_os("HOME")?;
        Some(PathBuf::from(home).join(".cache"))
    })?;
    base.is_absolute().then(|| base.join("mcp-orch-xtask"))
}
