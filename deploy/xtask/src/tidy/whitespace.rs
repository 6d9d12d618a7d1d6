//! Text files hold no tabs and no space at the end of a line, and end with one newline.

use super::{File, Finding};

/// Where the tools' own formats and people's text are not in the way.
const EXTENSIONS: [&str; 10] =
    ["css", "html", "json", "md", "proto", "rs", "sql", "toml", "ts", "tsx"];

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let kept = files.iter().filter(|file| {
        EXTENSIONS.iter().any(|extension| file.has_extension(extension))
            // Snapshots and recordings are what a program wrote, kept as it was.
            && !file.path.contains("/snapshots/")
            && !file.path.contains("/golden/")
    });
    kept.flat_map(of_file).collect()
}

fn of_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let at = || format!("{}:{}", file.path, index + 1);
        if line.contains('\t') {
            findings.push(Finding::new(at(), "holds a tab"));
        }
        if line.ends_with([' ', '\r']) {
            findings.push(Finding::new(at(), "ends with a space or carriage return"));
        }
    }
    if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
        findings.push(Finding::new(&file.path, "does not end with exactly one newline"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    fn count(path: &str, text: &str) -> usize {
        check(&[File { path: path.into(), text: text.into() }]).len()
    }

    #[test]
    fn tabs_trailing_space_and_a_missing_last_newline_are_found() {
        assert_eq!(count("a.rs", "fn f() {\n    g();\n}\n"), 0);
        assert_eq!(count("a.rs", "fn f() {\n\tg(); \n}"), 3);
        assert_eq!(count("a.rs", "fn f() {}\n\n"), 1);
        assert_eq!(count("golden/x/golden/a.json", "{}"), 0);
        assert_eq!(count("Makefile", "a:\n\tb\n"), 0);
    }
}
