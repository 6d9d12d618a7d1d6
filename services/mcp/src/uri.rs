//! Resource URIs and task ids of many servers as one set.
//!
//! A URI gets the prefix `mcp+{server}+`, which makes a scheme of its own: `file:///x` of the
//! server `docs` is `mcp+docs+file:///x`. The prefix has no braces, so a URI template stays a
//! template (RFC 6570) and expands to a URI that leads back. In the server's name everything but
//! lowercase letters, digits and `-` is written `.` and two hexadecimal digits: schemes are
//! compared without regard to case, and clients may change it.
//!
//! What an upstream calls a URI and is none (no scheme, control characters) would make strict
//! clients refuse the whole list it stands in: it becomes `mcp+{server}:{percent-encoded}`. Task
//! ids, which only their server reads, get the prefix and nothing else.
//!
//! `expose_…` is the way from the server to clients, `original_…` and [`Namespace::restore`] the
//! way back.

mod expose;
mod places;

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::splice::{self, SpliceError};

const MARK: &str = "mcp+";

/// Everything but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The key of `_meta` under which a message names the task it belongs to.
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// How the URIs and task ids of one server are told apart from those of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(Option<Prefix>);

/// `mcp+{server}+`; the last character is the one thing that differs between the two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Prefix(String);

impl Prefix {
    fn of_server(name: &str) -> Self {
        let mut prefix = String::with_capacity(MARK.len() + name.len() + 1);
        prefix.push_str(MARK);
        for byte in name.bytes() {
            if byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' {
                prefix.push(char::from(byte));
            } else {
                // Writing into a String cannot fail.
                let _ = write!(prefix, ".{byte:02x}");
            }
        }
        prefix.push('+');
        Self(prefix)
    }

    fn scheme(&self) -> &str {
        &self.0[..self.0.len() - 1]
    }

    /// The text behind the scheme and its end, which is `+` or `:`.
    fn split<'t>(&self, text: &'t str) -> Option<(u8, &'t str)> {
        let scheme = self.scheme();
        let head = text.get(..scheme.len())?;
        let end = *text.as_bytes().get(scheme.len())?;
        let is_ours = head.eq_ignore_ascii_case(scheme) && matches!(end, b'+' | b':');
        is_ours.then(|| (end, &text[scheme.len() + 1..]))
    }

    fn expose(&self, uri: &str) -> String {
        if self.suits(uri) {
            return format!("{}{uri}", self.0);
        }
        format!("{}:{}", self.scheme(), utf8_percent_encode(uri, RESERVED))
    }

    /// Whether the URI with the prefix before it is one that every client can read and that
    /// nobody writes differently: the URL standard drops control characters and outer spaces.
    fn suits(&self, uri: &str) -> bool {
        let is_clean = uri.trim() == uri && !uri.bytes().any(|byte| byte.is_ascii_control());
        is_clean && Url::parse(&format!("{}{uri}", self.0)).is_ok()
    }
}

impl Namespace {
    /// URIs and task ids stay as they are: for a project's single server.
    #[must_use]
    pub const fn identity() -> Self {
        Self(None)
    }

    /// The namespace of the server with this name.
    #[must_use]
    pub fn of_server(name: &str) -> Self {
        Self(Some(Prefix::of_server(name)))
    }

    /// The URI as clients see it.
    #[must_use]
    pub fn expose<'u>(&self, uri: &'u str) -> Cow<'u, str> {
        match &self.0 {
            None => Cow::Borrowed(uri),
            Some(prefix) => Cow::Owned(prefix.expose(uri)),
        }
    }

    /// The URI template as clients see it.
    #[must_use]
    pub fn expose_template<'u>(&self, template: &'u str) -> Cow<'u, str> {
        self.prefixed(template)
    }

    /// The URI or template as the server knows it; `None` if it belongs to another namespace.
    #[must_use]
    pub fn original<'u>(&self, exposed: &'u str) -> Option<Cow<'u, str>> {
        let Some(prefix) = &self.0 else {
            return Some(Cow::Borrowed(exposed));
        };
        match prefix.split(exposed)? {
            (b'+', uri) => Some(Cow::Borrowed(uri)),
            (_, encoded) => percent_decode_str(encoded).decode_utf8().ok(),
        }
    }

    /// The task's id as clients see it.
    #[must_use]
    pub fn expose_task<'t>(&self, id: &'t str) -> Cow<'t, str> {
        self.prefixed(id)
    }

    /// The task's id as the server knows it; `None` if it belongs to another namespace.
    #[must_use]
    pub fn original_task<'t>(&self, exposed: &'t str) -> Option<&'t str> {
        match &self.0 {
            None => Some(exposed),
            Some(prefix) => exposed.strip_prefix(prefix.0.as_str()),
        }
    }

    fn prefixed<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.0 {
            None => Cow::Borrowed(text),
            Some(prefix) => Cow::Owned(format!("{}{text}", prefix.0)),
        }
    }

    /// Whatever a client sends to the server (parameters, a result), with the task that it belongs
    /// to as the server knows it. A task of another namespace is the client's own, and stays.
    ///
    /// # Errors
    /// As [`splice::find`].
    pub fn restore(&self, json: &Bytes) -> Result<Bytes, SpliceError> {
        // A key may be escaped, too.
        let may_have = |needle: &str| memchr::memmem::find(json, needle.as_bytes()).is_some();
        if self.0.is_none() || !(may_have("related-task") || may_have("\\u")) {
            return Ok(json.clone());
        }
        let Some(span) = splice::find(json, &["_meta", RELATED_TASK, "taskId"])? else {
            return Ok(json.clone());
        };
        let exposed = splice::unquote(&json[span.clone()]);
        Ok(match exposed.as_deref().and_then(|id| self.original_task(id)) {
            Some(id) => splice::replace_span(json, span, &splice::quote(id)),
            None => json.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
