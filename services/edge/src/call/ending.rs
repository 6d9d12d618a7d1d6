//! How a call ended: its outcome, what is recorded of it, and what the client is told.

use backplane::exchange::{Answer, OUTCOME_UNKNOWN};
use bus::BusError;
use bytes::Bytes;
use domain::ErrorCode;
use domain::call::CallOutcome;
use mcp::catalogue::Feature;
use mcp::envelope::{ErrorObject, code};
use mcp::server::Method;
use mcp::splice;
use proto::events::v1::CallOutcome as WireOutcome;
use proto::internal::v1::{ExchangeFailure, Finished, finished};

use super::{Call, Conduct, failure, micros};
use crate::record::{self, Arguments, Ending};

impl Call {
    /// Records how it ended and makes the answer.
    pub(super) async fn conclude(
        self,
        finished: Finished,
        before_us: u64,
        attempts: u32,
    ) -> Answer {
        let total_us = micros(self.arrived);
        let outcome = outcome(&finished);
        self.server().count(outcome);
        let arguments = arguments(&finished, outcome);
        let (answer, passed) = self.answer(&finished);
        let ending = Ending {
            outcome,
            error_code: finished.error_code,
            queue_us: before_us.saturating_add(finished.queue_us),
            upstream_us: finished.upstream_us,
            total_us,
            arguments,
            attempts,
            result_bytes: passed.len(),
            result_masked: finished.stored_result.is_some(),
            stored_result: finished.stored_result.unwrap_or(passed),
        };
        let now = (self.shared.clock)();
        match record::finish(&self.shared.journal, self.meta, ending, now).await {
            Err(_) if outcome != CallOutcome::NotStarted => Err(failure(
                ErrorCode::OutcomeUnrecorded.reason(),
                "the call ran, but its record could not be made durable: check its effect before \
                 calling again",
            )),
            _ => answer,
        }
    }

    /// The answer for the client, and what of it may be stored.
    fn answer(&self, finished: &Finished) -> (Answer, Bytes) {
        match &finished.answer {
            Some(finished::Answer::Result(result)) => {
                let exposed = self
                    .merged
                    .catalogue
                    .namespace(self.server)
                    .and_then(|space| space.expose_result(self.method.as_str(), result).ok());
                self.note_task(result);
                (Ok(exposed.unwrap_or_else(|| result.clone())), result.clone())
            }
            Some(finished::Answer::Error(error)) => {
                self.note_required_elicitations(error);
                let space = self.merged.catalogue.namespace(self.server);
                let exposed = space.and_then(|space| space.expose_error(error).ok());
                let exposed = exposed.unwrap_or_else(|| error.clone());
                let answer =
                    if self.is_missing_resource(error) { missing(exposed) } else { exposed };
                (Err(answer), error.clone())
            }
            Some(finished::Answer::Failure(said)) => {
                (Err(failure(&said.reason, &said.message)), Bytes::new())
            }
            None => {
                let said = "the worker gave no answer";
                (Err(failure(ErrorCode::Internal.reason(), said)), Bytes::new())
            }
        }
    }
}

impl Call {
    /// Whether a stateless server says that there is no such resource, in words that clients of
    /// sessions have another code for: wrong parameters, and the URI that was asked for.
    fn is_missing_resource(&self, error: &Bytes) -> bool {
        self.conduct == Conduct::Sessions
            && self.method == Method::ReadResource
            && ErrorObject::parse(error).code == code::INVALID_PARAMS
            && splice::find_string(error, &["data", "uri"])
                .is_ok_and(|uri| uri.as_deref() == Some(self.meta.subject.target.as_str()))
    }

    /// Notes whose a task is that the result says was made.
    fn note_task(&self, result: &Bytes) {
        let offers = |feature| self.merged.catalogue.offers(self.server, feature);
        if self.method != Method::CallTool
            || !(offers(Feature::Tasks) || offers(Feature::TasksExtension))
            || memchr::memmem::find(result, b"taskId").is_none()
        {
            return;
        }
        // As of 2025-11-25, and as the extension of the stateless era says it.
        for place in [&["task", "taskId"][..], &["taskId"]] {
            if let Ok(Some(id)) = splice::find_string(result, place) {
                self.shared.sessions.tasks.note(self.server().id, &id, self.meta.key);
            }
        }
    }
}

