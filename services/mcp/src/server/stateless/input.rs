//! Asking a client for input within a result, and reading what it brings with its next try.

use bytes::{BufMut, Bytes, BytesMut};

use crate::scan;
use crate::splice::{self, SpliceError};

/// Something a client is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRequest {
    /// Under which its answer comes.
    pub key: String,
    /// `elicitation/create`, `sampling/createMessage` or `roots/list`.
    pub method: String,
    /// Raw parameters, an object; empty for none.
    pub params: Bytes,
}

/// The raw result that asks for input; `state` comes back with the answers.
#[must_use]
pub fn input_required(requests: &[InputRequest], state: &str, server_info: &[u8]) -> Bytes {
    let requests = input_requests(requests);
    let mut out = BytesMut::with_capacity(requests.len() + state.len() + server_info.len() + 128);
    out.put_slice(b"{\"resultType\":\"input_required\",\"inputRequests\":");
    out.put_slice(&requests);
    out.put_slice(b",\"requestState\":");
    out.put_slice(&splice::quote(state));
    out.put_slice(b",\"_meta\":{\"");
    out.put_slice(super::key::SERVER_INFO.as_bytes());
    out.put_slice(b"\":");
    out.put_slice(server_info);
    out.put_slice(b"}}");
    out.freeze()
}

/// The raw object of what is asked, under its keys.
#[must_use]
pub fn input_requests(requests: &[InputRequest]) -> Bytes {
    let size: usize = requests.iter().map(|request| request.params.len() + 96).sum();
    let mut out = BytesMut::with_capacity(size + 2);
    out.put_u8(b'{');
    for (index, request) in requests.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        out.put_slice(&splice::quote(&request.key));
        out.put_slice(b":{\"method\":");
        out.put_slice(&splice::quote(&request.method));
        out.put_slice(b",\"params\":");
        out.put_slice(if request.params.is_empty() { b"{}" } else { &request.params });
        out.put_u8(b'}');
    }
    out.put_u8(b'}');
    out.freeze()
}

/// What a client brought cannot be taken as answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResponses {
    /// `inputResponses` is not an object, or says a key twice.
    #[error("inputResponses is not an object of answers")]
    NotAnObject,
    /// One of them is not what its request asked for.
    #[error("an input response does not fit its request")]
    Unfitting,
}

/// The raw answers by their keys, in the order of the text; empty where there are none.
///
/// # Errors
/// [`InvalidResponses::NotAnObject`].
pub fn input_responses(params: &Bytes) -> Result<Vec<(String, Bytes)>, InvalidResponses> {
    let wrong = InvalidResponses::NotAnObject;
    let span = splice::find(params, &["inputResponses"]).map_err(|_| wrong)?;
    let Some(span) = span else {
        return Ok(Vec::new());
    };
    let mut found: Vec<(String, Bytes)> = Vec::new();
    let mut legal = true;
    let end = scan::members(params, span.start, |member| {
        let key = scan::string(&params[member.key.clone()]).map(std::borrow::Cow::into_owned);
        let Some(key) = key.filter(|key| found.iter().all(|(known, _)| known != key)) else {
            legal = false;
            return;
        };
        found.push((key, params.slice(member.value)));
    });
    match end {
        Ok(Some(_)) if legal => Ok(found),
        _ => Err(wrong),
    }
}

/// Whether a raw answer can be one to `method`.
///
/// # Errors
/// [`InvalidResponses::Unfitting`].
pub fn check_response(method: &str, answer: &[u8]) -> Result<(), InvalidResponses> {
    let text = |key| splice::find_string(answer, &[key]).ok().flatten();
    let starts = |key, first: &[u8]| {
        let span = splice::find(answer, &[key]).ok().flatten();
        span.is_some_and(|span| first.contains(&answer[span.start]))
    };
    let fits = match method {
        "elicitation/create" => {
            let known = ["accept", "decline", "cancel"];
            text("action").is_some_and(|action| known.contains(&action.as_ref()))
        }
        "sampling/createMessage" => {
            text("role").is_some() && text("model").is_some() && starts("content", b"{[")
        }
        "roots/list" => starts("roots", b"["),
        _ => false,
    };
    if fits { Ok(()) } else { Err(InvalidResponses::Unfitting) }
}

/// Parameters without what belongs to this revision's rounds, for an upstream of an older one.
///
/// # Errors
/// As [`splice::find`].
pub fn without_input(params: &Bytes) -> Result<Bytes, SpliceError> {
    let mut params = params.clone();
    for key in ["inputResponses", "requestState"] {
        if memchr::memmem::find(&params, key.as_bytes()).is_some()
            && let Some(without) = splice::remove(&params, &[key])?
        {
            params = without;
        }
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_result_asks_under_keys_and_answers_come_back_under_them() {
        let request = |key: &str, method: &str, params: &'static str| InputRequest {
            key: key.to_owned(),
            method: method.to_owned(),
            params: params.into(),
        };
        let requests = [
            request("a\"", "elicitation/create", r#"{"message":"m"}"#),
            request("b", "roots/list", ""),
        ];
        let asked = input_required(&requests, "s", br#"{"name":"m"}"#);
        let asked: Value = serde_json::from_slice(&asked).unwrap();
        let expected = json!({
            "resultType": "input_required", "requestState": "s",
            "inputRequests": {
                "a\"": {"method": "elicitation/create", "params": {"message": "m"}},
                "b": {"method": "roots/list", "params": {}},
            },
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "m"}},
        });
        assert_eq!(asked, expected);

        let read = |params: &'static str| input_responses(&params.into());
        assert_eq!(read("{}"), Ok(vec![]));
        let answers = read(r#"{"inputResponses":{ "a\"" : {"x":1}, "b":2 }}"#).unwrap();
        let answers: Vec<_> = answers.iter().map(|(key, raw)| (key.as_str(), &raw[..])).collect();
        assert_eq!(answers, [("a\"", br#"{"x":1}"#.as_slice()), ("b", b"2")]);
        for wrong in [
            r#"{"inputResponses":null}"#,
            r#"{"inputResponses":[]}"#,
            r#"{"inputResponses":{"a":1,"\u0061":2}}"#,
        ] {
            assert_eq!(read(wrong), Err(InvalidResponses::NotAnObject), "{wrong}");
        }
    }

    #[test]
    fn an_answer_must_fit_its_request() {
        let fits = |method, answer: &str| check_response(method, answer.as_bytes()).is_ok();
        assert!(fits("elicitation/create", r#"{"action":"decline"}"#));
        assert!(!fits("elicitation/create", r#"{"action":"maybe"}"#));
        assert!(!fits("elicitation/create", "12345"));
        let sampled = r#"{"role":"assistant","model":"m","content":{"type":"text"}}"#;
        assert!(fits("sampling/createMessage", sampled));
        assert!(!fits("sampling/createMessage", r#"{"role":"assistant","model":"m"}"#));
        assert!(fits("roots/list", r#"{"roots":[]}"#));
        assert!(!fits("roots/list", r#"{"roots":{}}"#));
        assert!(!fits("tools/call", "{}"));
    }

    #[test]
    fn an_older_upstream_does_not_get_what_it_does_not_know() {
        let params = r#"{"inputResponses":{},"name":"n","requestState":"s"}"#.into();
        assert_eq!(without_input(&params).unwrap(), r#"{"name":"n"}"#);
    }
}
