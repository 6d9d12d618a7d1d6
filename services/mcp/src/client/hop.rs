//! What each request to a stateless server says of itself: `_meta` in its parameters and, over
//! HTTP, headers that repeat parts of them.
//!
//! Both belong to one hop. What a caller passes on from its own client's hop is replaced here, the
//! rest of `_meta` stays as it is.

use std::sync::{PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{ClientOptions, RequestMeta};
use crate::splice::{self, SpliceError};
use crate::{Protocol, scan};

/// The method of a request, repeated in a header.
pub(super) const METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// What a request is about (a tool, a prompt, a resource, a task), repeated in a header.
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The keys of `_meta` that belong to the hop.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const CLIENT_KEY: &str = "io.modelcontextprotocol/clientInfo";
const LEVEL_KEY: &str = "io.modelcontextprotocol/logLevel";

/// The key under which messages name the `subscriptions/listen` request they belong to.
pub(super) const SUBSCRIPTION_KEY: &str = "io.modelcontextprotocol/subscriptionId";

/// What a stateless server is told, unless a request says something else.
#[derive(Debug)]
pub(super) struct Hop {
    capabilities: Bytes,
    client_info: Bytes,
    log_level: RwLock<Option<String>>,
}

impl Hop {
    pub(super) fn new(options: &ClientOptions) -> Self {
        Self {
            capabilities: options.capabilities.clone(),
            client_info: options.client_info.clone(),
            log_level: RwLock::default(),
        }
    }

    /// Log messages from this level on are wanted with every request.
    pub(super) fn set_log_level(&self, level: &str) {
        let level = Some(level.to_owned());
        // Replacing the value cannot panic half way.
        *self.log_level.write().unwrap_or_else(PoisonError::into_inner) = level;
    }

    /// The parameters with the hop's own `_meta`.
    pub(super) fn stamp(
        &self,
        params: Option<&Bytes>,
        own: &RequestMeta,
    ) -> Result<Bytes, SpliceError> {
        let params = params.map_or(&b"{}"[..], |params| &params[..]);
        let span = splice::find(params, &["_meta"])?;
        let mut meta = self.text(own);
        if let Some(span) = &span {
            keep_others(params, span.start, &mut meta)?;
        }
        meta.put_u8(b'}');
        match span {
            Some(span) => Ok(splice::replace_span(params, span, &meta)),
            None => splice::set(params, &["_meta"], &meta),
        }
    }

    /// Our members, without the closing brace.
    fn text(&self, own: &RequestMeta) -> BytesMut {
        let capabilities = own.capabilities.as_ref().unwrap_or(&self.capabilities);
        let client_info = own.client_info.as_ref().unwrap_or(&self.client_info);
        let mut meta = BytesMut::with_capacity(256 + capabilities.len() + client_info.len());
        meta.put_slice(b"{\"");
        meta.put_slice(VERSION_KEY.as_bytes());
        meta.put_slice(b"\":\"");
        meta.put_slice(Protocol::STATELESS.as_bytes());
        meta.put_u8(b'"');
        let level = own.log_level.as_deref().map(splice::quote).or_else(|| {
            let level = self.log_level.read().unwrap_or_else(PoisonError::into_inner);
            level.as_deref().map(splice::quote)
        });
        for (key, value) in [
            (CAPABILITIES_KEY, Some(capabilities)),
            (CLIENT_KEY, Some(client_info)),
            (LEVEL_KEY, level.as_ref()),
        ] {
            if let Some(value) = value {
                meta.put_slice(b",\"");
                meta.put_slice(key.as_bytes());
                meta.put_slice(b"\":");
                meta.put_slice(value);
            }
        }
        meta
    }
}

/// Copies the members of the object at `at` that do not belong to the hop.
fn keep_others(json: &[u8], at: usize, out: &mut BytesMut) -> Result<(), SpliceError> {
    const OURS: [&str; 4] = [VERSION_KEY, CAPABILITIES_KEY, CLIENT_KEY, LEVEL_KEY];
    scan::members(json, at, |member| {
        if !OURS.iter().any(|ours| member.is(json, ours)) {
            out.put_u8(b',');
            out.put_slice(&json[member.key.clone()]);
            out.put_u8(b':');
            out.put_slice(&json[member.value]);
        }
    })?;
    Ok(())
}

/// The headers that repeat a request's method and what it is about.
pub(super) fn headers(method: &str, params: Option<&[u8]>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(METHOD, value(method));
    let name = named_by(method).zip(params).and_then(|(key, params)| {
        // Parameters that cannot be read have no name; the server says what is wrong with them.
        splice::find_string(params, &[key]).ok().flatten()
    });
    if let Some(name) = name {
        headers.insert(NAME, value(&name));
    }
    headers
}

/// The member of the parameters that says what a request is about.
fn named_by(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

/// A text as the value of a header: what is not plain visible ASCII goes as Base64 of its UTF-8.
pub(super) fn value(text: &str) -> HeaderValue {
    let plain = !text.is_empty()
        && text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        && text.trim_ascii() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    let value = if plain {
        HeaderValue::from_str(text)
    } else {
        HeaderValue::from_str(&format!("=?base64?{}?=", STANDARD.encode(text)))
    };
    // Both forms are visible ASCII, which is always a legal value.
    value.unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stamped(params: Option<Value>, own: &RequestMeta) -> Value {
        let hop = Hop::new(&ClientOptions {
            capabilities: Bytes::from_static(b"{\"roots\":{}}"),
            client_info: Bytes::from_static(b"{\"name\":\"n\",\"version\":\"1\"}"),
            ..ClientOptions::default()
        });
        let params = params.map(|params| Bytes::from(params.to_string()));
        serde_json::from_slice(&hop.stamp(params.as_ref(), own).unwrap()).unwrap()
    }

    #[test]
    fn the_hops_own_keys_are_replaced_and_all_others_stay() {
        let params = json!({"name": "x", "_meta": {
            "progressToken": "t",
            VERSION_KEY: "2020-01-01",
            LEVEL_KEY: "debug",
            CAPABILITIES_KEY: {"sampling": {}},
            "traceparent": "00-1",
        }});
        let expected = json!({"name": "x", "_meta": {
            VERSION_KEY: "2026-07-28",
            CAPABILITIES_KEY: {"roots": {}},
            CLIENT_KEY: {"name": "n", "version": "1"},
            "progressToken": "t",
            "traceparent": "00-1",
        }});
        assert_eq!(stamped(Some(params), &RequestMeta::default()), expected);
    }

    #[test]
    fn what_a_request_says_of_itself_counts_more() {
        let own = RequestMeta {
            capabilities: Some(Bytes::from_static(b"{}")),
            client_info: Some(Bytes::from_static(b"{\"name\":\"me\"}")),
            log_level: Some("info".to_owned()),
        };
        let expected = json!({"_meta": {
            VERSION_KEY: "2026-07-28",
            CAPABILITIES_KEY: {},
            CLIENT_KEY: {"name": "me"},
            LEVEL_KEY: "info",
        }});
        assert_eq!(stamped(None, &own), expected);
        assert_eq!(stamped(Some(json!({"_meta": null})), &own), expected);
    }

    #[test]
    fn headers_repeat_the_method_and_the_name() {
        let made = headers("tools/call", Some(br#"{"name":"w\u00f6rld"}"#));
        assert_eq!(made[METHOD], "tools/call");
        assert_eq!(made[NAME], "=?base64?d8O2cmxk?=");
        let made = headers("resources/read", Some(br#"{"uri":"a:b","name":"x"}"#));
        assert_eq!(made[NAME], "a:b");
        assert_eq!(headers("tools/list", Some(br#"{"name":"x"}"#)).len(), 1);
    }

    #[test]
    fn a_value_that_a_header_would_change_is_encoded() {
        for plain in ["us-west1", "a b", "=?base64?x", "a\tb"] {
            assert_eq!(value(plain), plain);
        }
        for (text, encoded) in [
            ("", "=?base64??="),
            (" a", "=?base64?IGE=?="),
            ("a\r\nb", "=?base64?YQ0KYg==?="),
            ("=?base64?x?=", "=?base64?PT9iYXNlNjQ/eD89?="),
        ] {
            assert_eq!(value(text), encoded);
        }
    }
}
