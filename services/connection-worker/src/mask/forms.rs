//! The forms in which a secret may be written.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::MIN_SECRET_BYTES;

/// RFC 3986: all but the unreserved.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What `encodeURIComponent` of JavaScript encodes.
const COMPONENT: &AsciiSet =
    &STRICT.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');

/// Every form of `secret` that is searched for; upper and lower case are the same there.
pub(super) fn of(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let mut forms = vec![bytes.to_vec(), hex(bytes), json_escaped(secret)];
    for set in [NON_ALPHANUMERIC, STRICT, COMPONENT] {
        let encoded = percent_encode(bytes, set).to_string();
        forms.push(encoded.replace("%20", "+").into_bytes());
        forms.push(encoded.into_bytes());
    }
    for before in 0..3 {
        forms.extend(base64_at(bytes, before));
    }
    forms.retain(|form| form.len() >= MIN_SECRET_BYTES);
    forms
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// As within a JSON string.
fn json_escaped(text: &str) -> Vec<u8> {
    match serde_json::to_vec(text) {
        Ok(quoted) => quoted[1..quoted.len() - 1].to_vec(),
        Err(_) => Vec::new(),
    }
}

/// The characters of base64 that depend on `secret` alone when `before` other bytes (modulo 3)
/// stand before it; in both alphabets.
fn base64_at(secret: &[u8], before: usize) -> [Vec<u8>; 2] {
    let mut text = vec![0; before];
    text.extend_from_slice(secret);
    let first = (before * 8).div_ceil(6);
    let end = text.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)]
        .map(|encoded| encoded.as_bytes()[first..end].to_vec())
}
