//! Refusals as HTTP answers: `{"error": {"code", "message", "field", "help"}}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use domain::{ErrorCode, Refusal};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    refusal: Refusal,
}

/// The result of a handler.
pub(crate) type Answer<T> = Result<T, Failure>;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { status: runtime::error::http_status(refusal.code), refusal }
    }
}

impl Failure {
    /// The body is larger than what is taken.
    pub(crate) fn too_large() -> Self {
        let refusal = Refusal::invalid("body", "has more than 1 MiB");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, refusal }
    }

    /// The path is there, but not with this method.
    pub(crate) fn wrong_method() -> Self {
        let refusal = Refusal::new(
            ErrorCode::InvalidArgument,
            "this path does not take this method: see /openapi.json",
        );
        Self { status: StatusCode::METHOD_NOT_ALLOWED, refusal }
    }
}

/// An error.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
struct ErrorDetail {
    /// Stable; see the page on errors.
    #[schema(example = "INVALID_ARGUMENT")]
    code: &'static str,
    /// For people.
    message: String,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What to do.
    help: &'static str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Refusal { code, message, field } = self.refusal;
        let field = field.map(|field| field.trim_start_matches("spec.").to_owned());
        let message = match &field {
            Some(field) => format!("{field} {message}"),
            None => message,
        };
        let detail = ErrorDetail { code: code.reason(), message, field, help: help(code) };
        let mut response = (self.status, Json(ErrorBody { error: detail })).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// What the caller can do about an error.
const fn help(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidArgument => "Correct the field that is named.",
        ErrorCode::Unauthenticated => {
            "Log in with POST /api/auth/login, or use a key that is neither expired nor revoked."
        }
        ErrorCode::PermissionDenied => "Ask an Owner of the project.",
        ErrorCode::NotFound => "It does not exist, or not for you.",
        ErrorCode::AlreadyExists => "Take another name or id.",
        ErrorCode::FailedPrecondition => "The message says what must come first.",
        ErrorCode::Conflict => "Read it again and retry.",
        ErrorCode::IdempotencyMismatch => "Use a new idempotency key for another request.",
        ErrorCode::ResourceExhausted => "A limit is reached: wait and retry.",
        ErrorCode::Unavailable => "A part of the system cannot be reached: retry later.",
        ErrorCode::UpstreamUnavailable => "The MCP server cannot be reached: see its last_error.",
        ErrorCode::OutcomeUnrecorded => "It ran and is not recorded: check its effect first.",
        ErrorCode::Internal => "A fault of ours: the log has more under the same time.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(failure: Failure) -> serde_json::Value {
        let response = failure.into_response();
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_wrong_field_is_named_as_the_caller_wrote_it() {
        let body = body(Refusal::invalid("spec.url", "must be a URL").into()).await;
        assert_eq!(body["error"]["code"], "INVALID_ARGUMENT");
        assert_eq!(body["error"]["field"], "url");
        assert_eq!(body["error"]["message"], "url must be a URL");
    }

    #[tokio::test]
    async fn who_is_not_known_is_asked_for_a_credential() {
        let failure = Failure::from(Refusal::new(ErrorCode::Unauthenticated, "who"));
        let response = failure.into_response();
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
