//! JSON-RPC 2.0 messages as the raw bytes they arrived in.
//!
//! An [`Envelope`] knows where a message's parts lie and hands out slices of the same memory. A
//! message is built by putting raw parts together. Bodies are never parsed into values and printed
//! again, so what one side said is what the other side reads.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::scan::{self, Fault, Member};
use crate::splice;

/// What some writers put before a text in UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A request id as it was written: `1`, `"1"` and `1.0` are three different ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id(Bytes);

impl Id {
    /// The longest id that is accepted, in bytes.
    pub const MAX_BYTES: usize = 1024;

    /// An id from its JSON text: a string or a number.
    #[must_use]
    pub fn from_raw(raw: Bytes) -> Option<Self> {
        let plausible = matches!(raw.first(), Some(b'"' | b'-' | b'0'..=b'9'));
        (plausible && raw.len() <= Self::MAX_BYTES && scan::document(&raw) == Ok(0..raw.len()))
            .then_some(Self(raw))
    }

    /// A number as an id.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self(Bytes::from(number.to_string()))
    }

    /// A text as an id.
    #[must_use]
    pub fn string(text: &str) -> Self {
        Self(splice::quote(text))
    }

    /// The JSON text of the id.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.0
    }

    /// The id as a number, if it is written as one that fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        if !matches!(self.0.first(), Some(b'0'..=b'9')) {
            return None;
        }
        std::str::from_utf8(&self.0).ok()?.parse().ok()
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// Why bytes are not one JSON-RPC message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than the limit that was given; the limit in bytes.
    #[error("message larger than {0} bytes")]
    TooLarge(usize),
    /// Nested deeper than [`scan::MAX_DEPTH`].
    #[error("JSON nested deeper than {}", scan::MAX_DEPTH)]
    TooDeep,
    /// More than [`scan::MAX_MEMBERS`] messages in a batch or members in a message.
    #[error("more than {} members or elements side by side", scan::MAX_MEMBERS)]
    TooWide,
    /// Not JSON (or not UTF-8). Answered with [`code::PARSE_ERROR`].
    #[error("not JSON")]
    NotJson,
    /// JSON, but no JSON-RPC 2.0 message. Answered with [`code::INVALID_REQUEST`], under the id if
    /// one could be read.
    #[error("not a JSON-RPC 2.0 message: {reason}")]
    NotJsonRpc {
        /// What is wrong with it.
        reason: &'static str,
        /// The id of the message, where it has a legal one.
        id: Option<Id>,
        /// Whether it looks like an answer: it has an id and no method.
        is_answer: bool,
    },
}

impl EnvelopeError {
    /// The JSON-RPC error code that says this to the sender.
    #[must_use]
    pub fn code(&self) -> i64 {
        match self {
            Self::NotJson => code::PARSE_ERROR,
            Self::TooLarge(_) | Self::TooDeep | Self::TooWide | Self::NotJsonRpc { .. } => {
                code::INVALID_REQUEST
            }
        }
    }

    /// The id of the message, where one could be read.
    #[must_use]
    pub fn id(&self) -> Option<&Id> {
        match self {
            Self::NotJsonRpc { id, .. } => id.as_ref(),
            _ => None,
        }
    }
}

impl From<Fault> for EnvelopeError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax(_) => Self::NotJson,
            Fault::TooDeep => Self::TooDeep,
            Fault::TooWide => Self::TooWide,
        }
    }
}

/// JSON-RPC and MCP error codes.
pub mod code {
    /// The message is not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// The message is not a JSON-RPC request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// The method does not exist.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters are wrong; in MCP also an unknown tool, prompt or cursor.
    pub const INVALID_PARAMS: i64 = -32602;
    /// Something failed on the answering side.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// The resource does not exist (revisions up to 2025-11-25).
    pub const RESOURCE_NOT_FOUND: i64 = -32002;
}

/// What kind of message an envelope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Has a method and an id: an answer is expected.
    Request,
    /// Has a method and no id.
    Notification,
    /// Answers a request with a result.
    Result,
    /// Answers a request with an error; its id may be null.
    Error,
}

/// One JSON-RPC 2.0 message over the bytes it arrived in.
#[derive(Debug, Clone)]
pub struct Envelope {
    frame: Bytes,
    kind: Kind,
    id: Option<Id>,
    method: Option<String>,
    /// The parameters, the result or the error.
    body: Option<Range<usize>>,
}

/// The kind, the method and where the body lies.
type Class = (Kind, Option<String>, Option<Range<usize>>);

/// Where the members that matter lie; one that is present twice is a fault.
#[derive(Default)]
struct Parts {
    jsonrpc: Option<Range<usize>>,
    id: Option<Range<usize>>,
    method: Option<Range<usize>>,
    params: Option<Range<usize>>,
    result: Option<Range<usize>>,
    error: Option<Range<usize>>,
    repeated: bool,
    members: usize,
}

