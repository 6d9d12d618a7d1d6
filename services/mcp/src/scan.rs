//! A JSON scanner that finds where values lie and builds nothing.
//!
//! It accepts exactly the JSON grammar (RFC 8259), works without recursion, refuses nesting deeper
//! than [`MAX_DEPTH`] and takes no object or array apart that has more than [`MAX_MEMBERS`].
//! Everything in this crate that rewrites a message rests on the spans it reports, so it never
//! guesses: a byte that does not fit the grammar is a [`Fault`].

use std::borrow::Cow;
use std::ops::Range;

/// The deepest nesting of arrays and objects that is accepted.
pub const MAX_DEPTH: usize = 128;

/// The most members of an object, or elements of an array, that is taken apart. What is only
/// passed over may have any number.
pub const MAX_MEMBERS: usize = 100_000;

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The text is not JSON; the offset of the first byte that does not fit.
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    /// More than [`MAX_DEPTH`] arrays and objects inside each other.
    #[error("JSON nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More than [`MAX_MEMBERS`] members or elements in a place that must be looked into.
    #[error("more than {MAX_MEMBERS} members or elements side by side")]
    TooWide,
}

/// One member of an object: where its key (quotes included) and its value lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) key: Range<usize>,
    pub(crate) value: Range<usize>,
}

impl Member {
    /// Whether the key, its escapes resolved, is `name`.
    pub(crate) fn is(&self, json: &[u8], name: &str) -> bool {
        let inner = &json[self.key.start + 1..self.key.end - 1];
        // An escape takes at most six bytes for each byte that it stands for.
        if inner.len() > 6 * name.len() {
            return false;
        }
        if memchr::memchr(b'\\', inner).is_none() {
            return inner == name.as_bytes();
        }
        string(&json[self.key.clone()]).is_some_and(|key| key == name)
    }
}

/// The text of a JSON string (quotes included), its escapes resolved. `None` if it is no string.
pub(crate) fn string(raw: &[u8]) -> Option<Cow<'_, str>> {
    let [b'"', inner @ .., b'"'] = raw else {
        return None;
    };
    if memchr::memchr2(b'\\', b'"', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice::<String>(raw).ok().map(Cow::Owned)
}

/// Checks that `json` is one value with nothing but whitespace around it, and says where it lies.
pub(crate) fn document(json: &[u8]) -> Result<Range<usize>, Fault> {
    let mut scanner = Scanner::new(json, 0);
    let span = scanner.value()?;
    scanner.end()?;
    Ok(span)
}

/// Reads the members of the object that starts at `at` and reports where it ends; `None` if there
/// is no object.
pub(crate) fn members(
    json: &[u8],
    at: usize,
    mut each: impl FnMut(Member),
) -> Result<Option<usize>, Fault> {
    let mut scanner = Scanner::new(json, at);
    scanner.whitespace();
    if scanner.peek() != Some(b'{') {
        return Ok(None);
    }
    scanner.enter(true)?;
    let mut count = 0;
    loop {
        scanner.whitespace();
        match scanner.peek() {
            Some(b'"') => count = counted(count)?,
            Some(b'}') => break,
            _ => return Err(scanner.fault()),
        }
        let key = scanner.string_span()?;
        scanner.whitespace();
        scanner.expect(b':')?;
        let value = scanner.value()?;
        each(Member { key, value });
        scanner.whitespace();
        match scanner.peek() {
            Some(b',') => {
                scanner.at += 1;
                scanner.whitespace();
                if scanner.peek() != Some(b'"') {
                    return Err(scanner.fault());
                }
            }
            Some(b'}') => break,
            _ => return Err(scanner.fault()),
        }
    }
    Ok(Some(scanner.at + 1))
}

/// Reads the elements of the array that starts at `at` and reports where it ends; `None` if there
/// is no array.
pub(crate) fn elements(
    json: &[u8],
    at: usize,
    mut each: impl FnMut(Range<usize>),
) -> Result<Option<usize>, Fault> {
    let mut scanner = Scanner::new(json, at);
    scanner.whitespace();
    if scanner.peek() != Some(b'[') {
        return Ok(None);
    }
    scanner.enter(false)?;
    scanner.whitespace();
    if scanner.peek() == Some(b']') {
        return Ok(Some(scanner.at + 1));
    }
    let mut count = 0;
    loop {
        count = counted(count)?;
        each(scanner.value()?);
        scanner.whitespace();
        match scanner.peek() {
            Some(b',') => scanner.at += 1,
            Some(b']') => return Ok(Some(scanner.at + 1)),
            _ => return Err(scanner.fault()),
        }
    }
}

fn counted(before: usize) -> Result<usize, Fault> {
    if before == MAX_MEMBERS { Err(Fault::TooWide) } else { Ok(before + 1) }
}

