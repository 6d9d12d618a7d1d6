//! What a session's client says without wanting an answer: notifications, and answers to what it
//! was asked.

use std::sync::Arc;

use bytes::Bytes;
use mcp::server::cancelled_request;
use mcp::{Envelope, Kind};

use crate::session::Session;

/// Takes a message that is no request. One that is not known is passed over, as the specification
/// wants it.
pub(crate) fn message(session: &Arc<Session>, envelope: &Envelope) {
    match envelope.kind() {
        Kind::Notification => notification(session, envelope),
        Kind::Result => answer(session, envelope, Ok),
        Kind::Error => answer(session, envelope, Err),
        Kind::Request => {}
    }
}

fn answer(
    session: &Arc<Session>,
    envelope: &Envelope,
    kind: impl FnOnce(Bytes) -> Result<Bytes, Bytes>,
) {
    if let (Some(id), Some(body)) = (envelope.id(), envelope.body()) {
        session.answer(id, kind(body));
    }
}

/// Takes a notification.
pub(crate) fn notification(session: &Arc<Session>, envelope: &Envelope) {
    let params = envelope.body();
    match envelope.method() {
        "notifications/cancelled" => {
            let request = params.and_then(|params| cancelled_request(&params).ok().flatten());
            if let Some((id, _)) = request {
                session.cancel(&id);
            }
        }
        "notifications/progress" => {
            if let Some(params) = params {
                session.progress(&params);
            }
        }
        // Over a connection of its own the server knows whose they are.
        method @ "notifications/roots/list_changed" => {
            let own = session.hearing.attachments().into_iter().filter(|to| to.is_own());
            for attachment in own {
                attachment.notify(method, params.clone().unwrap_or_default());
            }
        }
        method @ "notifications/tasks/status" => {
            let Some(params) = params else { return };
            let server = session.task_server(&params);
            let attachment = server.and_then(|server| session.hearing.attachment(server));
            if let Some(own) = attachment.filter(|to| to.is_own()) {
                own.notify(method, params);
            }
        }
        _ => {}
    }
}
