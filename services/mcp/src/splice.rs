//! Rewriting a JSON text in place of parsing and printing it again.
//!
//! A path names a member by its keys from the top. Every function returns the text with one span
//! changed and all other bytes as they were: whitespace, key order, number spelling and unknown
//! members survive. A key that is present twice in one object is ambiguous (parsers disagree on
//! which one counts) and is refused, so that what was checked is what the receiver reads.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::scan::{self, Fault, Member};

/// Why a text could not be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// The text is not JSON, or nested too deeply.
    #[error(transparent)]
    Scan(#[from] Fault),
    /// A key of the path is present more than once in its object.
    #[error("a key that decides the routing is present more than once")]
    Ambiguous,
    /// Something on the path is not an object, so that nothing can be put into it.
    #[error("a value on the way is not an object")]
    NotAnObject,
}

/// The text of a JSON string (quotes included) with its escapes resolved; `None` for other values.
#[must_use]
pub fn unquote(raw: &[u8]) -> Option<Cow<'_, str>> {
    scan::string(raw)
}

/// A text as a JSON string, quotes included.
#[must_use]
pub fn quote(text: &str) -> Bytes {
    // Serializing a `str` into memory has no way to fail; the fallback keeps the text valid JSON.
    Bytes::from(serde_json::to_vec(text).unwrap_or_else(|_| b"\"\"".to_vec()))
}

/// The text as strict readers take it, too. JSON allows half a character (an escape that stands
/// for a surrogate without its other half) and numbers that no double holds, and many readers
/// refuse the whole text for one: U+FFFD and the largest double stand in their place.
#[must_use]
pub fn mend(json: &Bytes) -> Bytes {
    let mut edits = Vec::new();
    let (mut at, mut in_string) = (0, false);
    while let Some(byte) = json.get(at) {
        let start = at;
        match byte {
            b'"' => {
                in_string = !in_string;
                at += 1;
            }
            b'\\' => at = mend_escape(json, start, &mut edits),
            b'-' | b'0'..=b'9' if !in_string => at = mend_number(json, start, &mut edits),
            _ => at += 1,
        }
    }
    if edits.is_empty() { json.clone() } else { replace_spans(json, &edits) }
}

type Edits = Vec<(Range<usize>, Bytes)>;

/// Looks at the escape at `start`; where the text goes on.
fn mend_escape(json: &[u8], start: usize, edits: &mut Edits) -> usize {
    let Some(unit) = utf16_escape(json, start) else {
        return start + 2;
    };
    let end = start + 6;
    match unit {
        0xD800..=0xDBFF if matches!(utf16_escape(json, end), Some(0xDC00..=0xDFFF)) => end + 6,
        0xD800..=0xDFFF => {
            edits.push((start..end, Bytes::from_static(b"\\ufffd")));
            end
        }
        _ => end,
    }
}

/// Looks at the number at `start`; where the text goes on.
fn mend_number(json: &[u8], start: usize, edits: &mut Edits) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = json[start..].iter().take_while(|byte| is_part(byte)).count();
    let span = start..start + length;
    let number = std::str::from_utf8(&json[span.clone()]).ok().and_then(|text| text.parse().ok());
    if number.is_some_and(f64::is_infinite) {
        let largest = if json[start] == b'-' { f64::MIN } else { f64::MAX };
        edits.push((span.clone(), Bytes::from(format!("{largest:e}"))));
    }
    span.end
}

/// The number behind `\u` at `at`.
fn utf16_escape(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Where the value at `path` lies, or `None` if it is absent. An empty path is the whole value.
///
/// # Errors
/// [`SpliceError::Scan`] and [`SpliceError::Ambiguous`].
pub fn find(json: &[u8], path: &[&str]) -> Result<Option<Range<usize>>, SpliceError> {
    Ok(descend(json, path)?.found)
}

/// The string at `path`, escapes resolved. `None` if it is absent or not a string.
///
/// # Errors
/// As [`find`].
pub fn find_string<'a>(json: &'a [u8], path: &[&str]) -> Result<Option<Cow<'a, str>>, SpliceError> {
    Ok(find(json, path)?.and_then(|span| scan::string(&json[span])))
}

/// The value at `path` as a slice of the same memory.
///
/// # Errors
/// As [`find`].
pub fn slice(json: &Bytes, path: &[&str]) -> Result<Option<Bytes>, SpliceError> {
    Ok(find(json, path)?.map(|span| json.slice(span)))
}

/// Where the elements of the array at `path` lie, or `None` if there is no array.
///
/// # Errors
/// As [`find`].
pub fn elements(json: &[u8], path: &[&str]) -> Result<Option<Vec<Range<usize>>>, SpliceError> {
    let Some(span) = find(json, path)? else {
        return Ok(None);
    };
    let mut spans = Vec::new();
    let end = scan::elements(json, span.start, |element| spans.push(element))?;
    Ok(end.map(|_| spans))
}

