//! Answers for people and for programs.

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

/// Prints rows under their headings, or the same as JSON.
#[expect(clippy::print_stdout, reason = "the answer to whoever typed the command")]
pub(crate) fn print(json: bool, headings: &[&str], rows: &[Value]) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(rows)?);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    for row in rows {
        table.add_row(headings.iter().map(|heading| cell(&row[*heading])));
    }
    println!("{table}");
    Ok(())
}

/// Prints one line.
#[expect(clippy::print_stdout, reason = "the answer to whoever typed the command")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
