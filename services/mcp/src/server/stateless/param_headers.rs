//! Tool arguments that are repeated as `Mcp-Param-*` headers, by `x-mcp-header` in the tool's
//! schema.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::{Refusal, decode_header_value};
use crate::splice;

/// What marks an argument in a tool's schema.
const ANNOTATION: &str = "x-mcp-header";
/// Deeper ones are passed over, as are more than [`MAX_PARAMS`].
const MAX_DEPTH: usize = 16;
const MAX_PARAMS: usize = 64;

/// An argument that travels in a header, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamHeader {
    /// The keys that lead to it from the arguments.
    path: Vec<String>,
    header: HeaderName,
    is_number: bool,
}

/// The arguments of a tool that travel in headers, from its raw definition. Illegal annotations
/// (clients leave such tools out) are passed over.
#[must_use]
pub fn param_headers(tool: &Bytes) -> Vec<ParamHeader> {
    if memchr::memmem::find(tool, ANNOTATION.as_bytes()).is_none() {
        return Vec::new();
    }
    let schema = splice::slice(tool, &["inputSchema"]).ok().flatten();
    let schema = schema.and_then(|schema| serde_json::from_slice::<Value>(&schema).ok());
    let mut found = Vec::new();
    if let Some(schema) = schema {
        collect(&schema, &mut Vec::new(), &mut found);
    }
    found
}

fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<ParamHeader>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (key, property) in properties {
        if path.len() == MAX_DEPTH || found.len() == MAX_PARAMS {
            return;
        }
        path.push(key.clone());
        let kind = property.get("type").and_then(Value::as_str);
        let name = property.get(ANNOTATION).and_then(Value::as_str).filter(|name| !name.is_empty());
        if let (Some(name), Some("string" | "integer" | "number" | "boolean")) = (name, kind)
            && let Ok(header) = format!("mcp-param-{}", name.to_ascii_lowercase()).parse()
        {
            let is_number = matches!(kind, Some("integer" | "number"));
            found.push(ParamHeader { path: path.clone(), header, is_number });
        }
        collect(property, path, found);
        path.pop();
    }
}

/// Checks the headers of a `tools/call` against its raw arguments: a value in the body must be in
/// its header, too, and be the same.
///
/// # Errors
/// [`Refusal::HeaderMismatch`].
pub fn check_param_headers(
    declared: &[ParamHeader],
    arguments: Option<&Bytes>,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    declared.iter().try_for_each(|param| param.check(arguments, headers))
}

impl ParamHeader {
    fn check(&self, arguments: Option<&Bytes>, headers: &HeaderMap) -> Result<(), Refusal> {
        let mismatch =
            |problem| Refusal::HeaderMismatch { header: self.header.to_string(), problem };
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let said = arguments.map(|arguments| splice::slice(arguments, &path)).transpose();
        let said = said.map_err(|_| mismatch("cannot be compared: the body says it twice"))?;
        let Some(said) = said.flatten().filter(|said| &said[..] != b"null") else {
            return Ok(());
        };
        let text = match said.first() {
            Some(b'"') => splice::unquote(&said),
            Some(b'{' | b'[') | None => return Ok(()),
            Some(_) => std::str::from_utf8(&said).ok().map(Into::into),
        };
        let text = text.ok_or_else(|| mismatch("cannot be compared"))?;
        let mut values = headers.get_all(&self.header).iter();
        let value = values.next().ok_or_else(|| mismatch("is missing"))?;
        if values.next().is_some() {
            return Err(mismatch("is there more than once"));
        }
        let value = value.to_str().map_err(|_| mismatch("is not ASCII"))?;
        let value = decode_header_value(value.trim_matches([' ', '\t']))
            .ok_or_else(|| mismatch("is not legal Base64 of UTF-8"))?;
        let is_same = value == text || (self.is_number && is_same_number(&value, &text));
        if is_same { Ok(()) } else { Err(mismatch("is not the value in the body")) }
    }
}

/// `42` and `42.0` are the same number; other spellings than plain decimals are not compared.
fn is_same_number(left: &str, right: &str) -> bool {
    let plain = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_plain = digits.starts_with(|first: char| first.is_ascii_digit())
            && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        is_plain.then(|| text.parse::<f64>().ok()).flatten()
    };
    plain(left).is_some_and(|left| right.parse::<f64>().is_ok_and(|right| left == right))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TOOL: &str = r#"{"name":"t","inputSchema":{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
        "bad":{"type":"object","x-mcp-header":"Bad"},
        "odd":{"type":"string","x-mcp-header":"not a token"}}}}"#;

    fn check(headers: &[(&'static str, &'static str)], arguments: &'static str) -> bool {
        let declared = param_headers(&Bytes::from_static(TOOL.as_bytes()));
        assert_eq!(declared.len(), 2);
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let arguments = Bytes::from_static(arguments.as_bytes());
        check_param_headers(&declared, Some(&arguments), &headers.collect()).is_ok()
    }

    #[test]
    fn a_value_in_the_body_must_be_in_its_header() {
        let region = "mcp-param-region";
        assert!(check(&[(region, "eu")], r#"{"region":"eu"}"#));
        assert!(check(&[(region, "=?base64?ZXU=?=")], r#"{"region":"\u0065u"}"#));
        assert!(!check(&[(region, "us")], r#"{"region":"eu"}"#));
        assert!(!check(&[], r#"{"region":"eu"}"#));
        assert!(!check(&[(region, "=?base64?ZXU?=")], r#"{"region":"eu"}"#));
        for nothing in [r#"{"region":null}"#, "{}", r#"{"region":{}}"#] {
            assert!(check(&[], nothing), "{nothing}");
        }
        assert!(!check(&[(region, "a")], r#"{"region":"a","region":"b"}"#));
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let n = "mcp-param-n";
        for same in ["42", "42.0"] {
            assert!(check(&[(n, same)], r#"{"deep":{"n":42}}"#), "{same}");
        }
        for other in ["43", "0x2a", "4.2e1", " "] {
            assert!(!check(&[(n, other)], r#"{"deep":{"n":42}}"#), "{other}");
        }
    }
}
