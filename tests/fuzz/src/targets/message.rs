//! Messages and the rewriting of their parts.

use bytes::Bytes;
use mcp::envelope::{self, EnvelopeError};
use mcp::splice::{self, SpliceError};
use mcp::{Envelope, ErrorObject, Kind};
use serde_json::value::RawValue;

use crate::pieces::line;

const MAX_BYTES: usize = 64 * 1024;

/// Another parser's opinion, whose depth has no limit either.
fn is_json(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    serde_json::from_slice::<&RawValue>(bytes).is_ok()
}

/// What is taken for a message is one, and reads the same when its parts are put together again.
pub fn envelope(data: &[u8]) {
    let message = match Envelope::parse(Bytes::copy_from_slice(data), MAX_BYTES) {
        Ok(message) => message,
        Err(EnvelopeError::NotJson) => return assert!(!is_json(data), "JSON was refused"),
        Err(EnvelopeError::NotJsonRpc { .. }) => return assert!(is_json(data), "no JSON was read"),
        Err(_) => return,
    };
    assert!(is_json(data), "no JSON was taken for a message");
    let body = message.body();
    let built = match (message.kind(), message.id()) {
        (Kind::Request, Some(id)) => envelope::request(id, message.method(), body.as_deref()),
        (Kind::Notification, None) => envelope::notification(message.method(), body.as_deref()),
        (Kind::Result, Some(id)) => envelope::response(id, body.as_deref().unwrap_or_default()),
        (Kind::Error, id) => {
            let error = body.clone().unwrap_or_default();
            let _ = ErrorObject::parse(&error);
            envelope::error_response(id, &error)
        }
        (kind, id) => panic!("{kind:?} under the id {id:?}"),
    };
    let again = Envelope::parse(built, usize::MAX).expect("what was built is a message");
    assert_eq!((again.kind(), again.id()), (message.kind(), message.id()));
    assert_eq!((again.method(), again.body()), (message.method(), body));
}

/// The messages of a batch are JSON, and nothing is between them but what must be.
pub fn batch(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let Ok(messages) = envelope::split_batch(&frame, 50) else {
        return;
    };
    assert!(envelope::is_batch(data) && (1..=50).contains(&messages.len()));
    let again = [b"[".as_slice(), &messages.join(b",".as_slice()), b"]"].concat();
    let values = |bytes: &[u8]| serde_json::from_slice::<Vec<Box<RawValue>>>(bytes).ok();
    if let (Some(read), Some(said)) = (values(&again), values(data)) {
        let texts = |values: Vec<Box<RawValue>>| values.iter().map(ToString::to_string).collect();
        let (read, said): (Vec<_>, Vec<_>) = (texts(read), texts(said));
        assert_eq!(read, said);
    }
}

/// The scanner takes what JSON is, and nothing else.
pub fn scan(data: &[u8]) {
    if std::str::from_utf8(data).is_err() {
        return;
    }
    match splice::find(data, &[]) {
        Ok(span) => {
            let span = span.expect("the whole is always there");
            assert!(serde_json::from_slice::<&RawValue>(data).is_ok(), "no JSON was accepted");
            assert_eq!(data[span.clone()].trim_ascii(), &data[span]);
        }
        Err(SpliceError::Scan(mcp::scan::Fault::Syntax(at))) => {
            assert!(at <= data.len());
            assert!(serde_json::from_slice::<&RawValue>(data).is_err(), "JSON was refused");
        }
        Err(_) => {}
    }
}

/// A line with keys and slashes, then JSON: only the named span changes, and JSON stays JSON.
pub fn splice(data: &[u8]) {
    let (path, json) = line(data);
    let path: Vec<&str> = path.split('/').take(8).collect();
    if std::str::from_utf8(json).is_err() {
        return;
    }
    let valid = |bytes: &[u8]| serde_json::from_slice::<&RawValue>(bytes).is_ok();
    if let Ok(Some(span)) = splice::find(json, &path) {
        assert!(valid(&json[span.clone()]), "the span is not one value");
        let replaced = splice::replace_span(json, span.clone(), b"[\"new\"]");
        assert!(valid(&replaced));
        assert!(replaced.starts_with(&json[..span.start]) && replaced.ends_with(&json[span.end..]));
    }
    if let Ok(set) = splice::set(json, &path, b"[\"new\"]") {
        assert!(valid(&set));
        // Where a key on the way was null or the like, nothing was put in.
        let found = splice::find(&set, &path).expect("what was set can be read");
        assert_eq!(found.map(|span| set[span].to_vec()), Some(b"[\"new\"]".to_vec()));
    }
    if let Ok(Some(removed)) = splice::remove(json, &path) {
        assert!(valid(&removed) && removed.len() < json.len());
        assert_eq!(splice::find(&removed, &path), Ok(None));
    }
    if valid(json) {
        let mended = splice::mend(&Bytes::copy_from_slice(json));
        assert!(valid(&mended) && mended.len() == json.len());
        assert_eq!(splice::mend(&mended), mended);
    }
}