impl Parts {
    fn take(&mut self, json: &[u8], member: Member) {
        self.members += 1;
        let place = if member.is(json, "jsonrpc") {
            &mut self.jsonrpc
        } else if member.is(json, "id") {
            &mut self.id
        } else if member.is(json, "method") {
            &mut self.method
        } else if member.is(json, "params") {
            &mut self.params
        } else if member.is(json, "result") {
            &mut self.result
        } else if member.is(json, "error") {
            &mut self.error
        } else {
            return;
        };
        self.repeated |= place.is_some();
        *place = Some(member.value);
    }
}

impl Envelope {
    /// The most members of a message; JSON-RPC knows five.
    pub const MAX_MEMBERS: usize = 64;

    /// The longest method, in bytes.
    pub const MAX_METHOD_BYTES: usize = 1024;

    /// Reads one message. A byte order mark before it is passed over, as RFC 8259 allows.
    ///
    /// # Errors
    /// [`EnvelopeError`]; a batch is [`EnvelopeError::NotJsonRpc`] (see [`is_batch`]).
    pub fn parse(frame: Bytes, max_bytes: usize) -> Result<Self, EnvelopeError> {
        if frame.len() > max_bytes {
            return Err(EnvelopeError::TooLarge(max_bytes));
        }
        let frame = without_mark(frame);
        if std::str::from_utf8(&frame).is_err() {
            return Err(EnvelopeError::NotJson);
        }
        let mut parts = Parts::default();
        let Some(end) = scan::members(&frame, 0, |member| parts.take(&frame, member))? else {
            scan::document(&frame)?;
            return Err(EnvelopeError::NotJsonRpc {
                reason: "not an object",
                id: None,
                is_answer: false,
            });
        };
        scan::Scanner::new(&frame, end).end()?;
        let id_is_null = parts.id.as_ref().is_some_and(|span| &frame[span.clone()] == b"null");
        let id = parts.id.clone().and_then(|span| Id::from_raw(frame.slice(span)));
        let is_answer = id.is_some() && parts.method.is_none();
        let (kind, method, body) = match Self::classify(&frame, parts, id.as_ref(), id_is_null) {
            Ok(found) => found,
            Err(reason) => {
                return Err(EnvelopeError::NotJsonRpc { reason, id, is_answer });
            }
        };
        Ok(Self { frame, kind, id, method, body })
    }

    fn classify(
        frame: &[u8],
        parts: Parts,
        id: Option<&Id>,
        id_is_null: bool,
    ) -> Result<Class, &'static str> {
        if parts.repeated {
            return Err("a member is present more than once");
        }
        if parts.members > Self::MAX_MEMBERS {
            return Err("too many members");
        }
        let version = parts.jsonrpc.and_then(|span| scan::string(&frame[span]));
        if version.as_deref() != Some("2.0") {
            return Err("jsonrpc is not \"2.0\"");
        }
        if parts.id.is_some() && id.is_none() && !id_is_null {
            return Err("id is neither a string nor a number");
        }
        match (parts.method, parts.result, parts.error) {
            (Some(method), None, None) => {
                let method = scan::string(&frame[method]).ok_or("method is not a string")?;
                if method.len() > Self::MAX_METHOD_BYTES {
                    return Err("method is too long");
                }
                if id_is_null {
                    return Err("the id of a request is null");
                }
                if parts.params.as_ref().is_some_and(|span| frame[span.start] != b'{') {
                    return Err("params is not an object");
                }
                let kind = if id.is_some() { Kind::Request } else { Kind::Notification };
                Ok((kind, Some(method.into_owned()), parts.params))
            }
            (None, Some(result), None) if id.is_some() => Ok((Kind::Result, None, Some(result))),
            (None, None, Some(error)) if id.is_some() || id_is_null => {
                if frame[error.start] != b'{' {
                    return Err("error is not an object");
                }
                Ok((Kind::Error, None, Some(error)))
            }
            (None, None, None) => Err("neither method, result nor error"),
            (None, ..) => Err("not exactly one of result and error under an id"),
            (Some(_), ..) => Err("both a method and an answer"),
        }
    }

    /// The kind of the message.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The id: always there on a request or result, maybe on an error, never on a notification.
    #[must_use]
    pub fn id(&self) -> Option<&Id> {
        self.id.as_ref()
    }

    /// The method of a request or notification, its escapes resolved; empty on an answer.
    #[must_use]
    pub fn method(&self) -> &str {
        self.method.as_deref().unwrap_or_default()
    }

    /// The parameters (always an object), result or error as a slice of the frame. `None` only for
    /// a request or notification without parameters.
    #[must_use]
    pub fn body(&self) -> Option<Bytes> {
        self.body.clone().map(|span| self.frame.slice(span))
    }

    /// The whole message as it arrived, but for a byte order mark.
    #[must_use]
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }
}

/// The bytes behind a byte order mark, or all of them.
fn without_mark(mut frame: Bytes) -> Bytes {
    if frame.starts_with(BYTE_ORDER_MARK) {
        frame.advance(BYTE_ORDER_MARK.len());
    }
    frame
}

