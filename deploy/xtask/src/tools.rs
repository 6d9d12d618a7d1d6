//! Finding what the tasks need on this machine, and installing what is missing.
//!
//! Always: versions are pinned by the project's own files; nothing is installed outside the
//! tree's `.cache` but cargo's tools (in the user's cache, so that clones share them) and, as
//! root on Debian, packages of the system.

pub(crate) mod cache;
pub(crate) mod cargo_tools;
pub(crate) mod cluster;
pub(crate) mod debian;
pub(crate) mod nats;
pub(crate) mod node;
pub(crate) mod postgres;
pub(crate) mod python;

/// The first `1.2.3`-like word of a tool's `--version`, as numbers that compare.
pub(crate) fn version_in(printed: &str) -> Option<(u32, u32, u32)> {
    printed.split_whitespace().find_map(|word| {
        let mut numbers = word.trim_start_matches('v').splitn(3, '.').map(leading_number);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(major)), Some(Some(minor)), patch) => {
                Some((major, minor, patch.flatten().unwrap_or(0)))
            }
            _ => None,
        }
    })
}

fn leading_number(part: &str) -> Option<u32> {
    let end = part.find(|character: char| !character.is_ascii_digit()).unwrap_or(part.len());
    part[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn versions_are_read_from_what_tools_print() {
        assert_eq!(version_in("v20.20.2\n"), Some((20, 20, 2)));
        assert_eq!(version_in("Python 3.11.7"), Some((3, 11, 7)));
        assert_eq!(version_in("cargo-nextest 0.9.143 (60fa45f63 2026-08-04)"), Some((0, 9, 143)));
        assert_eq!(version_in("Python 3.14.0rc1"), Some((3, 14, 0)));
        assert_eq!(version_in("no version here"), None);
    }
}
