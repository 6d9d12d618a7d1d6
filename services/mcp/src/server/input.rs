//! What an upstream of the stateless era requires before it goes on with a request: a result with
//! `resultType: "input_required"`.

use bytes::{BufMut, Bytes, BytesMut};

use crate::scan;
use crate::splice::{self, SpliceError};

/// A result that is none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRequired {
    /// What is asked of the client, in the order of the text.
    pub requests: Vec<InputRequest>,
    /// The raw state that the next request has to bring along.
    pub state: Option<Bytes>,
}

/// One thing that is asked of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRequest {
    /// The upstream's name for it: a raw JSON string.
    pub key: Bytes,
    /// What it is, e.g. `elicitation/create`.
    pub method: String,
    /// Its raw parameters.
    pub params: Option<Bytes>,
}

impl InputRequired {
    /// Reads a raw result; `None` if it is complete.
    ///
    /// # Errors
    /// As [`splice::find`]; [`SpliceError::NotAnObject`] where the requests are of another shape.
    pub fn parse(result: &Bytes) -> Result<Option<Self>, SpliceError> {
        // Most results have no such text, and need no look through their members.
        if memchr::memmem::find(result, b"input_required").is_none() {
            return Ok(None);
        }
        let kind = splice::find_string(result, &["resultType"])?;
        if kind.as_deref() != Some("input_required") {
            return Ok(None);
        }
        let mut requests = Vec::new();
        if let Some(asked) = splice::slice(result, &["inputRequests"])? {
            let mut spans = Vec::new();
            scan::members(&asked, 0, |member| spans.push((member.key, member.value)))?
                .ok_or(SpliceError::NotAnObject)?;
            for (key, value) in spans {
                let request = asked.slice(value);
                let method = splice::find_string(&request, &["method"])?;
                requests.push(InputRequest {
                    key: asked.slice(key),
                    method: method.ok_or(SpliceError::NotAnObject)?.into_owned(),
                    params: splice::slice(&request, &["params"])?,
                });
            }
        }
        let state = splice::slice(result, &["requestState"])?;
        Ok(Some(Self { requests, state }))
    }

    /// The parameters of the next request: those of the one before with the client's results, each
    /// under its raw key, and with the state.
    ///
    /// # Errors
    /// As [`splice::set`].
    pub fn next_params<'a>(
        &self,
        params: &Bytes,
        results: impl Iterator<Item = (&'a Bytes, &'a Bytes)>,
    ) -> Result<Bytes, SpliceError> {
        let mut responses = BytesMut::new();
        for (key, result) in results {
            responses.put_u8(if responses.is_empty() { b'{' } else { b',' });
            responses.put_slice(key);
            responses.put_u8(b':');
            responses.put_slice(result);
        }
        let mut next = match responses.is_empty() {
            true => splice::remove(params, &["inputResponses"])?.unwrap_or_else(|| params.clone()),
            false => {
                responses.put_u8(b'}');
                splice::set(params, &["inputResponses"], &responses)?
            }
        };
        next = match &self.state {
            Some(state) => splice::set(&next, &["requestState"], state)?,
            None => splice::remove(&next, &["requestState"])?.unwrap_or(next),
        };
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Result<Option<InputRequired>, SpliceError> {
        InputRequired::parse(&Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn what_is_required_goes_back_under_its_own_key() {
        let required = parse(
            r#"{"resultType":"input_required","requestState":"s\u0031","inputRequests":{
              "a\"b":{"method":"elicitation/create","params":{"message":"m"}},"c":{"method":"roots/list"}}}"#,
        );
        let required = required.unwrap().unwrap();
        let methods: Vec<_> = required.requests.iter().map(|asked| asked.method.as_str()).collect();
        assert_eq!(methods, ["elicitation/create", "roots/list"]);
        assert_eq!(required.requests[0].params.as_deref(), Some(br#"{"message":"m"}"#.as_slice()));
        let (one, two) = (Bytes::from_static(b"{\"action\":1.0}"), Bytes::from_static(b"{}"));
        let results = required.requests.iter().map(|asked| &asked.key).zip([&one, &two]);
        let before = Bytes::from_static(br#"{"name":"t","requestState":"old"}"#);
        let next = required.next_params(&before, results).unwrap();
        // Values as they are, wherever the members stand.
        let has = |text: &str| String::from_utf8_lossy(&next).contains(text);
        assert!(has(r#""requestState":"s\u0031""#), "{next:?}");
        assert!(has(r#""inputResponses":{"a\"b":{"action":1.0},"c":{}}"#), "{next:?}");
        let value: serde_json::Value = serde_json::from_slice(&next).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 3);
        assert_eq!(value["name"], "t");
    }

    #[test]
    fn a_round_without_requests_brings_the_state_alone() {
        let required = parse(r#"{"resultType":"input_required","requestState":"s"}"#);
        let required = required.unwrap().unwrap();
        let before = Bytes::from_static(br#"{"inputResponses":{"a":1},"name":"t"}"#);
        let next = required.next_params(&before, std::iter::empty()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&next).unwrap();
        assert_eq!(value, serde_json::json!({"name": "t", "requestState": "s"}));
    }

    #[test]
    fn other_results_are_complete_and_a_wrong_shape_is_refused() {
        assert_eq!(parse(r#"{"content":["input_required"]}"#), Ok(None));
        assert_eq!(parse(r#"{"resultType":"complete","x":"input_required"}"#), Ok(None));
        let wrong = parse(r#"{"resultType":"input_required","inputRequests":[1]}"#);
        assert_eq!(wrong, Err(SpliceError::NotAnObject));
        let nameless = parse(r#"{"resultType":"input_required","inputRequests":{"a":{}}}"#);
        assert_eq!(nameless, Err(SpliceError::NotAnObject));
    }
}