/// The text with `value` in place of the bytes at `span`.
#[must_use]
pub fn replace_span(json: &[u8], span: Range<usize>, value: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(json.len() - span.len() + value.len());
    out.extend_from_slice(&json[..span.start]);
    out.extend_from_slice(value);
    out.extend_from_slice(&json[span.end..]);
    out.freeze()
}

/// The text with each span replaced by its value. The spans must be in order and not overlap.
#[must_use]
pub fn replace_spans(json: &[u8], edits: &[(Range<usize>, Bytes)]) -> Bytes {
    let added: usize = edits.iter().map(|(_, value)| value.len()).sum();
    let mut out = BytesMut::with_capacity(json.len() + added);
    let mut at = 0;
    for (span, value) in edits {
        debug_assert!(at <= span.start, "edits overlap or are out of order");
        out.extend_from_slice(&json[at..span.start]);
        out.extend_from_slice(value);
        at = span.end;
    }
    out.extend_from_slice(&json[at..]);
    out.freeze()
}

/// The text with `value` in place of the one at `path`, or `None` if that is absent.
///
/// # Errors
/// As [`find`].
pub fn replace(json: &[u8], path: &[&str], value: &[u8]) -> Result<Option<Bytes>, SpliceError> {
    Ok(find(json, path)?.map(|span| replace_span(json, span, value)))
}

/// The text with `value` at `path`: replaced if present, else inserted as the first member of its
/// object; objects that are missing on the way are made.
///
/// # Errors
/// As [`find`], and [`SpliceError::NotAnObject`].
pub fn set(json: &[u8], path: &[&str], value: &[u8]) -> Result<Bytes, SpliceError> {
    let place = descend(json, path)?;
    if let Some(span) = place.found {
        return Ok(replace_span(json, span, value));
    }
    let missing = &path[place.depth..];
    let Some(empty) = place.parent_is_empty else {
        return Err(SpliceError::NotAnObject);
    };
    let mut text = BytesMut::new();
    for (index, key) in missing.iter().enumerate() {
        if index > 0 {
            text.extend_from_slice(b"{");
        }
        text.extend_from_slice(&quote(key));
        text.extend_from_slice(b":");
    }
    text.extend_from_slice(value);
    text.extend_from_slice(&b"}".repeat(missing.len() - 1));
    if !empty {
        text.extend_from_slice(b",");
    }
    let at = place.parent + 1;
    Ok(replace_span(json, at..at, &text))
}

/// The text without the member at `path`, or `None` if it is absent. An empty path is absent.
///
/// # Errors
/// As [`find`].
pub fn remove(json: &[u8], path: &[&str]) -> Result<Option<Bytes>, SpliceError> {
    let Some((last, parents)) = path.split_last() else {
        return Ok(None);
    };
    let Some(parent) = find(json, parents)? else {
        return Ok(None);
    };
    let mut all = Vec::new();
    if scan::members(json, parent.start, |member| all.push(member))?.is_none() {
        return Ok(None);
    }
    let mut named = (0..all.len()).filter(|index| all[*index].is(json, last));
    let Some(index) = named.next() else {
        return Ok(None);
    };
    if named.next().is_some() {
        return Err(SpliceError::Ambiguous);
    }
    let (start, end) = match (all.get(index + 1), index) {
        (Some(next), _) => (all[index].key.start, next.key.start),
        (None, 0) => (all[0].key.start, all[0].value.end),
        (None, _) => (all[index - 1].value.end, all[index].value.end),
    };
    Ok(Some(replace_span(json, start..end, b"")))
}

/// What following a path came upon.
struct Place {
    found: Option<Range<usize>>,
    /// Where the deepest object on the path that exists starts (its brace).
    parent: usize,
    /// Whether that object has no member; `None` if there is no object at all.
    parent_is_empty: Option<bool>,
    /// How many keys of the path exist.
    depth: usize,
}

fn descend(json: &[u8], path: &[&str]) -> Result<Place, SpliceError> {
    let mut place =
        Place { found: Some(scan::document(json)?), parent: 0, parent_is_empty: None, depth: 0 };
    for key in path {
        let Some(span) = place.found.take() else {
            break;
        };
        let here = member(json, span.start, key)?;
        place.parent = span.start;
        place.parent_is_empty = here.empty;
        if let Some(member) = here.member {
            place.found = Some(member.value);
            place.depth += 1;
        }
    }
    Ok(place)
}

struct Lookup {
    member: Option<Member>,
    /// Whether the object has no member; `None` if it is no object.
    empty: Option<bool>,
}

fn member(json: &[u8], at: usize, name: &str) -> Result<Lookup, SpliceError> {
    let mut found = None;
    let mut ambiguous = false;
    let mut empty = true;
    let end = scan::members(json, at, |member| {
        empty = false;
        if member.is(json, name) {
            ambiguous |= found.is_some();
            found = Some(member);
        }
    })?;
    if ambiguous {
        return Err(SpliceError::Ambiguous);
    }
    Ok(Lookup { member: found, empty: end.map(|_| empty) })
}

#[cfg(test)]
mod tests;
