//! HTTP with server-sent events, the transport of revision 2024-11-05: a stream that stays open,
//! and messages that are posted beside it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use mcp::envelope::{self, code};
use mcp::server::sse_endpoint;
use mcp::server::stateless::is_stateless;
use mcp::{Envelope, Kind};

use crate::dispatch::{self, Dispatched};
use crate::edge::Shared;
use crate::http::{Passed, json, protocol_error};
use crate::incoming;
use crate::roaming::{self, Found, Request};
use crate::session::{Cause, Session};
use crate::stateless;
use crate::stream::EventStream;
use crate::streamable::no_session;
use crate::telling::{Sink, Telling, deliver};

/// Ends the session when its stream is gone.
struct EndSession {
    shared: Arc<Shared>,
    session: Arc<Session>,
}

impl Drop for EndSession {
    fn drop(&mut self) {
        tracing::info!(session = ?self.session.id, "SSE stream closed");
        self.shared.sessions.end(&self.session.id, Cause::Closed);
    }
}

/// `GET`: opens a session and says where its messages are posted to.
pub(crate) async fn open(passed: Passed) -> Response {
    let Passed { shared, grant, path, .. } = passed;
    let session = match shared.sessions.create(grant.key, grant.scope.clone()) {
        Ok(session) => session,
        Err(refused) => return no_session(refused),
    };
    if let Some(kept) = &session.kept {
        kept.end_with_stream();
    }
    let events = session.attach(&shared.config.limits);
    let endpoint = sse_endpoint(&endpoint_uri(&shared.config.public_url, &path, &session));
    if let Some(outbox) = session.outbox() {
        // The queue is empty: there is room.
        let _ = outbox.try_send(endpoint);
    }
    tracing::info!(session = ?session.id, project = %grant.scope.project(), "SSE stream opened");
    let guard = EndSession { shared: Arc::clone(&shared), session: Arc::clone(&session) };
    // Its messages may be posted to any edge from here on.
    roaming::save(&shared, &session).await;
    EventStream {
        events: events.into(),
        ended: session.ended.clone(),
        closing: shared.closing.clone(),
        keep_alive: shared.config.limits.keep_alive,
        _guard: guard,
    }
    .into_response()
}

/// A path from the root of the public URL's host, which clients resolve against the URL that they
/// opened: it holds behind a proxy that puts a prefix before us, too.
fn endpoint_uri(public_url: &str, path: &str, session: &Session) -> String {
    let prefix = public_url
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').map(|slash| rest[slash..].trim_end_matches('/')))
        .unwrap_or_default();
    let base = path.strip_suffix("/sse").unwrap_or(path);
    format!("{prefix}{base}/messages/?session_id={}", session.id.as_str())
}

/// `POST`: a message for a session; what it leads to comes over the stream.
pub(crate) async fn message(passed: Passed, body: Body) -> Response {
    let session = session_id(&passed)
        .and_then(|id| passed.shared.sessions.find(id, passed.grant.key, &passed.grant.scope));
    if session.is_none() && passed.shared.roaming.is_none() {
        return unknown();
    }
    let body = match passed.read(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let session = match (session, session_id(&passed)) {
        (Some(session), _) => session,
        (None, None) => return unknown(),
        (None, Some(id)) => {
            match roaming::find(&passed, id, || Request::posted(body.clone())).await {
                Found::Here(session) => session,
                Found::Answered(answer) => return answer,
                Found::Unknown => return unknown(),
            }
        }
    };
    let envelope = match Envelope::parse(body, passed.shared.config.limits.body_bytes) {
        Ok(envelope) => envelope,
        Err(error) => {
            let body = envelope::error(error.id(), error.code(), &error.to_string(), None);
            return json(StatusCode::BAD_REQUEST, body);
        }
    };
    if is_stateless(&HeaderMap::new(), &envelope) {
        return stateless::sse_message_in(&passed, &session, &envelope).await;
    }
    match envelope.kind() {
        Kind::Request => request(&passed, &session, &envelope).await,
        Kind::Notification | Kind::Result | Kind::Error => {
            incoming::message(&session, &envelope);
            accepted()
        }
    }
}

fn unknown() -> Response {
    let message = "unknown session: open the stream again";
    protocol_error(StatusCode::NOT_FOUND, code::INVALID_REQUEST, message)
}

fn session_id(passed: &Passed) -> Option<&str> {
    passed.query.as_deref()?.split('&').find_map(|pair| {
        pair.strip_prefix("session_id=").or_else(|| pair.strip_prefix("sessionId="))
    })
}

async fn request(passed: &Passed, session: &Arc<Session>, envelope: &Envelope) -> Response {
    let Passed { shared, grant, .. } = passed;
    let Some(outbox) = session.outbox() else {
        return accepted();
    };
    match dispatch::request(shared, grant, session, envelope).await {
        Dispatched::Answer(answer) => {
            deliver(shared, session, &outbox, &answer).await;
            accepted()
        }
        Dispatched::Forbidden(answer) => {
            // The stream has it too: a client waits for the answer there.
            deliver(shared, session, &outbox, &answer).await;
            json(StatusCode::FORBIDDEN, answer)
        }
        Dispatched::Call(running) => {
            let (shared, session) = (Arc::clone(shared), Arc::clone(session));
            let Some(id) = envelope.id().cloned() else { return accepted() };
            let telling = Telling { shared, session, id, running, sink: Sink::Outbox(outbox) };
            passed.shared.tasks.spawn(telling.run(None));
            accepted()
        }
    }
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, "Accepted").into_response()
}
