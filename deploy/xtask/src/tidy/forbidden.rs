//! What no Rust file of the tree holds: skipped tests, silenced lints, unfinished code.
//!
//! Looks at tokens, not text: inside macros too, and never at comments or strings.

use std::str::FromStr as _;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

use super::{File, Finding};
use crate::failure::{Context, Outcome};

/// The one reason to skip a test: it is what another test starts as a process of its own.
const OTHER_HALF: &str = "the other half of ";

/// Every breach in the Rust files.
///
/// # Errors
/// If a file is not Rust.
pub(super) fn check(files: &[File]) -> Outcome<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("rs")) {
        let tokens = TokenStream::from_str(&file.text).cannot(|| format!("read {}", file.path))?;
        let mut search = Search { file, findings };
        search.tokens(tokens);
        findings = search.findings;
    }
    Ok(findings)
}

struct Search<'a> {
    file: &'a File,
    findings: Vec<Finding>,
}

impl Search<'_> {
    fn found(&mut self, at: Span, what: &str) {
        let at = format!("{}:{}", self.file.path, at.start().line);
        self.findings.push(Finding::new(at, what));
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => {
                    if group.delimiter() == Delimiter::Bracket && follows_hash(&tokens[..index]) {
                        self.attribute(group.stream(), group.span_open());
                    }
                    self.tokens(group.stream());
                }
                TokenTree::Ident(name)
                    if (name == "todo" || name == "unimplemented")
                        && is_punct(tokens.get(index + 1), '!') =>
                {
                    self.found(name.span(), "unfinished: finish it, or leave it out");
                }
                _ => {}
            }
        }
    }

    fn attribute(&mut self, content: TokenStream, at: Span) {
        let mut words = Vec::new();
        collect_words(content, &mut words);
        let names = |wanted: &str| words.iter().any(|word| word == wanted);
        match words.first().map(String::as_str) {
            Some("ignore") if !self.is_other_half(&words) => {
                self.found(at, "a skipped test is no test: repair it, or take it out");
            }
            Some("allow") => {
                self.found(at, "silences a lint for good: use #[expect(…, reason = …)]");
            }
            Some("expect") if names("unwrap_used") && !is_for_tests(&self.file.path) => {
                self.found(at, "unwrap outside of tests: say what happens instead");
            }
            Some("cfg_attr") if names("ignore") || names("allow") => {
                self.found(at, "skips a test or silences a lint under a condition");
            }
            _ => {}
        }
    }

    /// Whether the reason names a test of the same file that this one is the other half of.
    fn is_other_half(&self, words: &[String]) -> bool {
        let reason = words.iter().find_map(|word| word.strip_prefix('"')?.strip_suffix('"'));
        let other = reason.and_then(|reason| reason.strip_prefix(OTHER_HALF));
        other.is_some_and(|other| self.file.text.contains(&format!("fn {other}(")))
    }
}

/// Helpers of tests may unwrap: clippy's own allowance ends at the test function.
fn is_for_tests(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// After `#` or `#!`, where an attribute is.
fn follows_hash(before: &[TokenTree]) -> bool {
    match before {
        [.., hash, bang] if is_punct(Some(bang), '!') => is_punct(Some(hash), '#'),
        [.., hash] => is_punct(Some(hash), '#'),
        [] => false,
    }
}

/// The names and literals of an attribute, at every depth.
fn collect_words(content: TokenStream, words: &mut Vec<String>) {
    for token in content {
        match token {
            TokenTree::Ident(word) => words.push(word.to_string()),
            TokenTree::Literal(literal) => words.push(literal.to_string()),
            TokenTree::Group(group) => collect_words(group.stream(), words),
            TokenTree::Punct(_) => {}
        }
    }
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    fn lines(text: &str) -> Vec<String> {
        lines_in("a.rs", text)
    }

    fn lines_in(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.into(), text: text.into() };
        let findings = check(&[file]).expect("is Rust");
        findings.into_iter().map(|finding| finding.at).collect()
    }

    #[test]
    fn breaches_are_found_inside_macros_too() {
        assert_eq!(lines("#[test]\n#[ignore = \"slow\"]\nfn f() {}"), ["a.rs:2"]);
        assert_eq!(lines("proptest! {\n#[ignore]\nfn f() {}\n}"), ["a.rs:2"]);
        assert_eq!(lines("#![allow(dead_code)]"), ["a.rs:1"]);
        assert_eq!(lines("fn f() {\n todo!()\n}"), ["a.rs:2"]);
        assert_eq!(lines("#[expect(clippy::unwrap_used, reason = \"x\")]\nfn f() {}"), ["a.rs:1"]);
        assert_eq!(lines("#[cfg_attr(test, allow(dead_code))]\nfn f() {}"), ["a.rs:1"]);
    }

    #[test]
    fn comments_strings_and_other_names_are_fine() {
        assert!(lines("// #[ignore] todo!()\n/// #[allow(x)]\nfn f() { \"todo!()\"; }").is_empty());
        assert!(lines("fn f(ignore: u8) { list[ignore]; allow(1); todo(); }").is_empty());
        assert!(
            lines("#[expect(dead_code, reason = \"x\")]\n#[derive(Debug)]\nstruct S;").is_empty()
        );
    }

    #[test]
    fn only_helpers_of_tests_may_unwrap() {
        let text = "#![expect(clippy::unwrap_used, reason = \"x\")]";
        assert_eq!(lines_in("services/bus/src/lib.rs", text).len(), 1);
        assert!(lines_in("services/bus/tests/all.rs", text).is_empty());
        assert!(lines_in("tests/system/src/lib.rs", text).is_empty());
    }

    #[test]
    fn only_the_other_half_of_a_test_that_is_there_may_be_skipped() {
        let half = "#[test]\n#[ignore = \"the other half of whole\"]\nfn half() {}\n";
        assert_eq!(lines(half), ["a.rs:2"]);
        assert!(lines(&format!("{half}#[test]\nfn whole() {{}}\n")).is_empty());
    }
}
