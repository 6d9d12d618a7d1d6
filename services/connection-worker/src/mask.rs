//! Keeps a server's secret values out of what is stored, logged or shown.
//!
//! What always holds: a value that was given to [`Masker::new`] survives in a masked text neither
//! as it is nor in base64 (any alphabet, padding and alignment), percent-encoded, JSON-escaped
//! (twice, even) or in hexadecimal, in upper or lower case. JSON stays valid JSON, for only the
//! insides of strings and whole numbers are replaced.

mod forms;
mod view;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use bytes::{BufMut, Bytes, BytesMut};

use self::view::View;

/// What stands in place of a secret.
pub(crate) const REPLACEMENT: &str = "***";
/// The shortest value that is masked, in bytes: shorter ones are found in every text.
pub(crate) const MIN_SECRET_BYTES: usize = 6;
/// The most bytes of secret values that one server may have, since each is searched for in all
/// its forms.
pub(crate) const MAX_SECRET_BYTES: usize = 64 * 1024;

/// The values of a server are too many to be searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret values have more than {MAX_SECRET_BYTES} bytes in all")]
pub(crate) struct TooManySecrets;

/// Finds the secrets of one server. Has no `Debug`: it holds them.
#[derive(Default)]
pub(crate) struct Masker {
    search: Option<AhoCorasick>,
    longest: usize,
}

impl Masker {
    /// Searches for each of `values` that is long enough, and for each line of it.
    ///
    /// # Errors
    /// [`TooManySecrets`].
    pub(crate) fn new<'a>(
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, TooManySecrets> {
        Self::of_length(values, MIN_SECRET_BYTES)
    }

    /// As [`new`](Self::new), for values of at least `min_bytes` only: where a common word that
    /// happens to be a value must not be replaced.
    ///
    /// # Errors
    /// [`TooManySecrets`].
    pub(crate) fn of_length<'a>(
        values: impl IntoIterator<Item = &'a str>,
        min_bytes: usize,
    ) -> Result<Self, TooManySecrets> {
        let mut secrets = BTreeSet::new();
        for value in values {
            secrets.extend([value, value.trim()]);
            secrets.extend(value.lines());
        }
        secrets.retain(|secret| secret.len() >= min_bytes.max(MIN_SECRET_BYTES));
        if secrets.iter().map(|secret| secret.len()).sum::<usize>() > MAX_SECRET_BYTES {
            return Err(TooManySecrets);
        }
        let patterns: BTreeSet<Vec<u8>> = secrets.into_iter().flat_map(forms::of).collect();
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or_default();
        let search = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns)
            .map_err(|_| TooManySecrets)?;
        Ok(Self { search: Some(search), longest })
    }

    /// The longest form of any secret, in bytes: how much of a text must be seen at once.
    pub(crate) const fn longest(&self) -> usize {
        self.longest
    }

    /// Whether there is nothing to search for.
    pub(crate) const fn is_empty(&self) -> bool {
        self.search.is_none()
    }

    /// The text without the secrets.
    pub(crate) fn mask_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(search) = &self.search else {
            return Cow::Borrowed(text);
        };
        let mut spans = Vec::new();
        collect(search, &View::identity(text.as_bytes()), 0, &mut spans);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = BytesMut::with_capacity(text.len());
        replace(text.as_bytes(), merge(spans), &mut out);
        Cow::Owned(String::from_utf8_lossy(&out).into_owned())
    }

    /// The JSON text without the secrets; `None` when there is none in it.
    pub(crate) fn mask_json(&self, json: &Bytes) -> Option<Bytes> {
        let search = self.search.as_ref()?;
        let plain = !json.iter().any(|byte| matches!(byte, b'\\' | b'%'));
        if plain && !search.is_match(json) {
            return None;
        }
        let mut edits = Vec::new();
        for token in Tokens::of(json) {
            match token {
                Token::String(span) => {
                    mask_string(search, &json[span.clone()], span.start, &mut edits);
                }
                Token::Number(span) if search.is_match(&json[span.clone()]) => {
                    edits.push((span, "\"***\""));
                }
                Token::Number(_) => {}
            }
        }
        if edits.is_empty() {
            return None;
        }
        let mut out = BytesMut::with_capacity(json.len());
        let mut at = 0;
        for (span, with) in edits {
            out.put_slice(&json[at..span.start]);
            out.put_slice(with.as_bytes());
            at = span.end;
        }
        out.put_slice(&json[at..]);
        Some(out.freeze())
    }
}

/// Adds the edits of one string, whose inside begins at `offset` of the text.
fn mask_string(
    search: &AhoCorasick,
    inside: &[u8],
    offset: usize,
    edits: &mut Vec<(Range<usize>, &'static str)>,
) {
    let mut spans = Vec::new();
    let raw = View::identity(inside);
    collect(search, &raw, 0, &mut spans);
    if spans.is_empty() {
        return;
    }
    if let Some(units) = raw.unescaped() {
        // A match that begins or ends within an escape takes the whole escape with it.
        for span in &mut spans {
            *span = units.around(span);
        }
    }
    for span in merge(spans) {
        edits.push((offset + span.start..offset + span.end, REPLACEMENT));
    }
}

/// How often a text may be escaped within itself: JSON in a string of JSON.
const MAX_ESCAPES: usize = 2;

/// Finds the secrets in a view of the text, and in what it says when its encodings are resolved.
fn collect(search: &AhoCorasick, view: &View<'_>, depth: usize, spans: &mut Vec<Range<usize>>) {
    spans.extend(search.find_iter(view.bytes()).map(|found| view.original(found.range())));
    if depth < MAX_ESCAPES
        && let Some(unescaped) = view.unescaped()
    {
        collect(search, &unescaped, depth + 1, spans);
    }
    if let Some(decoded) = view.percent_decoded() {
        spans
            .extend(search.find_iter(decoded.bytes()).map(|found| decoded.original(found.range())));
    }
}

/// The spans in order, those that touch as one.
fn merge(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

fn replace(text: &[u8], spans: Vec<Range<usize>>, out: &mut BytesMut) {
    let mut at = 0;
    for span in spans {
        out.put_slice(&text[at..span.start]);
        out.put_slice(REPLACEMENT.as_bytes());
        at = span.end;
    }
    out.put_slice(&text[at..]);
}

/// What of a JSON text can hold a secret.
enum Token {
    /// The inside of a string, a key or a value.
    String(Range<usize>),
    /// A number.
    Number(Range<usize>),
}

/// Walks over a JSON text that is known to be valid.
struct Tokens<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    fn of(json: &'a [u8]) -> Self {
        Self { json, at: 0 }
    }

    /// Where the string that begins at `start` ends (its quote, or the end of the text).
    fn end_of_string(&self, start: usize) -> usize {
        let mut at = start;
        while let Some(found) = memchr2(b'"', b'\\', &self.json[at..]) {
            at += found;
            if self.json[at] == b'"' {
                return at;
            }
            at = (at + 2).min(self.json.len());
        }
        self.json.len()
    }
}

fn memchr2(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| *byte == one || *byte == other)
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        while let Some(byte) = self.json.get(self.at) {
            let start = self.at;
            match byte {
                b'"' => {
                    let end = self.end_of_string(start + 1);
                    self.at = end + 1;
                    return Some(Token::String(start + 1..end));
                }
                b'-' | b'0'..=b'9' => {
                    let in_number =
                        |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                    let length = self.json[start..].iter().take_while(|b| in_number(b)).count();
                    self.at = start + length;
                    return Some(Token::Number(start..self.at));
                }
                _ => self.at += 1,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
