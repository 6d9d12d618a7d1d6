//! Packages of the system: installed as root on Debian and its children, else asked for.

use std::path::Path;

use crate::failure::{Failure, Outcome};
use crate::process;

/// Installs the packages, or says what the person at the terminal should install.
///
/// # Errors
/// If this is not Debian or not root, or apt fails. `why` starts the sentence.
pub(crate) fn install(packages: &[&str], why: &str, root: &Path) -> Outcome {
    if !is_root(root) || !Path::new("/usr/bin/apt-get").exists() {
        let names = packages.join(" ");
        return Err(Failure::new(format!(
            "{why}; on Debian or Ubuntu: `sudo apt-get install {names}`, elsewhere the same from \
             the system's own packages"
        )));
    }
    eprintln!("installing {} with apt-get", packages.join(" "));
    let apt = |arguments: &[&str]| {
        process::capture(
            process::command("apt-get", root)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(["-q", "-y"])
                .args(arguments),
        )
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], packages].concat()).map(drop)
}

fn is_root(root: &Path) -> bool {
    process::capture(process::command("id", root).arg("-u")).is_ok_and(|id| id.trim() == "0")
}