/// A position in a text, and which containers are open there: one bit each, set for an object.
pub(crate) struct Scanner<'a> {
    json: &'a [u8],
    at: usize,
    open: u128,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(json: &'a [u8], at: usize) -> Self {
        Self { json, at, open: 0, depth: 0 }
    }

    fn fault(&self) -> Fault {
        Fault::Syntax(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(self.fault());
        }
        self.at += 1;
        Ok(())
    }

    fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Nothing but whitespace may follow.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.whitespace();
        if self.at == self.json.len() { Ok(()) } else { Err(self.fault()) }
    }

    fn enter(&mut self, object: bool) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.open = (self.open << 1) | u128::from(object);
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.open >>= 1;
        self.depth -= 1;
        self.at += 1;
    }

    /// Passes over one value, whitespace before it included, and reports where it lies.
    pub(crate) fn value(&mut self) -> Result<Range<usize>, Fault> {
        self.whitespace();
        let start = self.at;
        let floor = self.depth;
        loop {
            self.whitespace();
            match self.peek() {
                Some(b'{') => {
                    self.enter(true)?;
                    self.whitespace();
                    if self.peek() == Some(b'}') {
                        self.leave();
                    } else {
                        self.key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.enter(false)?;
                    self.whitespace();
                    if self.peek() == Some(b']') {
                        self.leave();
                    } else {
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if self.close(floor)? {
                return Ok(start..self.at);
            }
        }
    }

    /// After a value: closes what ends here. `true` when the value that was asked for is complete,
    /// `false` when another value must follow.
    fn close(&mut self, floor: usize) -> Result<bool, Fault> {
        while self.depth > floor {
            self.whitespace();
            let object = self.open & 1 == 1;
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    if object {
                        self.whitespace();
                        self.key()?;
                    }
                    return Ok(false);
                }
                Some(b'}') if object => self.leave(),
                Some(b']') if !object => self.leave(),
                _ => return Err(self.fault()),
            }
        }
        Ok(true)
    }

    fn key(&mut self) -> Result<(), Fault> {
        self.string_span()?;
        self.whitespace();
        self.expect(b':')
    }

    fn scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string_span().map(drop),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.fault()),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.json[self.at..].starts_with(word) {
            return Err(self.fault());
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.fault()) } else { Ok(()) }
    }

    /// Passes over a string and reports where it lies, quotes included.
    fn string_span(&mut self) -> Result<Range<usize>, Fault> {
        let start = self.at;
        self.expect(b'"')?;
        loop {
            let rest = &self.json[self.at..];
            let Some(stop) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = self.json.len();
                return Err(self.fault());
            };
            // Control characters must be escaped. Without an early exit this becomes a few vector
            // instructions.
            if rest[..stop].iter().fold(false, |seen, byte| seen | (*byte < 0x20)) {
                return Err(self.fault());
            }
            self.at += stop + 1;
            if rest[stop] == b'"' {
                return Ok(start..self.at);
            }
            self.escape()?;
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.json.get(self.at + 1..self.at + 5).ok_or_else(|| self.fault())?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(self.fault());
                }
                self.at += 5;
            }
            _ => return Err(self.fault()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn accepts(json: &[u8]) -> bool {
        std::str::from_utf8(json).is_ok() && document(json).is_ok()
    }

    fn reference_accepts(json: &[u8]) -> bool {
        serde_json::from_slice::<&RawValue>(json).is_ok()
    }

    #[test]
    fn the_grammar_is_exactly_json() {
        let samples = [
            "",
            " ",
            "{}",
            "[]",
            "null",
            "true",
            "fals",
            "0",
            "-0",
            "01",
            "-",
            "1.",
            "1.5e",
            "1e+9",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\u00g9\"",
            "\"\\x\"",
            "\"\n\"",
            "[1,]",
            "[,1]",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "[1 2]",
            "[1]]",
            "{\"a\":[{}]}",
            "nul",
            "[}",
            "{]",
            "\"abc",
            "{\"a\":}",
            "{\"a\"}",
            "[[],[[]],{}]",
            " [ 1 , { \"k\" : null } ] ",
            "1 2",
            "\"\\\"",
        ];
        for sample in samples {
            let bytes = sample.as_bytes();
            assert_eq!(accepts(bytes), reference_accepts(bytes), "{sample:?}");
        }
    }

    #[test]
    fn nesting_is_limited_without_recursion() {
        let ok = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(document(ok.as_bytes()), Ok(0..2 * MAX_DEPTH));
        let deep = "{\"a\":".repeat(MAX_DEPTH + 1);
        assert_eq!(document(deep.as_bytes()), Err(Fault::TooDeep));
    }

    #[test]
    fn what_is_taken_apart_is_limited_and_what_is_passed_over_is_not() {
        let many = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
        let (most, more) = (many(MAX_MEMBERS), many(MAX_MEMBERS + 1));
        let mut seen = 0;
        assert!(elements(most.as_bytes(), 0, |_| seen += 1).is_ok());
        assert_eq!(seen, MAX_MEMBERS);
        assert_eq!(elements(more.as_bytes(), 0, |_| {}), Err(Fault::TooWide));
        assert_eq!(document(more.as_bytes()), Ok(0..more.len()));
        let object = format!("{{{}\"b\":1}}", "\"a\":1,".repeat(MAX_MEMBERS));
        assert_eq!(members(object.as_bytes(), 0, |_| {}), Err(Fault::TooWide));
    }

    #[test]
    fn a_key_is_known_by_its_text_however_it_is_escaped() {
        let is = |json: &str, name: &str| {
            let mut found = false;
            members(json.as_bytes(), 0, |member| found |= member.is(json.as_bytes(), name))
                .unwrap();
            found
        };
        assert!(is(r#"{"\u0075\u0072\u0069":1}"#, "uri"));
        assert!(is(r#"{"\ud83d\ude00":1}"#, "\u{1f600}"));
        assert!(!is(r#"{"\u0075\u0072\u0069\u0069":1}"#, "uri"));
        assert!(!is(r#"{"\ud800":1}"#, "\u{fffd}"));
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference_on_near_json(text in "[\\[\\]{}:,\"\\\\ 0-2.eE+u-]{0,24}") {
            prop_assert_eq!(accepts(text.as_bytes()), reference_accepts(text.as_bytes()));
        }
    }
}