/// Whether the bytes are an array, which is how a batch is written (revision 2025-03-26 only).
#[must_use]
pub fn is_batch(frame: &[u8]) -> bool {
    let frame = frame.strip_prefix(BYTE_ORDER_MARK).unwrap_or(frame);
    frame.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

/// The messages of a batch as slices of the same memory.
///
/// # Errors
/// [`EnvelopeError`] if the bytes are not an array with 1 to `max_messages` elements.
pub fn split_batch(frame: &Bytes, max_messages: usize) -> Result<Vec<Bytes>, EnvelopeError> {
    let frame = without_mark(frame.clone());
    let mut spans = Vec::new();
    scan::document(&frame)?;
    scan::elements(&frame, 0, |span| spans.push(span))?;
    if spans.is_empty() || spans.len() > max_messages {
        let reason = "a batch must have at least one message and not too many";
        return Err(EnvelopeError::NotJsonRpc { reason, id: None, is_answer: false });
    }
    Ok(spans.into_iter().map(|span| frame.slice(span)).collect())
}

/// A request: raw parameters under an id.
#[must_use]
pub fn request(id: &Id, method: &str, params: Option<&[u8]>) -> Bytes {
    message(Some(id), method, params)
}

/// A notification.
#[must_use]
pub fn notification(method: &str, params: Option<&[u8]>) -> Bytes {
    message(None, method, params)
}

fn message(id: Option<&Id>, method: &str, params: Option<&[u8]>) -> Bytes {
    let id_bytes = id.map_or(0, |id| id.raw().len());
    let mut out =
        BytesMut::with_capacity(48 + id_bytes + method.len() + params.map_or(0, <[u8]>::len));
    out.put_slice(b"{\"jsonrpc\":\"2.0\"");
    if let Some(id) = id {
        out.put_slice(b",\"id\":");
        out.put_slice(id.raw());
    }
    out.put_slice(b",\"method\":");
    put_string(&mut out, method);
    if let Some(params) = params {
        out.put_slice(b",\"params\":");
        out.put_slice(params);
    }
    out.put_u8(b'}');
    out.freeze()
}

/// A method is nearly always plain: then it is copied without a detour through a serializer.
fn put_string(out: &mut BytesMut, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.put_u8(b'"');
        out.put_slice(text.as_bytes());
        out.put_u8(b'"');
    } else {
        out.put_slice(&splice::quote(text));
    }
}

/// A successful answer around a raw result.
#[must_use]
pub fn response(id: &Id, result: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(32 + id.raw().len() + result.len());
    out.put_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.put_slice(id.raw());
    out.put_slice(b",\"result\":");
    out.put_slice(result);
    out.put_u8(b'}');
    out.freeze()
}

/// An answer around a raw error object; an id that could not be read is null.
#[must_use]
pub fn error_response(id: Option<&Id>, error: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(64 + error.len());
    out.put_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.put_slice(id.map_or(b"null".as_slice(), |id| id.raw()));
    out.put_slice(b",\"error\":");
    out.put_slice(error);
    out.put_u8(b'}');
    out.freeze()
}

/// An error answer from its parts.
#[must_use]
pub fn error(id: Option<&Id>, code: i64, message: &str, data: Option<&[u8]>) -> Bytes {
    error_response(id, &error_object(code, message, data))
}

/// The error object of an answer from its parts; `data` is raw JSON.
#[must_use]
pub fn error_object(code: i64, message: &str, data: Option<&[u8]>) -> Bytes {
    let mut out = BytesMut::with_capacity(48 + message.len() + data.map_or(0, <[u8]>::len));
    out.put_slice(b"{\"code\":");
    out.put_slice(code.to_string().as_bytes());
    out.put_slice(b",\"message\":");
    put_string(&mut out, message);
    if let Some(data) = data {
        out.put_slice(b",\"data\":");
        out.put_slice(data);
    }
    out.put_u8(b'}');
    out.freeze()
}

/// What an error object says, read leniently: upstreams write all kinds of things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorObject {
    /// The code; [`code::INTERNAL_ERROR`] where there is no legal one.
    pub code: i64,
    /// The message; empty where there is none.
    pub message: String,
    /// The raw data.
    pub data: Option<Bytes>,
}

impl ErrorObject {
    /// Reads a raw error object.
    #[must_use]
    pub fn parse(raw: &Bytes) -> Self {
        let part = |name| splice::slice(raw, &[name]).ok().flatten();
        let code = part("code").and_then(|code| std::str::from_utf8(&code).ok()?.parse().ok());
        let message = part("message")
            .and_then(|message| splice::unquote(&message).map(std::borrow::Cow::into_owned));
        Self {
            code: code.unwrap_or(code::INTERNAL_ERROR),
            message: message.unwrap_or_default(),
            data: part("data"),
        }
    }
}

#[cfg(test)]
mod tests;
