//! Results as a stateless client must get them: with their type, our name and how long they may
//! be kept. All other bytes stay as the upstream wrote them.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::discover::{CacheHint, CacheScope};
use super::key;
use crate::scan;
use crate::splice::{self, SpliceError};

/// What kind of result it is, by `resultType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultType {
    /// The whole answer; also of results that say nothing, which older revisions send.
    Complete,
    /// The client is asked for more.
    InputRequired,
    /// A task was made that gives the answer later.
    Task,
    /// A type that this revision does not have.
    Other,
}

/// The type of a raw result.
///
/// # Errors
/// As [`splice::find`].
pub fn result_type(result: &[u8]) -> Result<ResultType, SpliceError> {
    if memchr::memmem::find(result, b"resultType").is_none() {
        return Ok(ResultType::Complete);
    }
    let Some(span) = splice::find(result, &["resultType"])? else {
        return Ok(ResultType::Complete);
    };
    Ok(match splice::unquote(&result[span]).as_deref() {
        Some("complete") => ResultType::Complete,
        Some("input_required") => ResultType::InputRequired,
        Some("task") => ResultType::Task,
        _ => ResultType::Other,
    })
}

/// The opaque state that a result wants back.
///
/// # Errors
/// As [`splice::find`].
pub fn requested_state(result: &[u8]) -> Result<Option<String>, SpliceError> {
    Ok(splice::find_string(result, &["requestState"])?.map(std::borrow::Cow::into_owned))
}

#[derive(Default)]
struct Found {
    result_type: bool,
    ttl: Option<Range<usize>>,
    scope: Option<Range<usize>>,
    meta: Option<Range<usize>>,
    is_empty: bool,
    repeated: bool,
}

/// The result with `resultType` where it says none, with a legal `ttlMs` and `cacheScope` if
/// `cache` is given (the upstream's own where they are legal and not more than allowed), and with
/// `server_info` (raw) as who answered.
///
/// # Errors
/// [`SpliceError::NotAnObject`] if the result is none, and as [`splice::find`].
pub fn complete(
    result: &Bytes,
    cache: Option<CacheHint>,
    server_info: &[u8],
) -> Result<Bytes, SpliceError> {
    let document = scan::document(result)?;
    let found = look(result, document.start)?;
    let mut head = BytesMut::with_capacity(160 + server_info.len());
    let mut edits: Vec<(Range<usize>, Bytes)> = Vec::with_capacity(4);
    if !found.result_type {
        head.put_slice(b"\"resultType\":\"complete\",");
    }
    if let Some(cache) = cache {
        let is_count = |span: &Range<usize>| {
            let text = std::str::from_utf8(&result[span.clone()]).unwrap_or_default();
            text.parse::<u64>().is_ok()
        };
        match &found.ttl {
            Some(span) if is_count(span) => {}
            Some(span) => edits.push((span.clone(), cache.ttl_ms.to_string().into())),
            None => {
                head.put_slice(b"\"ttlMs\":");
                head.put_slice(cache.ttl_ms.to_string().as_bytes());
                head.put_u8(b',');
            }
        }
        // What is private for us is not made public by what an upstream says of its own.
        let is_kept = |span: &Range<usize>| {
            let said = &result[span.clone()];
            said == CacheScope::Private.as_json() || said == cache.scope.as_json()
        };
        match &found.scope {
            Some(span) if is_kept(span) => {}
            Some(span) => edits.push((span.clone(), Bytes::from_static(cache.scope.as_json()))),
            None => {
                head.put_slice(b"\"cacheScope\":");
                head.put_slice(cache.scope.as_json());
                head.put_u8(b',');
            }
        }
    }
    match &found.meta {
        None => {
            head.put_slice(b"\"_meta\":{\"");
            head.put_slice(key::SERVER_INFO.as_bytes());
            head.put_slice(b"\":");
            head.put_slice(server_info);
            head.put_slice(b"},");
        }
        Some(span) if result[span.start] == b'{' => {
            let meta = result.slice(span.clone());
            edits.push((span.clone(), splice::set(&meta, &[key::SERVER_INFO], server_info)?));
        }
        // What is no object was wrong before it came to us.
        Some(_) => {}
    }
    if found.is_empty {
        head.truncate(head.len().saturating_sub(1));
    }
    let at = document.start + 1;
    edits.push((at..at, head.freeze()));
    edits.sort_by_key(|(span, _)| span.start);
    Ok(splice::replace_spans(result, &edits))
}

