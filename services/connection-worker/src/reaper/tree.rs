//! The processes below this one, as `/proc` has them.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

/// Sends `signal` to every descendant of this process. What is born meanwhile is not seen: look
/// again.
pub(super) fn signal(signal: Signal) {
    for pid in descendants(getpid()) {
        // One that is gone already needs no signal.
        let _ = kill(pid, signal);
    }
}

fn descendants(root: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, parent) in processes() {
        children.entry(parent).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut open = vec![root.as_raw()];
    while let Some(parent) = open.pop() {
        for pid in children.remove(&parent).unwrap_or_default() {
            found.push(Pid::from_raw(pid));
            open.push(pid);
        }
    }
    found
}

/// Every process that is not a zombie, and its parent.
fn processes() -> impl Iterator<Item = (i32, i32)> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((pid, parent(&stat)?))
    })
}

/// The parent in a `stat` line; `None` for a zombie. The name in parentheses may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.next()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_read_behind_any_name() {
        assert_eq!(parent("12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) b (c)) R 8 1"), Some(8));
        assert_eq!(parent("12 (sh) Z 7 12"), None);
        assert_eq!(parent("12"), None);
    }

    #[test]
    fn this_process_is_below_its_parent() {
        assert!(descendants(nix::unistd::getppid()).contains(&getpid()));
    }
}
