//! Resource URIs of many servers as one set.
//!
//! A URI gets the prefix `mcp+{server}+`, which makes a scheme of its own: `file:///x` of the
//! server `docs` is `mcp+docs+file:///x`. The prefix has no braces, so a URI template stays a
//! template (RFC 6570) and expands to a URI that leads back. In the server's name everything but
//! lowercase letters, digits and `-` is written `.` and two hexadecimal digits: schemes are
//! compared without regard to case, and clients may change it.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use bytes::Bytes;

use crate::scan;
use crate::splice::{self, SpliceError};

const MARK: &str = "mcp+";

/// How the URIs of one server are told apart from those of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(Option<String>);

impl Namespace {
    /// URIs stay as they are: for a project's single server.
    #[must_use]
    pub const fn identity() -> Self {
        Self(None)
    }

    /// The namespace of the server with this name.
    #[must_use]
    pub fn of_server(name: &str) -> Self {
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
        Self(Some(prefix))
    }

    /// The URI or template as clients see it.
    #[must_use]
    pub fn expose<'u>(&self, uri: &'u str) -> Cow<'u, str> {
        match &self.0 {
            None => Cow::Borrowed(uri),
            Some(prefix) => Cow::Owned(format!("{prefix}{uri}")),
        }
    }

    /// The URI as the server knows it; `None` if it belongs to another namespace.
    #[must_use]
    pub fn original<'u>(&self, exposed: &'u str) -> Option<&'u str> {
        let Some(prefix) = &self.0 else {
            return Some(exposed);
        };
        let head = exposed.get(..prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then(|| &exposed[prefix.len()..])
    }

    /// A result with every URI in it as clients see it: in the contents of `resources/read`, in
    /// the resource links and embedded resources of `tools/call` and `prompts/get`. Results of
    /// other methods and URIs in `structuredContent` are left alone.
    ///
    /// # Errors
    /// As [`splice::find`].
    pub fn expose_result(&self, method: &str, result: &Bytes) -> Result<Bytes, SpliceError> {
        if self.0.is_none() || memchr::memmem::find(result, b"uri").is_none() {
            return Ok(result.clone());
        }
        let mut spans = Vec::new();
        match method {
            "resources/read" => {
                for content in elements_of(result, 0, "contents")? {
                    push_string(result, content.start, "uri", &mut spans)?;
                }
            }
            "tools/call" => {
                for content in elements_of(result, 0, "content")? {
                    push_content(result, content.start, &mut spans)?;
                }
            }
            "prompts/get" => {
                for message in elements_of(result, 0, "messages")? {
                    let content = splice::member_at(result, message.start, "content")?;
                    let Some(content) = content else { continue };
                    push_content(result, content.start, &mut spans)?;
                    for part in elements_at(result, content.start)? {
                        push_content(result, part.start, &mut spans)?;
                    }
                }
            }
            _ => {}
        }
        Ok(self.expose_spans(result, spans))
    }

    /// Raw parameters or another object with the URI at `path` as clients see it.
    ///
    /// # Errors
    /// As [`splice::find`].
    pub fn expose_at(&self, json: &Bytes, path: &[&str]) -> Result<Bytes, SpliceError> {
        let span = splice::find(json, path)?.filter(|span| json[span.start] == b'"');
        Ok(self.expose_spans(json, span.into_iter().collect()))
    }

    fn expose_spans(&self, json: &Bytes, spans: Vec<Range<usize>>) -> Bytes {
        let Some(prefix) = &self.0 else {
            return json.clone();
        };
        if spans.is_empty() {
            return json.clone();
        }
        // The prefix is plain ASCII: it goes in behind the opening quote and nothing is re-quoted.
        let prefix = Bytes::copy_from_slice(prefix.as_bytes());
        let edits: Vec<_> = spans
            .into_iter()
            .map(|span| (span.start + 1..span.start + 1, prefix.clone()))
            .collect();
        splice::replace_spans(json, &edits)
    }
}

fn elements_of(json: &[u8], at: usize, name: &str) -> Result<Vec<Range<usize>>, SpliceError> {
    match splice::member_at(json, at, name)? {
        Some(array) => elements_at(json, array.start),
        None => Ok(Vec::new()),
    }
}

