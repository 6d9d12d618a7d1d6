//! What is wrong with a configuration, in words. Never shows a value.

use std::path::Path;

use figment::error::{Actual, Kind};
use figment::{Error, Metadata};

use super::{NESTING, environment};

/// Where values came from, to name it.
pub(super) struct Origin<'a> {
    pub(super) file: Option<&'a Path>,
    pub(super) prefix: &'a str,
}

/// One line for each fault, in the order in which they were met.
pub(super) fn describe(error: Error, origin: &Origin<'_>) -> String {
    let mut lines: Vec<String> = error.into_iter().map(|fault| line(&fault, origin)).collect();
    lines.dedup();
    lines.join("\n")
}

fn line(fault: &Error, origin: &Origin<'_>) -> String {
    let key = fault.path.join(".");
    let what = what(fault, origin);
    if key.is_empty() {
        return match origin.file {
            // Without a key it is the file that cannot be read.
            Some(path) if matches!(fault.kind, Kind::Message(_)) => {
                format!("the file {}: {what}", path.display())
            }
            _ => what,
        };
    }
    format!("{key}{}: {what}", source(fault, origin))
}

/// Which variable, file or flag the value is from.
fn source(fault: &Error, origin: &Origin<'_>) -> String {
    let Some(metadata) = &fault.metadata else {
        return String::new();
    };
    if is_environment(metadata) {
        return format!(" (from the variable {})", variable(&fault.path, origin));
    }
    match (is_flag(metadata), origin.file) {
        (false, Some(path)) => format!(" (from the file {})", path.display()),
        (false, None) => String::new(),
        (true, _) => " (from a flag)".to_owned(),
    }
}

fn is_environment(metadata: &Metadata) -> bool {
    metadata.name == environment::NAME
}

/// Defaults and flags are both made from a type; defaults have the right types.
fn is_flag(metadata: &Metadata) -> bool {
    metadata.source.as_ref().is_some_and(|source| source.code_location().is_some())
}

fn variable(path: &[String], origin: &Origin<'_>) -> String {
    format!("{}{}", origin.prefix, path.join(NESTING).to_uppercase())
}

fn what(fault: &Error, origin: &Origin<'_>) -> String {
    match &fault.kind {
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            let is_variable = fault.metadata.as_ref().is_some_and(is_environment);
            let quoted = is_variable && expected.contains("string");
            let hint = if quoted {
                "; to give a number or a word such as true as text, quote it within the \
                 variable: '\"…\"'"
            } else {
                ""
            };
            format!("give {}, not {}{hint}", plain(expected), kind_of(actual))
        }
        Kind::InvalidLength(actual, expected) => format!("give {expected}, not {actual} items"),
        Kind::UnknownVariant(_, known) => format!("give one of {}", known.join(", ")),
        Kind::UnknownField(name, known) => unknown(name, known),
        Kind::MissingField(name) => format!(
            "{name} is missing: give it in the file, as {}{}, or as a flag",
            variable(&fault.path, origin),
            suffix(&fault.path, name)
        ),
        Kind::DuplicateField(name) => format!("{name} is given twice"),
        Kind::Message(text) => message(text, &fault.path),
        _ => "a value of this type cannot be used here".to_owned(),
    }
}

/// The rest of a variable's name after the names of the tables.
fn suffix(path: &[String], name: &str) -> String {
    let separator = if path.is_empty() { "" } else { NESTING };
    format!("{separator}{}", name.to_uppercase())
}

/// What a type says of its own text. A parser of a file shows the line beside it, which may hold
/// a secret: that part is left out.
fn message(text: &str, path: &[String]) -> String {
    if path.last().is_some_and(|key| may_be_secret(key)) {
        return "it has not the form that is expected".to_owned();
    }
    let said: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_quote(line)).collect();
    said.join(": ")
}

/// A line such as `3 | token = "…"`, or the marks below it.
fn is_quote(line: &str) -> bool {
    line.split_once('|')
        .is_some_and(|(number, _)| number.trim().bytes().all(|byte| byte.is_ascii_digit()))
}

fn may_be_secret(key: &str) -> bool {
    ["secret", "token", "password", "key", "seed", "url", "credential"]
        .iter()
        .any(|word| key.to_lowercase().contains(word))
}

/// A key that is none, with what was probably meant.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .min()
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4);
    match nearest {
        Some((_, candidate)) => format!("there is no key {name}: did you mean {candidate}?"),
        None => format!("there is no key {name}: remove it; the keys are {}", known.join(", ")),
    }
}

/// How many letters must be added, removed or changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let change = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

fn plain(expected: &str) -> &str {
    match expected {
        "a string" | "string" => "a text",
        "a boolean" | "bool" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        other => other,
    }
}

const fn kind_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) => "a whole number",
        Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "a text",
        Actual::Bytes(_) => "bytes",
        Actual::Unit | Actual::Option => "nothing",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "this",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_is_named() {
        let known = ["listen", "admin_listen", "workers"];
        assert!(unknown("lisen", &known).ends_with("did you mean listen?"));
        assert!(unknown("adminlisten", &known).ends_with("did you mean admin_listen?"));
        assert!(unknown("colour", &known).contains("listen, admin_listen, workers"));
    }

    #[test]
    fn the_quoted_line_of_a_parser_is_left_out() {
        let text =
            "TOML parse error at line 1, column 9\n  |\n1 | token = hunter2\n  |   ^\nexpected";
        let shown = message(text, &[]);
        assert_eq!(shown, "TOML parse error at line 1, column 9: expected");
    }
}
