//! Answers as stateless clients must get them, with their HTTP status.

use axum::http::StatusCode;
use backplane::exchange::Answer;
use bytes::Bytes;
use domain::ErrorCode;
use mcp::envelope::{self, ErrorObject, code};
use mcp::server::stateless::{CacheHint, Refusal, complete};
use mcp::{Id, splice};

use crate::call::failure;
use crate::edge::Shared;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) message: Bytes,
}

impl Whole {
    pub(super) fn refusal(id: &Id, refusal: &Refusal) -> Self {
        Self { status: refusal.status(), message: refusal.answer(Some(id)) }
    }

    /// A raw result that is finished already.
    pub(super) fn result(id: &Id, result: &[u8]) -> Self {
        Self { status: StatusCode::OK, message: envelope::response(id, result) }
    }

    /// A raw error, from wherever: in the words of this revision.
    pub(super) fn error(id: &Id, error: &Bytes) -> Self {
        let said = ErrorObject::parse(error).code;
        let translated = (said == code::RESOURCE_NOT_FOUND).then(|| {
            let invalid = code::INVALID_PARAMS.to_string();
            splice::replace(error, &["code"], invalid.as_bytes()).ok().flatten()
        });
        let error = translated.flatten().unwrap_or_else(|| error.clone());
        let message = envelope::error_response(Some(id), &error);
        Self { status: Refusal::status_of(said), message }
    }

    /// A raw result, completed; `cache` if it is one that may be kept.
    pub(super) fn completed(
        shared: &Shared,
        id: &Id,
        result: &Bytes,
        cache: Option<CacheHint>,
    ) -> Self {
        match complete(result, cache, &shared.stateless.server_info) {
            Ok(result) => Self::result(id, &result),
            Err(_) => {
                let said = "the server's result is not a legal object";
                Self::error(id, &failure(ErrorCode::Internal.reason(), said))
            }
        }
    }

    pub(super) fn of(shared: &Shared, id: &Id, answer: &Answer, cache: Option<CacheHint>) -> Self {
        match answer {
            Ok(result) => Self::completed(shared, id, result, cache),
            Err(error) => Self::error(id, error),
        }
    }
}
