//! nats-server: the machine's own where it is new enough, else Debian's newer package, unpacked
//! beside the tree without root.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Context, Failure, Outcome};
use crate::process;
use crate::tools::{cache, version_in};
use crate::workspace::Workspace;

/// The oldest that keeps to what the bus asks of it.
const OLDEST: (u32, u32, u32) = (2, 10, 0);
/// The release of Debian whose package is new enough, and runs on the one before it.
const SUITE: &str = "trixie";
/// Where Debian keeps the keys that sign its packages.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Gives the program.
///
/// # Errors
/// If there is none that is new enough, and none can be unpacked: then with what to install.
pub(crate) fn find_or_install(workspace: &Workspace) -> Outcome<PathBuf> {
    if new_enough(Path::new("nats-server"), &workspace.root) {
        return Ok(PathBuf::from("nats-server"));
    }
    let folder = cache::folder(&workspace.cache(), "nats", SUITE, |folder| {
        unpack(&workspace.root, folder).map_err(|failure| {
            Failure::new(format!(
                "the tests need nats-server 2.10 or newer on the path, and it could not be had \
                 from Debian's packages: {failure}"
            ))
        })
    })?;
    Ok(folder.join("root/usr/sbin/nats-server"))
}

fn new_enough(program: &Path, root: &Path) -> bool {
    let printed = process::capture(process::command(program, root).arg("--version"));
    printed.ok().and_then(|printed| version_in(&printed)).is_some_and(|found| found >= OLDEST)
}

fn unpack(root: &Path, folder: &Path) -> Outcome {
    let mirror = debian_mirror().ok_or_else(|| Failure::new("this machine is not Debian"))?;
    eprintln!("downloading nats-server with apt-get");
    for name in ["lists/partial", "cache/archives/partial", "etc/apt.conf.d", "root"] {
        fs::create_dir_all(folder.join(name)).cannot(|| format!("create {name}"))?;
    }
    let source = format!("deb [signed-by={KEYRING}] {mirror} {SUITE} main\n");
    fs::write(folder.join("sources.list"), source).cannot(|| "write the list of sources".into())?;
    let apt = |arguments: &[&str]| {
        let mut apt = process::command("apt-get", folder);
        let own = |name: &str, path: &str| format!("{name}={}", folder.join(path).display());
        for option in [
            own("Dir::Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=-".to_owned(),
            own("Dir::State::lists", "lists"),
            own("Dir::Cache", "cache"),
            "Dir::State::status=/dev/null".to_owned(),
            // The sandbox's user cannot reach this folder.
            "APT::Sandbox::User=".to_owned(),
        ] {
            apt.args(["-o", &option]);
        }
        process::capture(apt.args(["-q"]).args(arguments).current_dir(folder))
    };
    apt(&["update"])?;
    apt(&["download", "nats-server"])?;
    let package = fs::read_dir(folder)
        .cannot(|| format!("read {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .ok_or_else(|| Failure::new("apt-get downloaded nothing"))?;
    let mut dpkg = process::command("dpkg", root);
    process::capture(dpkg.arg("-x").arg(package).arg(folder.join("root")))?;
    let program = folder.join("root/usr/sbin/nats-server");
    if new_enough(&program, root) {
        Ok(())
    } else {
        Err(Failure::new("the downloaded nats-server does not run, or is too old"))
    }
}

/// Where this machine gets Debian's packages from.
fn debian_mirror() -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    files.extend(parts.map(|entry| entry.path()));
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).find_map(|text| mirror_in(&text))
}

/// The first mirror of Debian itself in a list of sources, in either of its two forms.
fn mirror_in(sources: &str) -> Option<String> {
    sources
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn the_mirror_is_found_in_both_forms_of_a_list() {
        let new = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\n";
        assert_eq!(mirror_in(new).as_deref(), Some("http://mirror.example/debian"));
        let old = "# deb http://no/debian\ndeb [arch=amd64] http://yes.example/debian/ sid main\n";
        assert_eq!(mirror_in(old).as_deref(), Some("http://yes.example/debian/"));
        assert_eq!(mirror_in("deb https://other.example/apt stable main"), None);
        assert_eq!(mirror_in("URIs: http://mirror.example/debian-security\n"), None);
    }
}
