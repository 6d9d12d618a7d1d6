//! How an exchange ended, and the message that says so.

use std::time::Duration;

use backplane::exchange::{NOT_OWNED, OUTCOME_UNKNOWN};
use bytes::Bytes;
use domain::call::CallOutcome;
use mcp::ErrorObject;
use mcp::client::{Reply, RequestError, SendFailure};
use proto::events::v1::CallOutcome as StoredOutcome;
use proto::internal::v1::{ExchangeFailure, Finished, finished};

use crate::connection::cause;
use crate::mask::Masker;

/// The end of an exchange.
pub(super) struct Ended {
    pub(super) outcome: CallOutcome,
    pub(super) answer: finished::Answer,
    pub(super) error_code: i32,
    /// From the arrival to the hand-over.
    pub(super) queue: Duration,
    /// From the hand-over to the answer; `None` without an answer.
    pub(super) upstream: Option<Duration>,
    pub(super) stored_arguments: Option<Bytes>,
    pub(super) stored_result: Option<Bytes>,
}

impl Ended {
    /// It never reached the upstream.
    pub(super) fn refused(reason: &str, message: &str) -> Self {
        Self::failed(CallOutcome::NotStarted, reason, message.to_owned())
    }

    /// It never reached the upstream, for another worker is to do that.
    pub(super) fn not_owned() -> Self {
        Self::refused(NOT_OWNED, "another worker has taken the server over")
    }

    /// There is no answer.
    pub(super) fn failed(outcome: CallOutcome, reason: &str, message: String) -> Self {
        let failure = ExchangeFailure { reason: reason.to_owned(), message };
        Self {
            outcome,
            answer: finished::Answer::Failure(failure),
            error_code: 0,
            queue: Duration::ZERO,
            upstream: None,
            stored_arguments: None,
            stored_result: None,
        }
    }

    /// The upstream answered. A result passes as it is; what is stored of it is masked.
    pub(super) fn answered(reply: Reply, masker: &Masker, record: bool) -> Self {
        let base = Self::failed(CallOutcome::Ok, "", String::new());
        match reply {
            Reply::Result(result) => Self {
                outcome: if is_tool_error(&result) {
                    CallOutcome::ToolError
                } else {
                    CallOutcome::Ok
                },
                stored_result: record.then(|| masker.mask_json(&result)).flatten(),
                answer: finished::Answer::Result(result),
                ..base
            },
            Reply::Error(error) => {
                let error = masker.mask_json(&error).unwrap_or(error);
                let code = ErrorObject::parse(&error).code;
                Self {
                    outcome: CallOutcome::UpstreamError,
                    error_code: i32::try_from(code).unwrap_or(i32::MIN),
                    answer: finished::Answer::Error(error),
                    ..base
                }
            }
        }
    }

    /// The request failed.
    pub(super) fn unanswered(error: &RequestError, masker: &Masker) -> Self {
        let (outcome, reason) = match error {
            RequestError::NotSent(SendFailure::Busy) => {
                (CallOutcome::NotStarted, "RESOURCE_EXHAUSTED")
            }
            RequestError::NotSent(SendFailure::Parameters) => {
                (CallOutcome::NotStarted, "INVALID_ARGUMENT")
            }
            RequestError::NotSent(_) => (CallOutcome::NotStarted, "UPSTREAM_UNAVAILABLE"),
            RequestError::Timeout => (CallOutcome::Timeout, "UPSTREAM_TIMEOUT"),
            RequestError::Cancelled => (CallOutcome::Cancelled, "CANCELLED"),
            RequestError::InvalidResponse | RequestError::TooLarge(_) => {
                (CallOutcome::Unknown, "UPSTREAM_INVALID_RESPONSE")
            }
            RequestError::Unknown(_) => (CallOutcome::Unknown, OUTCOME_UNKNOWN),
        };
        Self::failed(outcome, reason, cause::request(error, masker))
    }

    /// The last frame.
    pub(super) fn into_message(self) -> Finished {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Finished {
            answer: Some(self.answer),
            outcome: stored(self.outcome).into(),
            error_code: self.error_code,
            queue_us: micros(self.queue),
            upstream_us: self.upstream.map_or(0, micros),
            stored_arguments: self.stored_arguments,
            stored_result: self.stored_result,
        }
    }
}

