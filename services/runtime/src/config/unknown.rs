//! Keys of a file that nobody reads.

use std::path::Path;

use figment::value::{Dict, Value};

use super::fault;

/// Compares the keys that were `given` with those of the defaults, which have all of them. A
/// table that is empty or absent by default takes any key.
pub(super) fn check(known: &Dict, given: &Dict, path: &Path) -> Result<(), String> {
    let mut faults = Vec::new();
    compare(known, given, "", &mut faults);
    if faults.is_empty() {
        return Ok(());
    }
    let lines = faults.iter().map(|fault| format!("in the file {}: {fault}", path.display()));
    Err(lines.collect::<Vec<_>>().join("\n"))
}

fn compare(known: &Dict, given: &Dict, table: &str, faults: &mut Vec<String>) {
    for (key, value) in given {
        match (known.get(key), value) {
            (None, _) => {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let place = if table.is_empty() { "" } else { "in " };
                let colon = if table.is_empty() { "" } else { ", " };
                faults.push(format!("{place}{table}{colon}{}", fault::unknown(key, &names)));
            }
            (Some(Value::Dict(_, known)), Value::Dict(_, given)) if !known.is_empty() => {
                let table = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
                compare(known, given, &table, faults);
            }
            _ => {}
        }
    }
}