fn look(result: &[u8], at: usize) -> Result<Found, SpliceError> {
    let mut found = Found { is_empty: true, ..Found::default() };
    let end = scan::members(result, at, |member| {
        found.is_empty = false;
        if member.is(result, "resultType") {
            found.repeated |= found.result_type;
            found.result_type = true;
            return;
        }
        let place = if member.is(result, "ttlMs") {
            &mut found.ttl
        } else if member.is(result, "cacheScope") {
            &mut found.scope
        } else if member.is(result, "_meta") {
            &mut found.meta
        } else {
            return;
        };
        found.repeated |= place.is_some();
        *place = Some(member.value);
    })?;
    if end.is_none() {
        return Err(SpliceError::NotAnObject);
    }
    if found.repeated { Err(SpliceError::Ambiguous) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const INFO: &[u8] = br#"{"name":"m"}"#;
    const HINT: CacheHint = CacheHint { ttl_ms: 9, scope: CacheScope::Private };

    fn completed(result: &str, cache: Option<CacheHint>) -> Value {
        let bytes = complete(&Bytes::copy_from_slice(result.as_bytes()), cache, INFO).unwrap();
        serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("{bytes:?}"))
    }

    #[test]
    fn what_is_missing_is_put_in_and_what_is_there_stays() {
        let meta = json!({"io.modelcontextprotocol/serverInfo": {"name": "m"}});
        assert_eq!(completed("{}", None), json!({"resultType": "complete", "_meta": meta}));
        let read = completed(r#"{ "contents":[] }"#, Some(HINT));
        let expected = json!({
            "resultType": "complete", "ttlMs": 9, "cacheScope": "private", "contents": [],
            "_meta": meta,
        });
        assert_eq!(read, expected);
        let kept = r#"{"cacheScope":"public","ttlMs":3,"resultType":"task","_meta":{"a":1,"io.modelcontextprotocol/serverInfo":{"name":"up"}}}"#;
        let kept = completed(kept, Some(HINT));
        assert_eq!((&kept["ttlMs"], &kept["cacheScope"]), (&json!(3), &json!("private")));
        assert_eq!((&kept["resultType"], &kept["_meta"]["a"]), (&json!("task"), &json!(1)));
        assert_eq!(kept["_meta"]["io.modelcontextprotocol/serverInfo"], json!({"name": "m"}));
        let public = CacheHint { scope: CacheScope::Public, ..HINT };
        assert_eq!(completed(r#"{"cacheScope":"public"}"#, Some(public))["cacheScope"], "public");
        assert_eq!(completed(r#"{"cacheScope":"private"}"#, Some(public))["cacheScope"], "private");
        let wrong = completed(r#"{"ttlMs":-1.5,"cacheScope":"all","_meta":null}"#, Some(HINT));
        assert_eq!((&wrong["ttlMs"], &wrong["cacheScope"]), (&json!(9), &json!("private")));
        assert_eq!(complete(&"[]".into(), None, INFO), Err(SpliceError::NotAnObject));
        let twice = r#"{"ttlMs":1,"ttlMs":2}"#.into();
        assert_eq!(complete(&twice, None, INFO), Err(SpliceError::Ambiguous));
    }

    #[test]
    fn the_type_of_a_result_is_read_at_its_top_only() {
        let kind = |result: &str| result_type(result.as_bytes()).unwrap();
        assert_eq!(kind("{}"), ResultType::Complete);
        assert_eq!(kind(r#"{"a":{"resultType":"task"}}"#), ResultType::Complete);
        assert_eq!(kind(r#"{"resultType":"input_required"}"#), ResultType::InputRequired);
        assert_eq!(kind(r#"{"resultType":"task"}"#), ResultType::Task);
        assert_eq!(kind(r#"{"resultType":7}"#), ResultType::Other);
        let asks = br#"{"requestState":"x\u0041"}"#;
        assert_eq!(requested_state(asks).unwrap().as_deref(), Some("xA"));
    }

    proptest! {
        /// Numbers keep their spelling, keys their order, whitespace its place.
        #[test]
        fn all_other_bytes_survive(
            space in "[ \t\n]{0,3}",
            number in "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
            text in "\\PC{0,20}",
        ) {
            let text = splice::quote(&text);
            let text = std::str::from_utf8(&text).unwrap();
            let rest = format!(r#"{space}"structuredContent"{space}:{{"a":{number},{space}"b":{text}}}{space}}}"#);
            let result = Bytes::from(format!("{{{rest}"));
            let done = complete(&result, Some(HINT), INFO).unwrap();
            prop_assert!(done.ends_with(rest.as_bytes()), "{:?}", done);
        }
    }
}
