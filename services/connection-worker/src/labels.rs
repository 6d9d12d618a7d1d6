//! What a worker can do that not every worker can, found out from what is installed.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Labels, and the programs of which one has to be there.
const PROGRAMS: [(&str, &[&str]); 4] = [
    ("docker", &["docker", "podman"]),
    ("node", &["npx", "node"]),
    ("python", &["python3"]),
    ("uv", &["uvx", "uv"]),
];

/// The labels of this machine by the programs that are in the folders of `PATH`: `docker` (docker
/// or podman), `node`, `python` and `uv`. Nothing is started, and whether a program works is not
/// tried.
pub fn detect_labels() -> Vec<String> {
    std::env::var_os("PATH").map_or_else(Vec::new, |path| labels_in(&path))
}

fn labels_in(path: &OsStr) -> Vec<String> {
    let folders: Vec<_> = std::env::split_paths(path).collect();
    let is_there = |program: &&str| folders.iter().any(|folder| is_program(&folder.join(program)));
    let found = PROGRAMS.iter().filter(|(_, programs)| programs.iter().any(&is_there));
    found.map(|(label, _)| (*label).to_owned()).collect()
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn put(folder: &Path, name: &str, mode: u32) {
        fs::write(folder.join(name), "").unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn labels_are_those_of_the_programs_that_can_be_run() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(one.path(), "node", 0o755);
        put(one.path(), "docker", 0o644);
        put(other.path(), "uvx", 0o755);
        let path = std::env::join_paths([one.path(), other.path()]).unwrap();
        assert_eq!(labels_in(&path), ["node", "uv"]);
        put(other.path(), "podman", 0o755);
        assert_eq!(labels_in(&path), ["docker", "node", "uv"]);
        assert!(labels_in(OsStr::new("")).is_empty());
    }
}
