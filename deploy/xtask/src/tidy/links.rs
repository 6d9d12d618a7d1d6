//! Links from the project's Markdown to its files lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::{File, Finding};

pub(super) fn check(files: &[File], exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        for (line, target) in targets(&file.text) {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            if path.is_empty() || is_elsewhere(path) {
                continue;
            }
            let there = resolve(&file.path, path).is_some_and(|path| exists(&path));
            if !there {
                let at = format!("{}:{line}", file.path);
                findings.push(Finding::new(at, format!("links to {path}, which is not there")));
            }
        }
    }
    findings
}

/// With a scheme, such as `https:`.
fn is_elsewhere(target: &str) -> bool {
    target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.chars().all(|character| character.is_ascii_alphanumeric() || character == '+')
    })
}

/// The path from the root; `None` if it leaves the tree.
fn resolve(from: &str, target: &str) -> Option<String> {
    let base = match target.strip_prefix('/') {
        Some(_) => PathBuf::new(),
        None => Path::new(from).parent().map(PathBuf::from).unwrap_or_default(),
    };
    let mut resolved = base;
    for component in Path::new(target.trim_start_matches('/')).components() {
        match component {
            Component::Normal(part) => resolved.push(part),
            Component::ParentDir if !resolved.pop() => return None,
            _ => {}
        }
    }
    Some(resolved.to_string_lossy().into_owned())
}

/// The targets of `[text](target)` with their lines, code left out.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second piece between backticks is code; a link's text may hold some.
        let mut rest = line;
        while let Some(start) = rest.find("](") {
            let is_code = rest[..start].matches('`').count() % 2 == 1;
            rest = &rest[start + 2..];
            let Some(end) = rest.find(')') else { break };
            if !is_code {
                let target = rest[..end].split_whitespace().next().unwrap_or_default();
                targets.push((index + 1, target));
            }
            rest = &rest[end + 1..];
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    fn found(path: &str, text: &str) -> Vec<String> {
        let there = ["docs/guide.md", "README.md", "docs/errors/conflict.md"];
        let file = File { path: path.into(), text: text.into() };
        let findings = check(&[file], |path| there.contains(&path));
        findings.into_iter().map(|finding| finding.at).collect()
    }

    #[test]
    fn links_to_files_that_are_there_are_fine() {
        let text = "[a](guide.md#start \"title\") [b](../README.md) [c](/README.md) [d](#here)\n\
                    [`e`](errors/conflict.md) [f](https://example.org/x) <mailto:a@example.org>\n";
        assert!(found("docs/guide.md", text).is_empty());
    }

    #[test]
    fn links_to_nowhere_are_found_with_their_line() {
        assert_eq!(found("README.md", "x\n[a](docs/gone.md)\n"), ["README.md:2"]);
        assert_eq!(found("README.md", "[a](docs/guide.md) [b](../README.md)\n"), ["README.md:1"]);
    }

    #[test]
    fn code_is_not_read_for_links() {
        assert!(found("README.md", "```\n[a](gone)\n```\n`[a](gone)`\n").is_empty());
    }
}
