//! Checking that an answer is the one that was asked for.

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::Error;

/// What the text of an echo must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// The message, as text and as structured content.
    Exact,
    /// A text that contains the message.
    Contains,
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    result: Option<CallResult<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallResult<'a> {
    #[serde(borrow, default)]
    content: Vec<Content<'a>>,
    #[serde(borrow)]
    structured_content: Option<Structured<'a>>,
    #[serde(default)]
    is_error: bool,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Structured<'a> {
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

/// Whether `text` is the answer to the request `id`, and not a notification before it.
pub(crate) fn answers(text: &[u8], id: u64) -> bool {
    #[derive(Deserialize)]
    struct Head {
        id: Option<u64>,
    }
    serde_json::from_slice::<Head>(text).is_ok_and(|head| head.id == Some(id))
}

/// Checks an answer to an echo of `message`.
pub(crate) fn check(
    text: &[u8],
    id: u64,
    message: &str,
    expectation: Expectation,
) -> Result<(), Error> {
    let right = match serde_json::from_slice::<Answer<'_>>(text) {
        Ok(Answer { id: Some(answered), result: Some(result) }) => {
            answered == id && !result.is_error && says(&result, message, expectation)
        }
        _ => false,
    };
    if right {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&text[..text.len().min(500)]);
    Err(Error::unexpected(format!("wrong answer to call {id} ({message}): {text}")))
}

fn says(result: &CallResult<'_>, message: &str, expectation: Expectation) -> bool {
    match expectation {
        Expectation::Exact => {
            let [content] = result.content.as_slice() else {
                return false;
            };
            content.text == message
                && result.structured_content.as_ref().is_some_and(|it| it.message == message)
        }
        Expectation::Contains => {
            result.content.iter().any(|content| content.text.contains(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u64, text: &str, structured: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}],"structuredContent":{{"message":"{structured}"}}}}}}"#
        )
    }

    #[test]
    fn only_the_asked_answer_is_right() {
        let check = |text: &str| check(text.as_bytes(), 7, "m", Expectation::Exact).is_ok();
        assert!(check(&answer(7, "m", "m")));
        assert!(!check(&answer(8, "m", "m")), "another id");
        assert!(!check(&answer(7, "n", "m")), "another text");
        assert!(!check(&answer(7, "m", "n")), "another structure");
        assert!(!check(r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"m"}}"#));
        assert!(!check("m"));
    }

    #[test]
    fn an_error_result_is_wrong_whatever_it_says() {
        let text = r#"{"id":7,"result":{"isError":true,"content":[{"type":"text","text":"m"}]}}"#;
        assert!(check(text.as_bytes(), 7, "m", Expectation::Contains).is_err());
    }
}
