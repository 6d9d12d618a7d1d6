//! Calls.

use domain::call::{CallFinished, CallOutcome, CallStarted, CallSubject};
use domain::event::CallEvent;
use domain::{ApiKeyId, Event, Timestamp};
use proto::events::v1;

use super::{InvalidField, id};

/// The stored name of an outcome.
pub const fn outcome(outcome: CallOutcome) -> v1::CallOutcome {
    match outcome {
        CallOutcome::Ok => v1::CallOutcome::Ok,
        CallOutcome::ToolError => v1::CallOutcome::ToolError,
        CallOutcome::UpstreamError => v1::CallOutcome::UpstreamError,
        CallOutcome::Cancelled => v1::CallOutcome::Cancelled,
        CallOutcome::Timeout => v1::CallOutcome::Timeout,
        CallOutcome::NotStarted => v1::CallOutcome::NotStarted,
        CallOutcome::Unknown => v1::CallOutcome::Unknown,
    }
}

/// The outcome of that number; none for the unspecified one and for what is not known.
pub fn read_outcome(stored: i32) -> Option<CallOutcome> {
    match v1::CallOutcome::try_from(stored).ok()? {
        v1::CallOutcome::Unspecified => None,
        v1::CallOutcome::Ok => Some(CallOutcome::Ok),
        v1::CallOutcome::ToolError => Some(CallOutcome::ToolError),
        v1::CallOutcome::UpstreamError => Some(CallOutcome::UpstreamError),
        v1::CallOutcome::Cancelled => Some(CallOutcome::Cancelled),
        v1::CallOutcome::Timeout => Some(CallOutcome::Timeout),
        v1::CallOutcome::NotStarted => Some(CallOutcome::NotStarted),
        v1::CallOutcome::Unknown => Some(CallOutcome::Unknown),
    }
}

fn api_key(key: Option<ApiKeyId>) -> String {
    key.map(|key| key.to_string()).unwrap_or_default()
}

fn read_api_key(text: &str) -> Result<Option<ApiKeyId>, InvalidField> {
    if text.is_empty() { Ok(None) } else { id("api_key", text).map(Some) }
}

/// The stored form of [`CallEvent::Started`].
pub fn call_started(event: &CallStarted) -> v1::CallStarted {
    let subject = &event.subject;
    v1::CallStarted {
        project: subject.project.to_string(),
        server: subject.server.to_string(),
        server_name: subject.server_name.clone(),
        method: subject.method.clone(),
        target: subject.target.clone(),
        api_key: api_key(subject.api_key),
        started_at_us: subject.started_at.as_micros(),
        edge: event.edge.clone(),
    }
}

/// The event that [`call_started`] made.
///
/// # Errors
/// Names the field that no such event can have.
pub fn read_call_started(stored: v1::CallStarted) -> Result<Event, InvalidField> {
    Ok(Event::Call(CallEvent::Started(CallStarted {
        subject: CallSubject {
            project: id("project", &stored.project)?,
            server: id("server", &stored.server)?,
            server_name: stored.server_name,
            method: stored.method,
            target: stored.target,
            api_key: read_api_key(&stored.api_key)?,
            started_at: Timestamp::from_micros(stored.started_at_us),
        },
        edge: stored.edge,
    })))
}

/// The stored form of [`CallEvent::Finished`].
pub fn call_finished(event: &CallFinished) -> v1::CallFinished {
    let subject = &event.subject;
    v1::CallFinished {
        project: subject.project.to_string(),
        server: subject.server.to_string(),
        server_name: subject.server_name.clone(),
        method: subject.method.clone(),
        target: subject.target.clone(),
        api_key: api_key(subject.api_key),
        outcome: outcome(event.outcome).into(),
        error_code: event.error_code,
        started_at_us: subject.started_at.as_micros(),
        queue_us: event.queue_us,
        upstream_us: event.upstream_us,
        total_us: event.total_us,
        arguments_bytes: event.arguments_bytes,
        result_bytes: event.result_bytes,
        arguments_digest: event.arguments_digest.clone(),
        result_digest: event.result_digest.clone(),
        body_truncated: event.body_truncated,
        body_masked: event.body_masked,
        client: event.client.clone(),
        mcp_session: event.mcp_session.clone(),
        attempts: event.attempts,
    }
}

/// The event that [`call_finished`] made.
///
/// # Errors
/// Names the field that no such event can have.
pub fn read_call_finished(stored: v1::CallFinished) -> Result<Event, InvalidField> {
    Ok(Event::Call(CallEvent::Finished(CallFinished {
        subject: CallSubject {
            project: id("project", &stored.project)?,
            server: id("server", &stored.server)?,
            server_name: stored.server_name,
            method: stored.method,
            target: stored.target,
            api_key: read_api_key(&stored.api_key)?,
            started_at: Timestamp::from_micros(stored.started_at_us),
        },
        outcome: read_outcome(stored.outcome).ok_or(InvalidField::missing("outcome"))?,
        error_code: stored.error_code,
        queue_us: stored.queue_us,
        upstream_us: stored.upstream_us,
        total_us: stored.total_us,
        arguments_bytes: stored.arguments_bytes,
        result_bytes: stored.result_bytes,
        arguments_digest: stored.arguments_digest,
        result_digest: stored.result_digest,
        body_truncated: stored.body_truncated,
        body_masked: stored.body_masked,
        client: stored.client,
        mcp_session: stored.mcp_session,
        attempts: stored.attempts,
    })))
}
