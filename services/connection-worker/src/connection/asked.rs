//! A request of an upstream to a client.
//!
//! What always holds: each is answered once at the most, and always as long as its connection
//! stands and the upstream waits: one that is dropped without an answer is refused.

use std::time::Duration;

use bytes::Bytes;
use mcp::client::{Connection, ServerRequest};
use mcp::code;
use mcp::envelope::error_object;

/// How long handing an answer to the upstream may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A request of an upstream that waits for its answer.
pub(crate) struct Asked(Option<(Connection, ServerRequest)>);

impl Asked {
    /// What came over `connection`.
    pub(crate) fn new(connection: Connection, request: ServerRequest) -> Self {
        Self(Some((connection, request)))
    }

    /// What is asked.
    pub(crate) fn request(&self) -> Option<&ServerRequest> {
        self.0.as_ref().map(|(_, request)| request)
    }

    /// Gives the answer: raw JSON of the result, or of the error.
    pub(crate) fn answer(mut self, answer: Result<Bytes, Bytes>) {
        self.give(answer);
    }

    /// Refuses with a JSON-RPC error.
    pub(crate) fn refuse(self, code: i64, message: &str) {
        self.answer(Err(error_object(code, message, None)));
    }

    /// It is no longer waited for.
    pub(crate) fn forget(mut self) {
        self.0 = None;
    }

    fn give(&mut self, answer: Result<Bytes, Bytes>) {
        let Some((connection, request)) = self.0.take() else { return };
        // Outside a runtime nothing is connected any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let given = connection.respond(&request.id, answer);
            if !matches!(tokio::time::timeout(ANSWER_LIMIT, given).await, Ok(Ok(()))) {
                tracing::debug!(method = request.method, "an upstream did not take an answer");
            }
        });
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.give(Err(error_object(code::INTERNAL_ERROR, "the client did not answer", None)));
    }
}
