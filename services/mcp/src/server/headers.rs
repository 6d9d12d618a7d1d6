//! The HTTP headers of MCP, as a server must read them.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};

use crate::Revision;

/// The session of a request (2025-03-26 to 2025-11-25).
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The revision of a request (since 2025-06-18).
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The last event that a client got of a stream that it wants to resume.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Why a header is refused; answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRefusal {
    /// The revision is not supported.
    #[error("unsupported MCP-Protocol-Version")]
    UnsupportedVersion,
    /// The header is present more than once.
    #[error("MCP-Protocol-Version is present more than once")]
    RepeatedVersion,
}

/// The revision of a request over HTTP: what the header says, [`Revision::ASSUMED`] without one.
///
/// # Errors
/// [`HeaderRefusal`].
pub fn protocol_version(headers: &HeaderMap) -> Result<Revision, HeaderRefusal> {
    let mut values = headers.get_all(PROTOCOL_VERSION).iter();
    let Some(value) = values.next() else {
        return Ok(Revision::ASSUMED);
    };
    if values.next().is_some() {
        return Err(HeaderRefusal::RepeatedVersion);
    }
    let text = value.to_str().map_err(|_| HeaderRefusal::UnsupportedVersion)?;
    Revision::parse(text.trim()).ok_or(HeaderRefusal::UnsupportedVersion)
}

/// Whether a client takes an event stream as an answer (to a GET); else 406.
#[must_use]
pub fn accepts_event_stream(headers: &HeaderMap) -> bool {
    accepts(headers, "text", "event-stream")
}

/// Whether a client takes both kinds of answers to a POST, as it must; else 406.
#[must_use]
pub fn accepts_message_answers(headers: &HeaderMap) -> bool {
    accepts(headers, "application", "json") && accepts_event_stream(headers)
}

/// Whether a client is answered with a stream where JSON would do: it takes nothing else, or names
/// streams before JSON.
#[must_use]
pub fn prefers_event_stream(headers: &HeaderMap) -> bool {
    let stream = place(headers, "text", "event-stream");
    let json = place(headers, "application", "json");
    stream.is_some_and(|stream| json.is_none_or(|json| stream < json))
}

/// Whether a body is declared as JSON; else 415.
#[must_use]
pub fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| {
        let essence = value.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    })
}

fn accepts(headers: &HeaderMap, kind: &str, subkind: &str) -> bool {
    place(headers, kind, subkind).is_some()
}

/// Where among the ranges that a client names the first is that takes this kind of answer.
fn place(headers: &HeaderMap, kind: &str, subkind: &str) -> Option<usize> {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .position(|range| {
            let mut parts = range.split(';');
            let essence = parts.next().unwrap_or_default().trim();
            // A weight of zero means "not this one".
            let refused = parts.any(|parameter| {
                let parameter: String = parameter.split_whitespace().collect();
                matches!(parameter.as_str(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
            });
            let Some((left, right)) = essence.split_once('/') else {
                return false;
            };
            !refused
                && (left == "*" || left.eq_ignore_ascii_case(kind))
                && (right == "*" || right.eq_ignore_ascii_case(subkind))
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn no_version_is_the_assumed_one_and_an_unknown_one_is_refused() {
        let version = |values: &[&'static str]| protocol_version(&with(PROTOCOL_VERSION, values));
        assert_eq!(version(&[]), Ok(Revision::V2025_03_26));
        assert_eq!(version(&["2025-06-18"]), Ok(Revision::V2025_06_18));
        assert_eq!(version(&["2026-07-28"]), Err(HeaderRefusal::UnsupportedVersion));
        assert_eq!(version(&[""]), Err(HeaderRefusal::UnsupportedVersion));
        let twice = ["2025-06-18", "2024-11-05"];
        assert_eq!(version(&twice), Err(HeaderRefusal::RepeatedVersion));
    }

    #[test]
    fn both_kinds_of_answers_must_be_acceptable() {
        let both = |values: &[&'static str]| accepts_message_answers(&with(ACCEPT, values));
        assert!(both(&["application/json, text/event-stream"]));
        assert!(both(&["application/json", "Text/Event-Stream;q=0.5"]));
        assert!(both(&["*/*"]));
        assert!(both(&["text/*, application/*"]));
        assert!(!both(&["application/json"]));
        assert!(!both(&["application/json, text/event-stream;q=0"]));
        assert!(!both(&[]));
        assert!(accepts_event_stream(&with(ACCEPT, &["text/event-stream"])));
        assert!(!accepts_event_stream(&with(ACCEPT, &["text/html"])));
    }

    #[test]
    fn a_stream_is_preferred_where_it_is_named_first_or_alone() {
        let prefers = |values: &[&'static str]| prefers_event_stream(&with(ACCEPT, values));
        assert!(prefers(&["text/event-stream, application/json"]));
        assert!(prefers(&["text/event-stream"]));
        assert!(prefers(&["application/json;q=0, text/event-stream"]));
        assert!(!prefers(&["application/json", "text/event-stream"]));
        assert!(!prefers(&["*/*"]));
        assert!(!prefers(&["application/json"]));
        assert!(!prefers(&[]));
    }

    #[test]
    fn json_bodies_may_name_a_charset() {
        assert!(is_json(&with(CONTENT_TYPE, &["application/json; charset=utf-8"])));
        assert!(!is_json(&with(CONTENT_TYPE, &["text/plain"])));
        assert!(!is_json(&HeaderMap::new()));
    }
}
