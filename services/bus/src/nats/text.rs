//! Texts as headers can carry them: visible ASCII, everything else as `%` and two hexadecimal
//! digits. Pure.

use std::borrow::Cow;

/// Printable, without spaces, colons and `%`.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) && !text.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
        }
    }
    Cow::Owned(out)
}

const DIGITS: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'%' && byte != b':'
}

/// What [`plain`] was given; a text that it did not make is kept as far as it can be.
pub(super) fn original(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        rest = match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                &after[2..]
            }
            None => {
                bytes.push(first);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        for text in ["", "plain", "two words", " padded ", "100 %", "%41", "a:b", "ü\r\n\0"] {
            let carried = plain(text);
            assert!(carried.bytes().all(|b| b.is_ascii_graphic()), "{carried:?}");
            assert_eq!(original(&carried), text);
        }
    }

    #[test]
    fn a_text_of_somebody_else_is_kept() {
        for text in ["50%", "%", "%4", "%zz"] {
            assert_eq!(original(text), text);
        }
    }
}
