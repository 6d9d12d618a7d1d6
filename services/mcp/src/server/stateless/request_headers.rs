//! The headers that repeat what the body says, so that whoever stands in between need not read
//! it: they are refused when they do not.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::{Refusal, RequestMeta, StatelessMethod};
use crate::server::headers::PROTOCOL_VERSION;
use crate::splice;

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Checks `MCP-Protocol-Version`, `Mcp-Method` and `Mcp-Name` of a request over HTTP.
///
/// # Errors
/// [`Refusal::HeaderMismatch`].
pub fn check_request_headers(
    headers: &HeaderMap,
    meta: &RequestMeta,
    method: &str,
    params: &Bytes,
) -> Result<(), Refusal> {
    let version = required(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")?;
    if version != meta.protocol_version {
        return Err(mismatch("MCP-Protocol-Version", "is not the revision in _meta"));
    }
    if required(headers, &METHOD, "Mcp-Method")? != method {
        return Err(mismatch("Mcp-Method", "is not the method of the body"));
    }
    let Some(member) = StatelessMethod::parse(method).and_then(StatelessMethod::named_by) else {
        return Ok(());
    };
    let ambiguous = |_| mismatch("Mcp-Name", "cannot be compared: the body says it twice");
    let Some(said) = splice::find_string(params, &[member]).map_err(ambiguous)? else {
        // What is missing in the body is refused by whoever reads it.
        return Ok(());
    };
    let name = required(headers, &NAME, "Mcp-Name")?;
    match decode_header_value(name) {
        Some(name) if name == said => Ok(()),
        Some(_) => Err(mismatch("Mcp-Name", "is not the name in the body")),
        None => Err(mismatch("Mcp-Name", "is not legal Base64 of UTF-8")),
    }
}

fn required<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<&'h str, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| mismatch(shown, "is missing"))?;
    if values.next().is_some() {
        return Err(mismatch(shown, "is there more than once"));
    }
    let text = value.to_str().map_err(|_| mismatch(shown, "is not ASCII"))?;
    Ok(text.trim_matches([' ', '\t']))
}

fn mismatch(header: &str, problem: &'static str) -> Refusal {
    Refusal::HeaderMismatch { header: header.to_owned(), problem }
}

/// A header's value, `=?base64?…?=` resolved; `None` if what is inside is not Base64 (padded, RFC
/// 4648 section 4) of UTF-8. Anything else stands for itself.
#[must_use]
pub fn decode_header_value(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let Some(inner) = inner else {
        return Some(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(inner).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(headers: &[(&'static str, &str)], method: &str, params: &str) -> Result<(), Refusal> {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        let meta = RequestMeta {
            protocol_version: "2026-07-28".to_owned(),
            capabilities: "{}".into(),
            client_info: None,
            log_level: None,
            progress_token: None,
        };
        let params = Bytes::copy_from_slice(params.as_bytes());
        check_request_headers(&headers.collect(), &meta, method, &params)
    }

    fn refused(outcome: Result<(), Refusal>) -> String {
        match outcome {
            Err(Refusal::HeaderMismatch { header, .. }) => header,
            other => panic!("{other:?}"),
        }
    }

    const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

    #[test]
    fn each_header_must_be_there_once_and_say_what_the_body_says() {
        let list = ("mcp-method", "tools/list");
        assert_eq!(check(&[VERSION, list], "tools/list", "{}"), Ok(()));
        assert_eq!(refused(check(&[list], "tools/list", "{}")), "MCP-Protocol-Version");
        let other = ("mcp-protocol-version", "2025-11-25");
        assert_eq!(refused(check(&[other, list], "tools/list", "{}")), "MCP-Protocol-Version");
        assert_eq!(refused(check(&[VERSION], "tools/list", "{}")), "Mcp-Method");
        let shouted = ("mcp-method", "TOOLS/LIST");
        assert_eq!(refused(check(&[VERSION, shouted], "tools/list", "{}")), "Mcp-Method");
        let call = ("mcp-method", "tools/call");
        let params = r#"{"name":"caf\u00e9"}"#;
        let named = |name| check(&[VERSION, call, ("mcp-name", name)], "tools/call", params);
        assert_eq!(refused(check(&[VERSION, call], "tools/call", params)), "Mcp-Name");
        assert_eq!(refused(named("cafe")), "Mcp-Name");
        assert_eq!(named("  =?base64?Y2Fmw6k=?=\t"), Ok(()));
        assert_eq!(refused(named("=?base64?Y2Fmw6k?=")), "Mcp-Name");
        let twice = [VERSION, VERSION, list];
        let mut headers = HeaderMap::new();
        for (name, value) in twice {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert!(required(&headers, &PROTOCOL_VERSION, "MCP-Protocol-Version").is_err());
        let task = [VERSION, ("mcp-method", "tasks/get"), ("mcp-name", "t1")];
        assert_eq!(check(&task, "tasks/get", r#"{"taskId":"t1"}"#), Ok(()));
        assert_eq!(refused(check(&task, "tasks/get", r#"{"taskId":"t2"}"#)), "Mcp-Name");
        // Nothing to compare with: the missing name is refused later.
        assert_eq!(check(&[VERSION, call], "tools/call", "{}"), Ok(()));
    }

    #[test]
    fn only_the_whole_wrapping_is_base64() {
        assert_eq!(decode_header_value("=?base64?SGVsbG8=?=").as_deref(), Some("Hello"));
        for literal in ["SGVsbG8=", "=?base64?SGVsbG8=", "SGVsbG8=?="] {
            assert_eq!(decode_header_value(literal).as_deref(), Some(literal));
        }
        for wrong in ["=?base64?SGVsbG8?=", "=?base64?SGVs!!!bG8=?=", "=?base64?/w==?="] {
            assert_eq!(decode_header_value(wrong), None, "{wrong}");
        }
        assert_eq!(decode_header_value("=?base64??=").as_deref(), Some(""));
    }
}
