//! The processes below a process.

use std::collections::BTreeMap;
use std::fs;

/// All that a process started, and all that these started, by id.
pub(super) fn descendants(of: i32) -> Vec<i32> {
    let parents: BTreeMap<i32, i32> = processes().collect();
    let is_below = |mut id: i32| {
        // Longer chains than this there are not.
        for _ in 0..32 {
            match parents.get(&id) {
                Some(parent) if *parent == of => return true,
                Some(parent) => id = *parent,
                None => return false,
            }
        }
        false
    };
    parents.keys().copied().filter(|id| is_below(*id)).collect()
}

/// Whether a process runs, and is more than an entry that nobody has read yet.
pub(super) fn runs(id: i32) -> bool {
    fields(id).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z"))
}

fn processes() -> impl Iterator<Item = (i32, i32)> {
    let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
    entries.filter_map(|entry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        Some((id, fields(id)?.get(1)?.parse().ok()?))
    })
}

/// The fields of `/proc/ID/stat` after the name: the state, the parent and so on.
fn fields(id: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}
