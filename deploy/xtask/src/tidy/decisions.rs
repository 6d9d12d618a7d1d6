//! Each decision in `docs/decisions` says on which day it was taken.

use super::{File, Finding};

/// How far from its start a decision may say it.
const HEAD_LINES: usize = 10;

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let decisions = files.iter().filter(|file| {
        file.path.starts_with("docs/decisions/")
            && file.has_extension("md")
            && !file.path.ends_with("/README.md")
    });
    let undated = decisions.filter(|file| {
        let head = file.text.lines().take(HEAD_LINES);
        !std::iter::once(file.path.as_str()).chain(head).any(holds_a_date)
    });
    undated
        .map(|file| Finding::new(&file.path, "has no date such as 2026-01-31 at its head"))
        .collect()
}

/// Whether a `YYYY-MM-DD` is in the text.
fn holds_a_date(text: &str) -> bool {
    text.as_bytes().windows(10).any(|window| {
        window.iter().enumerate().all(|(index, byte)| match index {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    fn is_found(path: &str, text: &str) -> bool {
        !check(&[File { path: path.into(), text: text.into() }]).is_empty()
    }

    #[test]
    fn a_decision_without_a_date_is_found() {
        assert!(is_found("docs/decisions/0001-http.md", "# HTTP\n"));
        assert!(!is_found("docs/decisions/0001-http.md", "# HTTP\n\n2026-11-22, accepted\n"));
        assert!(!is_found("docs/decisions/2026-11-22-http.md", "# HTTP\n"));
        assert!(!is_found("docs/decisions/README.md", "# All\n"));
        assert!(!is_found("docs/guide.md", "# Guide\n"));
    }
}
