//! The messages that a server sends on its own, and the events that carry them over SSE.

use std::borrow::Cow;

use bytes::Bytes;

use crate::ListKind;
use crate::envelope::{self, Id};
use crate::splice::{self, SpliceError};
use crate::sse::EventText;

use super::EventId;

/// The result of `ping` and of other requests that only want to be acknowledged.
pub const EMPTY_RESULT: &[u8] = b"{}";

/// The notification that a list changed.
#[must_use]
pub fn list_changed(kind: ListKind) -> Bytes {
    envelope::notification(kind.changed_method(), None)
}

/// A progress notification around raw parameters (the caller's token is already in them).
#[must_use]
pub fn progress(params: &[u8]) -> Bytes {
    envelope::notification("notifications/progress", Some(params))
}

/// The request that `notifications/cancelled` is about, and why. `None` without a legal id.
///
/// # Errors
/// As [`splice::find`].
pub fn cancelled_request(params: &Bytes) -> Result<Option<(Id, Option<String>)>, SpliceError> {
    let Some(id) = splice::slice(params, &["requestId"])?.and_then(Id::from_raw) else {
        return Ok(None);
    };
    let reason = splice::find_string(params, &["reason"])?.map(Cow::into_owned);
    Ok(Some((id, reason)))
}

/// A message as an SSE event.
#[must_use]
pub fn sse_message(message: &[u8]) -> Bytes {
    EventText { event: Some("message"), data: message, ..EventText::default() }.encode()
}

/// A message as an SSE event that a client can resume after.
#[must_use]
pub fn sse_event(id: EventId, message: &[u8]) -> Bytes {
    let id = id.to_string();
    EventText { event: Some("message"), id: Some(&id), data: message, ..EventText::default() }
        .encode()
}

/// The event without data that a stream opens with (since 2025-11-25): from then on it can be
/// resumed, after as long as it says.
#[must_use]
pub fn sse_priming(id: EventId, retry_ms: u64) -> Bytes {
    let id = id.to_string();
    EventText { id: Some(&id), retry_ms: Some(retry_ms), ..EventText::default() }.encode()
}

/// The first event of a legacy SSE stream: where messages are posted to.
#[must_use]
pub fn sse_endpoint(uri: &str) -> Bytes {
    EventText { event: Some("endpoint"), data: uri.as_bytes(), ..EventText::default() }.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancellation_names_its_request_with_its_type() {
        let read = |params: &'static str| {
            cancelled_request(&Bytes::from_static(params.as_bytes())).unwrap()
        };
        let (id, reason) = read(r#"{"requestId":"7","reason":"late"}"#).unwrap();
        assert_eq!((id, reason.as_deref()), (Id::string("7"), Some("late")));
        assert_eq!(read(r#"{"requestId":7}"#).unwrap().0, Id::number(7));
        assert_eq!(read(r#"{"requestId":null}"#), None);
        assert_eq!(read("{}"), None);
    }

    #[test]
    fn a_stream_starts_with_its_endpoint() {
        assert_eq!(sse_endpoint("/m?s=1"), "event: endpoint\ndata: /m?s=1\n\n".as_bytes());
        assert_eq!(sse_message(b"{}"), "event: message\ndata: {}\n\n".as_bytes());
    }

    #[test]
    fn events_have_ids_and_the_first_one_has_no_data() {
        let id = EventId { stream: 3, event: 0 };
        assert_eq!(sse_priming(id, 500), "id: 3-0\nretry: 500\ndata: \n\n".as_bytes());
        let id = EventId { stream: 3, event: 1 };
        assert_eq!(sse_event(id, b"{}"), "event: message\nid: 3-1\ndata: {}\n\n".as_bytes());
    }
}
