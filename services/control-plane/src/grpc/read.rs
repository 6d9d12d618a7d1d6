//! Reading requests: the rules of fields, in one place.

use domain::call::CallOutcome;
use domain::project::{AuditMode, Naming, RetryPolicy, ToolPinning};
use domain::{ApiKeyId, CallId, ProjectId, Refusal, Role, ServerId, Timestamp, UserId};
use proto::control::v1 as pb;

use crate::app::Paging;

/// Longest text of a filter, in bytes.
const MAX_FILTER: usize = 512;

/// An id of a project. A text that is none is as unknown as any.
pub(super) fn project(text: &str) -> Result<ProjectId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("project"))
}

/// A wanted id of a new project.
pub(super) fn wanted_project(text: &str) -> Result<Option<ProjectId>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = |_| Refusal::invalid("project_id", "must match [A-Za-z0-9_-]{1,64}");
    text.parse().map(Some).map_err(invalid)
}

/// An id of a server.
pub(super) fn server(text: &str) -> Result<ServerId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("server"))
}

/// An id of a key.
pub(super) fn api_key(text: &str) -> Result<ApiKeyId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("API key"))
}

/// An id of a call.
pub(super) fn call(text: &str) -> Result<CallId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("call"))
}

/// An id of a user.
pub(super) fn user(text: &str) -> Result<UserId, Refusal> {
    text.parse().map_err(|_| Refusal::not_found("user"))
}

/// An id in a filter, or none.
pub(super) fn filter_id<T: std::str::FromStr>(
    field: &str,
    text: &str,
) -> Result<Option<T>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Refusal::invalid(field, "is no id"))
}

/// A text in a filter, or none.
pub(super) fn filter_text(field: &str, text: String) -> Result<Option<String>, Refusal> {
    if text.len() > MAX_FILTER {
        return Err(Refusal::invalid(field, "must have at most 512 bytes"));
    }
    Ok((!text.is_empty()).then_some(text))
}

/// A page.
pub(super) fn paging(size: u32, token: &str) -> Result<Paging, Refusal> {
    Paging::new(size, token)
}

/// A key of a command, or none.
pub(super) fn key(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A role that must be given.
pub(super) fn role(value: i32) -> Result<Role, Refusal> {
    optional_role(value)?.ok_or_else(|| Refusal::invalid("role", "must be given"))
}

/// A role, or none.
pub(super) fn optional_role(value: i32) -> Result<Option<Role>, Refusal> {
    match pb::Role::try_from(value) {
        Ok(pb::Role::Unspecified) => Ok(None),
        Ok(pb::Role::Owner) => Ok(Some(Role::Owner)),
        Ok(pb::Role::Developer) => Ok(Some(Role::Developer)),
        Ok(pb::Role::Reporter) => Ok(Some(Role::Reporter)),
        Err(_) => Err(Refusal::invalid("role", "is unknown")),
    }
}

/// An audit mode that must be given.
pub(super) fn audit_mode(value: i32) -> Result<AuditMode, Refusal> {
    match pb::AuditMode::try_from(value) {
        Ok(pb::AuditMode::Buffered) => Ok(AuditMode::Buffered),
        Ok(pb::AuditMode::Acknowledged) => Ok(AuditMode::Acknowledged),
        Ok(pb::AuditMode::Strict) => Ok(AuditMode::Strict),
        _ => Err(Refusal::invalid("project.audit_mode", "must be given")),
    }
}

/// A way to make names that must be given.
pub(super) fn naming(value: i32) -> Result<Naming, Refusal> {
    match pb::Naming::try_from(value) {
        Ok(pb::Naming::Prefixed) => Ok(Naming::Prefixed),
        Ok(pb::Naming::PlainWhenSingle) => Ok(Naming::PlainWhenSingle),
        _ => Err(Refusal::invalid("project.naming", "must be given")),
    }
}

/// A way with changed tools that must be given.
pub(super) fn tool_pinning(value: i32) -> Result<ToolPinning, Refusal> {
    match pb::ToolPinning::try_from(value) {
        Ok(pb::ToolPinning::Off) => Ok(ToolPinning::Off),
        Ok(pb::ToolPinning::Warn) => Ok(ToolPinning::Warn),
        Ok(pb::ToolPinning::Block) => Ok(ToolPinning::Block),
        _ => Err(Refusal::invalid("project.tool_pinning", "must be given")),
    }
}

pub(super) fn retry_policy(value: i32) -> Result<RetryPolicy, Refusal> {
    match pb::RetryPolicy::try_from(value) {
        Ok(pb::RetryPolicy::Never) => Ok(RetryPolicy::Never),
        Ok(pb::RetryPolicy::ReadOnly) => Ok(RetryPolicy::ReadOnly),
        Ok(pb::RetryPolicy::Idempotent) => Ok(RetryPolicy::Idempotent),
        _ => Err(Refusal::invalid("project.retry_policy", "must be given")),
    }
}

/// How calls ended.
pub(super) fn outcomes(values: &[i32]) -> Result<Vec<CallOutcome>, Refusal> {
    if values.len() > CallOutcome::ALL.len() {
        return Err(Refusal::invalid("outcomes", "names an outcome twice"));
    }
    values
        .iter()
        .map(|value| {
            let outcome = match pb::CallOutcome::try_from(*value) {
                Ok(pb::CallOutcome::Ok) => CallOutcome::Ok,
                Ok(pb::CallOutcome::ToolError) => CallOutcome::ToolError,
                Ok(pb::CallOutcome::UpstreamError) => CallOutcome::UpstreamError,
                Ok(pb::CallOutcome::Cancelled) => CallOutcome::Cancelled,
                Ok(pb::CallOutcome::Timeout) => CallOutcome::Timeout,
                Ok(pb::CallOutcome::NotStarted) => CallOutcome::NotStarted,
                Ok(pb::CallOutcome::Unknown) => CallOutcome::Unknown,
                _ => return Err(Refusal::invalid("outcomes", "has an unknown outcome")),
            };
            Ok(outcome)
        })
        .collect()
}

/// A point in time, or none.
pub(super) fn time(
    field: &str,
    time: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Refusal> {
    let Some(time) = time else { return Ok(None) };
    let micros = time
        .seconds
        .checked_mul(1_000_000)
        .filter(|_| (0..1_000_000_000).contains(&time.nanos))
        .and_then(|micros| micros.checked_add(i64::from(time.nanos) / 1_000));
    let micros = micros.ok_or_else(|| Refusal::invalid(field, "is no point in time"))?;
    Ok(Some(Timestamp::from_micros(micros)))
}

/// The paths of a mask.
pub(super) fn mask(mask: Option<prost_types::FieldMask>) -> Result<Vec<String>, Refusal> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.len() > 100 {
        return Err(Refusal::invalid("update_mask", "has more than 100 paths"));
    }
    Ok(paths)
}
