//! Virtual environments from the pinned requirements in `deploy/python`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure, Outcome};
use crate::process;
use crate::tools::{cache, debian, version_in};
use crate::workspace::Workspace;

/// What the pinned packages ask for.
const OLDEST: (u32, u32, u32) = (3, 10, 0);

/// Gives the environment for `deploy/python/NAME.txt`, as its `bin` folder.
///
/// # Errors
/// If there is no Python that can make one, or a package cannot be installed.
pub(crate) fn environment(workspace: &Workspace, name: &str) -> Outcome<PathBuf> {
    let requirements = workspace.root.join(format!("deploy/python/{name}.txt"));
    let pins =
        fs::read_to_string(&requirements).cannot(|| format!("read {}", requirements.display()))?;
    let arguments = ["--requirement".to_owned(), requirements.display().to_string()];
    let folder = format!("python-{name}");
    install(&workspace.root, &workspace.cache(), &folder, &pins, &arguments)
}

/// Makes `parent/name` with the packages that `arguments` of `pip install` name.
///
/// # Errors
/// As those of [`environment`].
pub(crate) fn install(
    root: &Path,
    parent: &Path,
    name: &str,
    content: &str,
    arguments: &[String],
) -> Outcome<PathBuf> {
    let environment = cache::folder(parent, name, content, |folder| {
        create(root, folder)?;
        let mut pip = process::command(folder.join("bin/python"), root);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        process::capture(pip.args(arguments)).map(drop)
    })?;
    Ok(environment.join("bin"))
}

/// Makes an empty environment; Debian ships the parts of Python that it takes separately.
fn create(root: &Path, folder: &Path) -> Outcome {
    let venv = || {
        let mut python = process::command("python3", root);
        process::capture(python.args(["-m", "venv", "--clear"]).arg(folder)).map(drop)
    };
    if find(root).is_ok() && venv().is_ok() {
        return Ok(());
    }
    let why = "the tests need Python 3.10 or newer with its venv module";
    debian::install(&["python3", "python3-venv"], why, root)?;
    find(root)?;
    venv()
}

fn find(root: &Path) -> Outcome {
    let printed = process::capture(process::command("python3", root).arg("--version"))?;
    match version_in(&printed) {
        Some(version) if version >= OLDEST => Ok(()),
        _ => Err(Failure::new(format!("{} is older than 3.10", printed.trim()))),
    }
}
