//! The one map from [`ErrorCode`] to gRPC status and HTTP.

use std::collections::HashMap;

use domain::{ErrorCode, Refusal};
use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "mcp-orch";

/// The gRPC code of an error.
pub const fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::FailedPrecondition | ErrorCode::IdempotencyMismatch => Code::FailedPrecondition,
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::ResourceExhausted => Code::ResourceExhausted,
        ErrorCode::Unavailable | ErrorCode::UpstreamUnavailable => Code::Unavailable,
        ErrorCode::OutcomeUnrecorded => Code::DataLoss,
        ErrorCode::Internal => Code::Internal,
    }
}

/// The HTTP status of an error.
pub const fn http_status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::AlreadyExists | ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::FailedPrecondition | ErrorCode::IdempotencyMismatch => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ErrorCode::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::UpstreamUnavailable => StatusCode::BAD_GATEWAY,
        ErrorCode::OutcomeUnrecorded | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A refusal as a gRPC status with `ErrorInfo`, and `BadRequest` where a field is wrong.
pub fn to_status(refusal: &Refusal) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(refusal.code.reason(), ERROR_DOMAIN, HashMap::new());
    if let Some(field) = &refusal.field {
        details.add_bad_request_violation(field.as_str(), refusal.message.as_str());
    }
    Status::with_error_details(grpc_code(refusal.code), refusal.message.as_str(), details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_that_is_an_error() {
        for code in ErrorCode::ALL {
            assert_ne!(grpc_code(code), Code::Ok);
            let status = http_status(code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
        }
    }

    #[test]
    fn every_code_has_its_row_in_the_documentation() {
        let documentation = include_str!("../../../docs/errors.md");
        for code in ErrorCode::ALL {
            let (reason, status) = (code.reason(), http_status(code).as_u16());
            let row = documentation.lines().find(|row| row.starts_with(&format!("| `{reason}` |")));
            let row = row.unwrap_or_else(|| panic!("no row for {reason}"));
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert_eq!(cells[3], status.to_string(), "{row}");
            assert!(!cells[4].is_empty(), "{row}");
        }
        // What only answers to calls carry has neither a gRPC code nor an HTTP status.
        let is_row = |row: &&str| row.starts_with("| `") && !row.contains("| – | – |");
        let rows = documentation.lines().filter(is_row).count();
        assert_eq!(rows, ErrorCode::ALL.len(), "a row without a code");
    }

    #[test]
    fn a_conflict_is_never_internal() {
        assert_eq!(grpc_code(ErrorCode::Conflict), Code::Aborted);
        assert_eq!(http_status(ErrorCode::Conflict), StatusCode::CONFLICT);
    }

    #[test]
    fn a_status_carries_reason_and_field() {
        let status = to_status(&Refusal::invalid("spec.url", "must be a URL"));
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "INVALID_ARGUMENT");
        assert_eq!(details.error_info().unwrap().domain, ERROR_DOMAIN);
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "spec.url");
    }
}
