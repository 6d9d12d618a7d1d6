//! A text with an encoding resolved, which knows where each of its bytes came from.

use std::borrow::Cow;
use std::ops::Range;

/// What a text says, and where in the original each byte of it stands.
pub(super) struct View<'a> {
    bytes: Cow<'a, [u8]>,
    /// For each byte the start of its unit in the original, and the original's end; `None` where
    /// the view is the original.
    starts: Option<Vec<usize>>,
}

impl<'a> View<'a> {
    /// The text as it is.
    pub(super) const fn identity(text: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(text), starts: None }
    }

    /// What it says.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where a span of this view stands in the original.
    pub(super) fn original(&self, span: Range<usize>) -> Range<usize> {
        match &self.starts {
            None => span,
            Some(starts) => starts[span.start]..starts[span.end],
        }
    }

    /// The smallest span of whole units of this view that has all of `span`, both in the original.
    pub(super) fn around(&self, span: &Range<usize>) -> Range<usize> {
        let Some(starts) = &self.starts else {
            return span.clone();
        };
        let before = starts.partition_point(|start| *start <= span.start).saturating_sub(1);
        let after = starts.partition_point(|start| *start < span.end).min(starts.len() - 1);
        starts[before]..starts[after]
    }

    /// With the escapes of JSON resolved; `None` where there is no backslash.
    pub(super) fn unescaped(&self) -> Option<View<'static>> {
        self.bytes.contains(&b'\\').then(|| self.decoded(json_unit))
    }

    /// With percent-encoding resolved; `None` where there is no percent sign.
    pub(super) fn percent_decoded(&self) -> Option<View<'static>> {
        self.bytes.contains(&b'%').then(|| self.decoded(percent_unit))
    }

    /// Another view, made unit by unit: `take` writes what the unit at the start of the text
    /// says, and returns how long it is.
    fn decoded(&self, take: impl Fn(&[u8], &mut Vec<u8>) -> usize) -> View<'static> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut starts = Vec::with_capacity(self.bytes.len() + 1);
        let mut at = 0;
        while at < self.bytes.len() {
            let length = take(&self.bytes[at..], &mut bytes).max(1);
            starts.resize(bytes.len(), self.original(at..at).start);
            at += length;
        }
        let end = self.bytes.len();
        starts.push(self.original(end..end).end);
        View { bytes: Cow::Owned(bytes), starts: Some(starts) }
    }
}

fn plain(text: &[u8], out: &mut Vec<u8>) -> usize {
    out.extend(text.first());
    1
}

fn percent_unit(text: &[u8], out: &mut Vec<u8>) -> usize {
    if let [b'%', high, low, ..] = text
        && let Some(byte) = hex_byte(*high, *low)
    {
        out.push(byte);
        return 3;
    }
    plain(text, out)
}

fn json_unit(text: &[u8], out: &mut Vec<u8>) -> usize {
    match text {
        [b'\\', b'u', ..] => unicode_unit(text, out),
        [b'\\', escaped, ..] => {
            out.push(match escaped {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 0x08,
                b'f' => 0x0c,
                other => *other,
            });
            2
        }
        _ => plain(text, out),
    }
}

/// `\uXXXX`, two of them for a character beyond the first plane.
fn unicode_unit(text: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(first) = unicode(text) else {
        return plain(text, out);
    };
    let second = text.get(6..).filter(|_| (0xd800..0xdc00).contains(&first)).and_then(unicode);
    let (character, length) = match second {
        Some(second @ 0xdc00..0xe000) => {
            (char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)), 12)
        }
        _ => (char::from_u32(first), 6),
    };
    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    length
}

fn unicode(text: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = text else {
        return None;
    };
    let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}
