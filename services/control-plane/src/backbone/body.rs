//! The stored body of a call: arguments and result as one JSON object, each cut at a limit.

use bytes::Bytes;
use serde_json::value::RawValue;

/// A body, and whether something was cut.
pub(super) struct StoredBody {
    pub(super) json: Bytes,
    pub(super) truncated: bool,
}

/// `{"arguments":…,"result":…}`. What is above `limit` bytes, or is no JSON, becomes a JSON string
/// of its beginning.
pub(super) fn stored(arguments: &[u8], result: &[u8], limit: usize) -> StoredBody {
    let mut json = Vec::with_capacity(arguments.len().min(limit) + result.len().min(limit) + 32);
    let mut truncated = false;
    json.push(b'{');
    for (name, value) in [("\"arguments\":", arguments), ("\"result\":", result)] {
        if value.is_empty() {
            continue;
        }
        if json.len() > 1 {
            json.push(b',');
        }
        json.extend_from_slice(name.as_bytes());
        if value.len() <= limit && serde_json::from_slice::<&RawValue>(value).is_ok() {
            json.extend_from_slice(value);
        } else {
            truncated |= value.len() > limit;
            let text = String::from_utf8_lossy(&value[..value.len().min(limit)]);
            let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
            json.extend_from_slice(&quote(text));
        }
    }
    json.push(b'}');
    StoredBody { json: json.into(), truncated }
}

fn quote(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).unwrap_or_else(|_| b"\"\"".to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parsed(arguments: &[u8], result: &[u8], limit: usize) -> (Value, bool) {
        let body = stored(arguments, result, limit);
        (serde_json::from_slice(&body.json).unwrap(), body.truncated)
    }

    #[test]
    fn what_fits_is_stored_as_it_is() {
        let (body, truncated) = parsed(br#"{"a": 1.50}"#, br#"[true]"#, 100);
        assert_eq!(body, json!({"arguments": {"a": 1.5}, "result": [true]}));
        assert!(!truncated);
        assert_eq!(&stored(br#"{"a": 1.50}"#, b"", 100).json[..], br#"{"arguments":{"a": 1.50}}"#);
        assert_eq!(parsed(b"", b"1", 100).0, json!({"result": 1}));
    }

    #[test]
    fn what_is_too_large_is_cut_to_a_string() {
        let (body, truncated) = parsed(b"[1,2,3,4,5,6,7,8]", b"2", 5);
        assert_eq!(body, json!({"arguments": "[1,2,", "result": 2}));
        assert!(truncated);
        let (body, truncated) = parsed("\"ééé\"".as_bytes(), b"", 4);
        assert_eq!(body, json!({"arguments": "\"é"}));
        assert!(truncated);
    }

    #[test]
    fn what_is_no_json_stays_readable() {
        let (body, truncated) = parsed(b"{oops", b"", 100);
        assert_eq!(body, json!({"arguments": "{oops"}));
        assert!(!truncated);
    }
}
