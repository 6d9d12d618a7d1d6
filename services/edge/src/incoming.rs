//! Notifications of a client.

use std::sync::Arc;

use mcp::Envelope;
use mcp::server::cancelled_request;

use crate::session::Session;

/// Takes a notification. One that is not known is passed over, as the specification wants it.
pub(crate) fn notification(session: &Arc<Session>, envelope: &Envelope) {
    if envelope.method() != "notifications/cancelled" {
        return;
    }
    let request = envelope.body().and_then(|params| cancelled_request(&params).ok().flatten());
    if let Some((id, _)) = request {
        session.cancel(&id);
    }
}
