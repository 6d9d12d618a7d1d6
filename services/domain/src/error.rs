//! The closed vocabulary of what can go wrong, and refusals of commands.
//!
//! An [`ErrorCode`] is stable: clients branch on it, and each has a page. The map to gRPC status
//! and HTTP is in one place, outside the domain.

use std::fmt;

/// What went wrong, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorCode {
    /// A field of the request breaks its rule. Correct it.
    InvalidArgument,
    /// No, an unknown, an expired or a revoked credential. Log in, or get a key.
    Unauthenticated,
    /// The role is too small. Ask an Owner.
    PermissionDenied,
    /// It does not exist, or not for the caller.
    NotFound,
    /// A name or id that must be unique is taken.
    AlreadyExists,
    /// The state does not allow it, e.g. the last Owner would go.
    FailedPrecondition,
    /// Somebody changed the same thing at the same time. Read again and retry.
    Conflict,
    /// The same idempotency key came with another request.
    IdempotencyMismatch,
    /// A limit is reached. Wait, or ask for a higher one.
    ResourceExhausted,
    /// A part that is needed cannot be reached. Retry later.
    Unavailable,
    /// An upstream server cannot be reached or does not answer.
    UpstreamUnavailable,
    /// It ran, but its record could not be made durable. Never retried by us.
    OutcomeUnrecorded,
    /// A fault of ours.
    Internal,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 13] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::AlreadyExists,
        Self::FailedPrecondition,
        Self::Conflict,
        Self::IdempotencyMismatch,
        Self::ResourceExhausted,
        Self::Unavailable,
        Self::UpstreamUnavailable,
        Self::OutcomeUnrecorded,
        Self::Internal,
    ];

    /// The stable reason, as in `google.rpc.ErrorInfo.reason`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Conflict => "CONFLICT",
            Self::IdempotencyMismatch => "IDEMPOTENCY_MISMATCH",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
            Self::OutcomeUnrecorded => "OUTCOME_UNRECORDED",
            Self::Internal => "INTERNAL",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// A command that the rules do not allow: what the caller is told, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// For people; says what to do. Holds no secret.
    pub message: String,
    /// The request's field that is wrong, e.g. `spec.url`.
    pub field: Option<String>,
}

impl Refusal {
    /// A refusal that concerns no single field.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None }
    }

    /// A field that breaks its rule.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::InvalidArgument,
            message: message.into(),
            field: Some(field.into()),
        }
    }

    /// Something that is not there, or not for the caller: the two look the same.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("{what} not found"))
    }
}
