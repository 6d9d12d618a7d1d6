//! Finds a value in raw, base64, percent-encoded, JSON-escaped and hexadecimal form.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

/// A value, and the forms in which it would be a leak.
pub(super) struct Scanner {
    forms: Vec<(String, &'static str, Vec<u8>)>,
}

impl Scanner {
    /// A scanner for named values.
    pub(super) fn new(secrets: &[(&str, &str)]) -> Self {
        let mut forms = Vec::new();
        for (name, secret) in secrets {
            let mut add = |form, bytes: Vec<u8>| forms.push(((*name).to_owned(), form, bytes));
            add("raw", secret.as_bytes().to_vec());
            let json = serde_json::to_string(secret).unwrap();
            add("json", json.as_bytes()[1..json.len() - 1].to_vec());
            let percent = percent_encode(secret.as_bytes(), NON_ALPHANUMERIC).to_string();
            // Encoders differ in what they leave as it is; these two are the extremes of what
            // is in use, and the middle is tried too.
            let component = percent.replace("%2D", "-").replace("%2E", ".").replace("%5F", "_");
            for text in [&percent, &component] {
                add("percent", text.as_bytes().to_vec());
                add("percent", lower_case_escapes(text).into_bytes());
            }
            let all: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
            add("percent", all.into_bytes());
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            add("hex", hex.to_uppercase().into_bytes());
            add("hex", hex.into_bytes());
            for before in 0..3 {
                for bytes in base64_at(secret.as_bytes(), before) {
                    add("base64", bytes);
                }
            }
        }
        Self { forms }
    }

    /// The leaks in one text or file.
    pub(super) fn scan(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        self.forms
            .iter()
            .filter(|(_, _, form)| memmem::find(bytes, form).is_some())
            .map(|(name, form, _)| format!("{name} ({form}) in {place}"))
            .collect()
    }

    /// The leaks in all files below a folder, and how many files there are.
    pub(super) fn scan_folder(&self, folder: &Path) -> (Vec<String>, usize) {
        let mut leaks = Vec::new();
        let files = files(folder);
        for file in &files {
            // A journal file may go away while it is looked for.
            if let Ok(bytes) = fs::read(file) {
                leaks.extend(self.scan(&file.display().to_string(), &bytes));
            }
        }
        (leaks, files.len())
    }
}

fn lower_case_escapes(text: &str) -> String {
    text.chars()
        .scan(0_u8, |left, c| {
            if c == '%' {
                *left = 2;
                return Some(c);
            }
            let inside = *left > 0;
            *left = left.saturating_sub(1);
            Some(if inside { c.to_ascii_lowercase() } else { c })
        })
        .collect()
}

/// The characters of base64 that depend on the value alone, with `before` bytes before it.
fn base64_at(secret: &[u8], before: usize) -> [Vec<u8>; 2] {
    let text = [&vec![0; before], secret].concat();
    let range = (before * 8).div_ceil(6)..text.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)]
        .map(|encoded| encoded.as_bytes()[range.clone()].to_vec())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

#[test]
fn the_scanner_finds_a_planted_leak_in_each_form() {
    let secret = "s3cr3t/+=& \"value\"-1";
    let scanner = Scanner::new(&[("planted", secret)]);
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    let hidden = |before: &str| format!("{before}{secret} and more");
    let percent = percent_encode(hidden("x").as_bytes(), NON_ALPHANUMERIC).to_string();
    for text in [
        hidden("Authorization: Bearer "),
        serde_json::to_string(&hidden("in json ")).unwrap(),
        STANDARD_NO_PAD.encode(hidden("a")),
        STANDARD_NO_PAD.encode(hidden("ab")),
        URL_SAFE_NO_PAD.encode(hidden("abc")),
        lower_case_escapes(&percent),
        percent,
        hidden("y").bytes().map(|byte| format!("{byte:02x}")).collect(),
    ] {
        fs::write(deep.join("events.db-wal"), &text).unwrap();
        let (leaks, files) = scanner.scan_folder(folder.path());
        assert!(!leaks.is_empty(), "not found in {text}");
        assert_eq!(files, 1);
    }
    fs::write(deep.join("events.db-wal"), "nothing of it: s3cr3t").unwrap();
    assert!(scanner.scan_folder(folder.path()).0.is_empty());
}
