//! What a call's client is sent away to do (elicitation over a URL): when it is done, the server
//! says so, over a connection that clients may share, to nobody in particular.

use bytes::Bytes;
use mcp::envelope::ErrorObject;
use mcp::splice;
use proto::internal::v1::ServerRequest;

use super::Call;

/// The JSON-RPC code of a request that needs an elicitation first (2025-11-25).
const URL_ELICITATION_REQUIRED: i64 = -32042;

impl Call {
    /// Notes that its client is asked to go somewhere, if that is what the request is.
    pub(super) fn note_elicitation(&self, request: &ServerRequest) {
        if request.method == "elicitation/create"
            && let Ok(Some(id)) = splice::find_string(&request.params, &["elicitationId"])
        {
            self.note(&id);
        }
    }

    /// Notes what its client must do before it calls again, if that is what the error says.
    pub(super) fn note_required_elicitations(&self, error: &Bytes) {
        if memchr::memmem::find(error, b"elicitationId").is_none()
            || ErrorObject::parse(error).code != URL_ELICITATION_REQUIRED
        {
            return;
        }
        let required = splice::elements(error, &["data", "elicitations"]);
        for span in required.ok().flatten().unwrap_or_default() {
            if let Ok(Some(id)) = splice::find_string(&error[span], &["elicitationId"]) {
                self.note(&id);
            }
        }
    }

    fn note(&self, id: &str) {
        if let Some(guard) = &self.guard {
            guard.session().hearing.note_elicitation(self.server().id, id);
        }
    }
}
