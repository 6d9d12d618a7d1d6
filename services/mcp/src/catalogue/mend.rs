//! Items as strict clients can read them.
//!
//! Many clients check a list as a whole: one item with a description that is a number, or a tool
//! without a schema, hides every item of every server. Where servers share a list, what the
//! protocol requires is put in, what it does not allow is taken out, and an item that can be no
//! use is left out. A server that is alone shows its clients exactly what it said.

use bytes::Bytes;

use super::ListKind;
use crate::scan;
use crate::splice::{self, SpliceError};

/// What a member's value must start with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    String,
    Object,
    Array,
    Number,
}

impl Shape {
    fn is_of(self, value: &[u8]) -> bool {
        matches!(
            (self, value.first()),
            (Self::String, Some(b'"'))
                | (Self::Object, Some(b'{'))
                | (Self::Array, Some(b'['))
                | (Self::Number, Some(b'-' | b'0'..=b'9'))
        )
    }
}

/// The members that every item may have.
const ANY: &[(&str, Shape)] = &[
    ("title", Shape::String),
    ("description", Shape::String),
    ("icons", Shape::Array),
    ("_meta", Shape::Object),
];

/// The optional members of a kind beside those that every item may have.
const fn optional(kind: ListKind) -> &'static [(&'static str, Shape)] {
    match kind {
        ListKind::Tools => &[
            ("outputSchema", Shape::Object),
            ("annotations", Shape::Object),
            ("execution", Shape::Object),
        ],
        ListKind::Resources => {
            &[("mimeType", Shape::String), ("size", Shape::Number), ("annotations", Shape::Object)]
        }
        ListKind::ResourceTemplates => {
            &[("mimeType", Shape::String), ("annotations", Shape::Object)]
        }
        ListKind::Prompts => &[("arguments", Shape::Array)],
    }
}

/// The item as strict clients can read it, or `None` if they cannot.
pub(super) fn mended(kind: ListKind, key: &str, raw: Bytes) -> Option<Bytes> {
    let raw = without_wrong_members(kind, raw).ok()?;
    match kind {
        ListKind::Tools => with_schema(raw).ok()?,
        ListKind::Resources | ListKind::ResourceTemplates => with_name(key, raw).map(Some).ok()?,
        ListKind::Prompts => Some(raw),
    }
}

fn without_wrong_members(kind: ListKind, mut raw: Bytes) -> Result<Bytes, SpliceError> {
    let (mut seen, mut wrong) = (Vec::new(), Vec::new());
    let mut repeated = false;
    scan::members(&raw, 0, |member| {
        let mut known = ANY.iter().chain(optional(kind));
        if let Some((name, shape)) = known.find(|(name, _)| member.is(&raw, name)) {
            repeated |= seen.contains(name);
            if !repeated {
                seen.push(*name);
                wrong.extend((!shape.is_of(&raw[member.value])).then_some(*name));
            }
        }
    })?;
    if repeated {
        return Err(SpliceError::Ambiguous);
    }
    for name in wrong {
        if let Some(without) = splice::remove(&raw, &[name])? {
            raw = without;
        }
    }
    Ok(raw)
}

/// A tool's schema must be there, and must be one of an object.
fn with_schema(raw: Bytes) -> Result<Option<Bytes>, SpliceError> {
    let Some(schema) = splice::slice(&raw, &["inputSchema"])? else {
        return splice::set(&raw, &["inputSchema"], br#"{"type":"object"}"#).map(Some);
    };
    if !Shape::Object.is_of(&schema) {
        return Ok(None);
    }
    match splice::slice(&schema, &["type"])? {
        None => splice::set(&raw, &["inputSchema", "type"], br#""object""#).map(Some),
        Some(kind) => Ok((splice::unquote(&kind).as_deref() == Some("object")).then_some(raw)),
    }
}

/// A resource must have a name to show; its URI is one.
fn with_name(key: &str, raw: Bytes) -> Result<Bytes, SpliceError> {
    match splice::slice(&raw, &["name"])? {
        Some(name) if Shape::String.is_of(&name) => Ok(raw),
        _ => splice::set(&raw, &["name"], &splice::quote(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: ListKind, key: &str, raw: &'static str) -> Option<String> {
        let mended = mended(kind, key, Bytes::from_static(raw.as_bytes()))?;
        Some(String::from_utf8(mended.to_vec()).unwrap())
    }

    #[test]
    fn an_item_as_the_protocol_wants_it_keeps_every_byte() {
        let tool = r#"{ "name":"t", "title":"", "x":null, "inputSchema":{"$ref":1,"type":"object"}, "icons":[] }"#;
        assert_eq!(said(ListKind::Tools, "t", tool).as_deref(), Some(tool));
        let resource = r#"{"uri":"a:b","name":"n","size":1,"description":"\u0000"}"#;
        assert_eq!(said(ListKind::Resources, "a:b", resource).as_deref(), Some(resource));
        let prompt = r#"{"name":"p","arguments":[]}"#;
        assert_eq!(said(ListKind::Prompts, "p", prompt).as_deref(), Some(prompt));
    }

    #[test]
    fn what_is_required_is_put_in_and_what_is_not_allowed_taken_out() {
        let mended = |kind, key, raw| said(kind, key, raw).unwrap();
        assert_eq!(
            mended(ListKind::Tools, "t", r#"{"name":"t","description":7,"title":null}"#),
            r#"{"inputSchema":{"type":"object"},"name":"t"}"#
        );
        assert_eq!(
            mended(ListKind::Tools, "t", r#"{"name":"t","inputSchema":{}}"#),
            r#"{"name":"t","inputSchema":{"type":"object"}}"#
        );
        assert_eq!(
            mended(ListKind::ResourceTemplates, "a:{b}", r#"{"uriTemplate":"a:{b}","name":1}"#),
            r#"{"uriTemplate":"a:{b}","name":"a:{b}"}"#
        );
        assert_eq!(
            mended(ListKind::Prompts, "p", r#"{"name":"p","arguments":{},"_meta":[]}"#),
            r#"{"name":"p"}"#
        );
    }

    #[test]
    fn what_takes_no_object_or_says_things_twice_is_left_out() {
        for raw in [
            r#"{"name":"t","title":"a","title":1}"#,
            r#"{"name":"t","inputSchema":true}"#,
            r#"{"name":"t","inputSchema":{"type":"string"}}"#,
            r#"{"name":"t","inputSchema":{},"inputSchema":{}}"#,
        ] {
            assert_eq!(said(ListKind::Tools, "t", raw), None, "{raw}");
        }
    }
}