fn stored(outcome: CallOutcome) -> StoredOutcome {
    match outcome {
        CallOutcome::Ok => StoredOutcome::Ok,
        CallOutcome::ToolError => StoredOutcome::ToolError,
        CallOutcome::UpstreamError => StoredOutcome::UpstreamError,
        CallOutcome::Cancelled => StoredOutcome::Cancelled,
        CallOutcome::Timeout => StoredOutcome::Timeout,
        CallOutcome::NotStarted => StoredOutcome::NotStarted,
        CallOutcome::Unknown => StoredOutcome::Unknown,
    }
}

/// Whether a result says at its top that the tool failed. Most results do not even mention it:
/// then one search is all it costs.
fn is_tool_error(result: &Bytes) -> bool {
    memchr::memmem::find(result, b"\"isError\"").is_some()
        && mcp::splice::find(result, &["isError"])
            .is_ok_and(|span| span.is_some_and(|span| &result[span] == b"true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(reply: Reply) -> Finished {
        let masker = Masker::new(["canary-value"]).unwrap();
        Ended::answered(reply, &masker, true).into_message()
    }

    #[test]
    fn a_result_passes_as_it_is_and_is_stored_masked() {
        let result = Bytes::from_static(br#"{"content":[{"text":"canary-value"}], "x":1.0}"#);
        let finished = answered(Reply::Result(result.clone()));
        assert_eq!(finished.answer, Some(finished::Answer::Result(result)));
        let stored = finished.stored_result.as_ref().unwrap();
        assert_eq!(&stored[..], br#"{"content":[{"text":"***"}], "x":1.0}"#);
        assert_eq!(finished.outcome(), StoredOutcome::Ok);
    }

    #[test]
    fn nothing_is_stored_besides_where_nothing_is_masked() {
        let finished = answered(Reply::Result(Bytes::from_static(b"{\"content\":[]}")));
        assert_eq!(finished.stored_result, None);
    }

    #[test]
    fn only_is_error_at_the_top_is_a_tool_error() {
        for (result, outcome) in [
            (r#"{"isError":true}"#, StoredOutcome::ToolError),
            (r#"{"content":[], "isError" : true}"#, StoredOutcome::ToolError),
            (r#"{"isError":false}"#, StoredOutcome::Ok),
            (r#"{"content":[{"isError":true}]}"#, StoredOutcome::Ok),
            (r#"{"content":[{"text":"\"isError\":true"}]}"#, StoredOutcome::Ok),
        ] {
            let finished = answered(Reply::Result(Bytes::copy_from_slice(result.as_bytes())));
            assert_eq!(finished.outcome(), outcome, "{result}");
        }
    }

    #[test]
    fn an_error_of_the_upstream_is_masked_and_keeps_its_code() {
        let error = Bytes::from_static(br#"{"code":-32001,"message":"no canary-value"}"#);
        let finished = answered(Reply::Error(error));
        assert_eq!(finished.error_code, -32001);
        let Some(finished::Answer::Error(error)) = finished.answer else { panic!("no error") };
        assert_eq!(&error[..], br#"{"code":-32001,"message":"no ***"}"#);
    }

    #[test]
    fn a_failure_says_whether_it_may_have_run() {
        let unsent = RequestError::NotSent(SendFailure::Unreachable("refused".into()));
        let lost = RequestError::Unknown(SendFailure::Broken("reset".into()));
        for (error, outcome, reason) in [
            (unsent, StoredOutcome::NotStarted, "UPSTREAM_UNAVAILABLE"),
            (lost, StoredOutcome::Unknown, "OUTCOME_UNKNOWN"),
            (RequestError::Timeout, StoredOutcome::Timeout, "UPSTREAM_TIMEOUT"),
            (RequestError::Cancelled, StoredOutcome::Cancelled, "CANCELLED"),
        ] {
            let finished = Ended::unanswered(&error, &Masker::default()).into_message();
            assert_eq!(finished.outcome(), outcome);
            let Some(finished::Answer::Failure(failure)) = finished.answer else { panic!() };
            assert_eq!(failure.reason, reason);
        }
    }

    #[test]
    fn of_a_failure_only_the_words_of_others_are_masked() {
        let masker = Masker::new(["answer", "broke", "canary-value"]).unwrap();
        let message = |error: &RequestError| match Ended::unanswered(error, &masker).answer {
            finished::Answer::Failure(failure) => failure.message,
            other => panic!("{other:?}"),
        };
        assert_eq!(message(&RequestError::Timeout), "no answer in time");
        let lost = RequestError::Unknown(SendFailure::Broken("with canary-value".into()));
        assert_eq!(message(&lost), "the connection broke: with ***");
    }
}
