//! Finds the processes that a system started, also those that were adopted by others since.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A process that runs, for messages: its id and its command line.
pub(crate) type Running = BTreeMap<i32, String>;

/// The processes with this home directory. Each system has one of its own and passes it on to
/// every child, so a process tells whose it is, whoever its parent is by now.
pub(crate) fn running_with_home(home: &Path) -> Running {
    let wanted = format!("HOME={}", home.display());
    processes()
        .filter(|id| {
            fs::read(format!("/proc/{id}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes())
            })
        })
        .filter(|id| !is_zombie(*id))
        .map(|id| (id, command_line(id)))
        .collect()
}

fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .expect("/proc is there")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fields of `/proc/ID/stat` after the name, which may hold anything.
fn stat(id: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn is_zombie(id: i32) -> bool {
    stat(id).is_none_or(|fields| fields.first().is_some_and(|state| state == "Z"))
}

fn command_line(id: i32) -> String {
    let bytes = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}