/// The error under the code that a missing resource has in sessions.
fn missing(error: Bytes) -> Bytes {
    let code = code::RESOURCE_NOT_FOUND.to_string();
    splice::replace(&error, &["code"], code.as_bytes()).ok().flatten().unwrap_or(error)
}

/// What may be stored of the arguments: what the worker left of them where it masked something;
/// where it had no connection, or did not answer, it looked at nothing.
fn arguments(finished: &Finished, outcome: CallOutcome) -> Arguments {
    if let Some(masked) = &finished.stored_arguments {
        return Arguments::Masked(masked.clone());
    }
    let is_failure = matches!(finished.answer, Some(finished::Answer::Failure(_)) | None);
    match outcome {
        CallOutcome::NotStarted | CallOutcome::Unknown | CallOutcome::Cancelled if is_failure => {
            Arguments::Withheld
        }
        _ => Arguments::AsSent,
    }
}

impl Call {
    /// The end of a call that no worker accepted.
    pub(super) fn untaken(&self, error: &BusError) -> Finished {
        let server = self.server();
        let view = self.shared.replica.read().connection(&server.id);
        let (code, message) = match (error, view.observation.cause.as_str()) {
            (BusError::NoResponders, "") => {
                (ErrorCode::UpstreamUnavailable, format!("{} is not connected", server.name))
            }
            (BusError::NoResponders, cause) => (
                ErrorCode::UpstreamUnavailable,
                format!("{} is not connected: {cause}", server.name),
            ),
            (BusError::Unavailable { .. }, _) => {
                (ErrorCode::Unavailable, "no worker can be reached now: retry later".to_owned())
            }
            (error, _) => {
                let message = format!("{} cannot be reached: {error}", server.name);
                (ErrorCode::UpstreamUnavailable, message)
            }
        };
        failed(WireOutcome::NotStarted, code.reason(), &message)
    }
}

/// An exchange that broke after a worker had it: it may have run.
pub(super) fn lost() -> Finished {
    let message = "the server's worker was lost: the call may have run";
    failed(WireOutcome::Unknown, OUTCOME_UNKNOWN, message)
}

/// The end of a call that went further before, and then did not start again.
pub(super) fn unknown(finished: Finished) -> Finished {
    let why = match &finished.answer {
        Some(finished::Answer::Failure(failure)) => failure.message.as_str(),
        _ => "it gave no answer",
    };
    let message = format!("the call may have run, and cannot go on: {why}");
    let unknown = failed(WireOutcome::Unknown, OUTCOME_UNKNOWN, &message);
    Finished { answer: unknown.answer, outcome: unknown.outcome, ..finished }
}

/// The end of a call that its client gave up before a worker had it.
pub(super) fn cancelled_unsent() -> Finished {
    failed(WireOutcome::Cancelled, "CANCELLED", "cancelled before a worker had it")
}

/// An end without an answer of the upstream.
pub(super) fn failed(outcome: WireOutcome, reason: &str, message: &str) -> Finished {
    let failure = ExchangeFailure { reason: reason.to_owned(), message: message.to_owned() };
    Finished {
        answer: Some(finished::Answer::Failure(failure)),
        outcome: outcome.into(),
        ..Finished::default()
    }
}

fn outcome(finished: &Finished) -> CallOutcome {
    match finished.outcome() {
        WireOutcome::Ok => CallOutcome::Ok,
        WireOutcome::ToolError => CallOutcome::ToolError,
        WireOutcome::UpstreamError => CallOutcome::UpstreamError,
        WireOutcome::Cancelled => CallOutcome::Cancelled,
        WireOutcome::Timeout => CallOutcome::Timeout,
        WireOutcome::NotStarted => CallOutcome::NotStarted,
        WireOutcome::Unspecified | WireOutcome::Unknown => CallOutcome::Unknown,
    }
}