fn elements_at(json: &[u8], at: usize) -> Result<Vec<Range<usize>>, SpliceError> {
    let mut spans = Vec::new();
    scan::elements(json, at, |span| spans.push(span))?;
    Ok(spans)
}

fn push_string(
    json: &[u8],
    at: usize,
    name: &str,
    spans: &mut Vec<Range<usize>>,
) -> Result<(), SpliceError> {
    let span = splice::member_at(json, at, name)?;
    spans.extend(span.filter(|span| json[span.start] == b'"'));
    Ok(())
}

/// A resource link names its URI itself, an embedded resource in its `resource`.
fn push_content(json: &[u8], at: usize, spans: &mut Vec<Range<usize>>) -> Result<(), SpliceError> {
    let Some(kind) = splice::member_at(json, at, "type")? else {
        return Ok(());
    };
    match scan::string(&json[kind]).as_deref() {
        Some("resource_link") => push_string(json, at, "uri", spans),
        Some("resource") => match splice::member_at(json, at, "resource")? {
            Some(resource) => push_string(json, resource.start, "uri", spans),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uri_gets_a_scheme_that_leads_back() {
        let docs = Namespace::of_server("docs");
        assert_eq!(docs.expose("file:///a{?q}"), "mcp+docs+file:///a{?q}");
        assert_eq!(docs.original("mcp+docs+file:///a"), Some("file:///a"));
        assert_eq!(docs.original("MCP+Docs+file:///A"), Some("file:///A"));
        assert_eq!(docs.original("mcp+doc+file:///a"), None);
        assert_eq!(docs.original("é"), None);
        assert_eq!(Namespace::of_server("My_x").expose("a:b"), "mcp+.4dy.5fx+a:b");
        assert_eq!(Namespace::identity().original("a:b"), Some("a:b"));
    }

    #[test]
    fn uris_in_results_are_exposed_and_all_else_stays() {
        let space = Namespace::of_server("s");
        let exposed = |method, result: &'static str| {
            let bytes =
                space.expose_result(method, &Bytes::from_static(result.as_bytes())).unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert_eq!(
            exposed("resources/read", r#"{ "contents":[{"uri":"a:\u0031","text":"uri"},{}] }"#),
            r#"{ "contents":[{"uri":"mcp+s+a:\u0031","text":"uri"},{}] }"#
        );
        assert_eq!(
            exposed(
                "tools/call",
                r#"{"content":[{"type":"text","uri":"x"},{"type":"resource_link","uri":"a:1"},
                    {"type":"resource","resource":{"uri":"a:2"}}],"structuredContent":{"uri":"a:3"}}"#
            ),
            r#"{"content":[{"type":"text","uri":"x"},{"type":"resource_link","uri":"mcp+s+a:1"},
                    {"type":"resource","resource":{"uri":"mcp+s+a:2"}}],"structuredContent":{"uri":"a:3"}}"#
        );
        assert_eq!(
            exposed(
                "prompts/get",
                r#"{"messages":[{"content":{"type":"resource","resource":{"uri":"a"}}},
                    {"content":[{"type":"resource_link","uri":"b"}]}]}"#
            ),
            r#"{"messages":[{"content":{"type":"resource","resource":{"uri":"mcp+s+a"}}},
                    {"content":[{"type":"resource_link","uri":"mcp+s+b"}]}]}"#
        );
        assert_eq!(exposed("ping", r#"{"uri":"a"}"#), r#"{"uri":"a"}"#);
    }

    proptest! {
        #[test]
        fn every_uri_leads_back_to_its_own_server_only(name in "\\PC{0,12}", other in "\\PC{0,12}", uri in "\\PC{0,20}") {
            let space = Namespace::of_server(&name);
            let exposed = space.expose(&uri);
            prop_assert_eq!(space.original(&exposed), Some(uri.as_str()));
            if name != other {
                prop_assert_eq!(Namespace::of_server(&other).original(&exposed), None);
            }
        }
    }
}
