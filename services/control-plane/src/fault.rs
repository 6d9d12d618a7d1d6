//! Errors of the ports as refusals: the cause goes to the log, the caller learns what to do.

use domain::{ErrorCode, Refusal};
use event_store::{AppendError, StoreError};
use secrets::SecretError;

/// A read of the log failed.
pub(crate) fn store(error: StoreError) -> Refusal {
    tracing::warn!(%error, "the event store did not answer");
    Refusal::new(
        ErrorCode::Unavailable,
        "the event store cannot be reached: try again in some seconds",
    )
}

/// An append was not made.
pub(crate) fn append(error: AppendError) -> Refusal {
    match error {
        AppendError::Conflict { .. } => Refusal::new(
            ErrorCode::Conflict,
            "somebody changed the same thing at the same time: read it again and retry",
        ),
        AppendError::IdempotencyMismatch { .. } => Refusal::new(
            ErrorCode::IdempotencyMismatch,
            "the idempotency key was used for another request: take a new one",
        ),
        AppendError::NameTaken { value, .. } => {
            Refusal::new(ErrorCode::AlreadyExists, format!("{value:?} is taken"))
        }
        AppendError::TooLarge { what, actual, limit } => Refusal::new(
            ErrorCode::InvalidArgument,
            format!("too large: {what}, {actual} where {limit} are allowed"),
        ),
        AppendError::Fenced { .. } => {
            tracing::warn!(%error, "an append was refused");
            Refusal::new(
                ErrorCode::Conflict,
                "another process does this now: nothing was changed by this one",
            )
        }
        AppendError::Unavailable { .. } => {
            tracing::warn!(%error, "an append was not made");
            Refusal::new(
                ErrorCode::Unavailable,
                "the event store cannot be reached and nothing was changed; what is there can \
                 still be read: try again in some seconds",
            )
        }
        AppendError::OutcomeUnknown { .. } => {
            tracing::error!(%error, "it is not known whether an append was made");
            Refusal::new(
                ErrorCode::Unavailable,
                "the event store did not answer, and whether this was done is not known: repeat \
                 it with the same idempotency key, or read first",
            )
        }
        AppendError::DuplicateEventId(_) | AppendError::Invalid { .. } => internal(&error),
    }
}

/// The secret store refused.
pub(crate) fn secret(error: SecretError) -> Refusal {
    match error {
        SecretError::TooLarge { size_bytes, limit_bytes } => Refusal::new(
            ErrorCode::InvalidArgument,
            format!("secret values take {size_bytes} bytes where {limit_bytes} are allowed"),
        ),
        other => {
            tracing::error!(error = %other, "the secret store refused");
            Refusal::new(ErrorCode::Unavailable, "the secret store is not available, try again")
        }
    }
}

/// Something that must not be.
pub(crate) fn internal(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "internal fault");
    Refusal::new(ErrorCode::Internal, "something went wrong on our side; it was logged")
}
