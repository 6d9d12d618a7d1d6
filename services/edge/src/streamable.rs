//! Streamable HTTP, revisions 2025-03-26 to 2025-11-25.
//!
//! A request is answered as JSON when its answer comes first, and as a stream when a notification
//! comes before it.

mod batch;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::ErrorCode;
use mcp::envelope::{self, EnvelopeError, code};
use mcp::server::stateless::is_stateless;
use mcp::server::{
    EventId, LAST_EVENT_ID, SESSION_ID, accepts_event_stream, is_json, prefers_event_stream,
    protocol_version, sse_message,
};
use mcp::{Envelope, Id, Kind};

use crate::attachments::attach_all;
use crate::call::{Running, Said, answer_message};
use crate::dispatch::{self, Dispatched};
use crate::http::{Passed, json, protocol_error, refuse};
use crate::incoming;
use crate::replay::LogReader;
use crate::roaming::{self, Found, Request};
use crate::session::{Cause, Refused, Session};
use crate::stateless;
use crate::stream::{EventStream, single_event};
use crate::telling::{Sink, Telling, answer_alone};
use crate::view::view;

/// The number of the stream of what is said unasked.
const UNASKED: u64 = 0;

/// `POST`: a message, or with 2025-03-26 a batch.
pub(crate) async fn message(passed: Passed, body: Body) -> Response {
    if !is_json(&passed.headers) {
        let message = "Content-Type must be application/json";
        return protocol_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::INVALID_REQUEST, message);
    }
    let body = match passed.read(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    if envelope::is_batch(&body) {
        return batch::batch(passed, body).await;
    }
    match Envelope::parse(body, passed.shared.config.limits.body_bytes) {
        Ok(envelope) => single(passed, envelope).await,
        Err(error) => malformed(&error),
    }
}

fn malformed(error: &EnvelopeError) -> Response {
    let body = envelope::error(error.id(), error.code(), &error.to_string(), None);
    json(StatusCode::BAD_REQUEST, body)
}

async fn single(passed: Passed, envelope: Envelope) -> Response {
    if is_stateless(&passed.headers, &envelope) {
        return stateless::message(&passed, &envelope).await;
    }
    let Passed { shared, grant, .. } = &passed;
    if envelope.kind() == Kind::Request && envelope.method() == "initialize" {
        return initialize(&passed, &envelope).await;
    }
    let session = match session_of(&passed, || Request::message(&envelope)).await {
        Ok(session) => session,
        Err(answer) => return *answer,
    };
    match envelope.kind() {
        Kind::Request => match dispatch::request(shared, grant, &session, &envelope).await {
            Dispatched::Answer(answer) => whole(&passed, answer),
            Dispatched::Forbidden(answer) => json(StatusCode::FORBIDDEN, answer),
            Dispatched::Call(running) => {
                let Some(id) = envelope.id() else { return StatusCode::ACCEPTED.into_response() };
                answer(&passed, &session, id, running).await
            }
        },
        Kind::Notification | Kind::Result | Kind::Error => {
            incoming::message(&session, &envelope);
            StatusCode::ACCEPTED.into_response()
        }
    }
}

/// An answer that comes alone.
fn whole(passed: &Passed, answer: Bytes) -> Response {
    if prefers_event_stream(&passed.headers) {
        return single_event(sse_message(&answer));
    }
    json(StatusCode::OK, answer)
}

async fn initialize(passed: &Passed, envelope: &Envelope) -> Response {
    let Passed { shared, grant, .. } = passed;
    let session = match shared.sessions.create(grant.key, grant.scope.clone()) {
        Ok(session) => session,
        Err(refused) => return no_session(refused),
    };
    let answer = match dispatch::request(shared, grant, &session, envelope).await {
        Dispatched::Answer(answer) | Dispatched::Forbidden(answer) => answer,
        Dispatched::Call(_) => Bytes::new(),
    };
    if session.revision().is_none() {
        // It was refused: there is nothing to go on with.
        shared.sessions.end(&session.id, Cause::Refused);
        return whole(passed, answer);
    }
    // From here on any edge may be asked for it.
    roaming::save(shared, &session).await;
    let mut response = whole(passed, answer);
    if let Ok(id) = HeaderValue::from_str(session.id.as_str()) {
        response.headers_mut().insert(SESSION_ID, id);
    }
    response
}

pub(crate) fn no_session(refused: Refused) -> Response {
    match refused {
        Refused::TooMany => refuse(
            ErrorCode::ResourceExhausted,
            "too many sessions are open: end one with DELETE, or wait until idle ones end",
        ),
        Refused::NoRandomness => refuse(ErrorCode::Internal, "no session can be opened"),
    }
}

/// The session that the headers name, with a revision that it can have. An error is the whole
/// answer: a refusal, or what the edge said that has the session.
async fn session_of(
    passed: &Passed,
    request: impl FnOnce() -> Request,
) -> Result<Arc<Session>, Box<Response>> {
    let Some(id) = passed.headers.get(SESSION_ID) else {
        let message = "Mcp-Session-Id is missing: send initialize first";
        let refusal = protocol_error(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, message);
        return Err(refusal.into());
    };
    let Passed { shared, grant, .. } = passed;
    let unknown = || {
        let message = "the session has ended: send initialize again";
        protocol_error(StatusCode::NOT_FOUND, code::INVALID_REQUEST, message)
    };
    let id = id.to_str().map_err(|_| unknown())?;
    let session = match shared.sessions.find(id, grant.key, &grant.scope) {
        Some(session) => session,
        None => match roaming::find(passed, id, request).await {
            Found::Here(session) => session,
            Found::Answered(answer) => return Err(answer.into()),
            Found::Unknown => return Err(unknown().into()),
        },
    };
    protocol_version(&passed.headers).map_err(|refusal| {
        protocol_error(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, &refusal.to_string())
    })?;
    Ok(session)
}

/// Answers with JSON if the end comes first, else with a stream. Clients that can resume streams
/// get one for what lasts, so that nothing is lost when the connection is.
async fn answer(
    passed: &Passed,
    session: &Arc<Session>,
    id: &Id,
    mut running: Running,
) -> Response {
    if !accepts_event_stream(&passed.headers) {
        return alone(running, id).await;
    }
    // Its upstream may be done with it when it becomes a stream.
    let known = session.kept.as_ref().and_then(|_| running.forwarded());
    let first = if session.is_primed() {
        let early = passed.shared.config.limits.early_stream;
        tokio::time::timeout(early, running.next()).await.ok()
    } else {
        Some(first_said(&mut running).await)
    };
    match first {
        Some(Said::Answer(Some(answer))) => whole(passed, answer_message(id, &answer)),
        // Cancelled: there is nothing to say, and the client does not wait for it.
        Some(Said::Answer(None)) => StatusCode::ACCEPTED.into_response(),
        first => {
            let log = session.open_stream();
            let reader = log.read(None);
            // Before its client knows of a stream to come back to.
            let call = session.kept.as_ref().and_then(|_| running.forwarded()).or(known);
            if !roaming::record_call(&passed.shared, session, id, call, &log).await {
                return alone(running, id).await;
            }
            let telling = Telling {
                shared: Arc::clone(&passed.shared),
                session: Arc::clone(session),
                id: id.clone(),
                running,
                sink: Sink::Log(Arc::clone(&log)),
            };
            passed.shared.tasks.spawn(async move {
                telling.run(first).await;
                log.end();
            });
            event_stream(passed, session, reader)
        }
    }
}

/// The answer without all that comes before it.
async fn alone(running: Running, id: &Id) -> Response {
    match answer_alone(running, id).await {
        Some(answer) => json(StatusCode::OK, answer),
        None => StatusCode::ACCEPTED.into_response(),
    }
}

/// What a call says first to a client that cannot be sent away.
async fn first_said(running: &mut Running) -> Said {
    loop {
        match running.next().await {
            Said::Paused(_) => {}
            said => return said,
        }
    }
}

/// A stream that can be resumed from its start on, as an answer.
fn event_stream(passed: &Passed, session: &Session, reader: LogReader) -> Response {
    let reader = if session.is_primed() { reader.primed() } else { reader };
    event_stream_from(passed, session, reader)
}

/// A stream, as an answer.
fn event_stream_from(passed: &Passed, session: &Session, reader: LogReader) -> Response {
    EventStream {
        events: reader.into(),
        ended: session.ended.clone(),
        closing: passed.shared.closing.clone(),
        keep_alive: passed.shared.config.limits.keep_alive,
        _guard: (),
    }
    .into_response()
}

/// `GET`: the stream of what is said unasked.
pub(crate) async fn listen(passed: Passed) -> Response {
    if stateless::names_revision(&passed.headers) {
        return stateless::not_allowed();
    }
    if !accepts_event_stream(&passed.headers) {
        let message = "Accept must include text/event-stream";
        return protocol_error(StatusCode::NOT_ACCEPTABLE, code::INVALID_REQUEST, message);
    }
    let session = match session_of(&passed, || Request::plain(Method::GET)).await {
        Ok(session) => session,
        Err(answer) => return *answer,
    };
    let reader = match passed.headers.get(LAST_EVENT_ID) {
        None => session.listen(),
        Some(id) => match resumed(&session, id).await {
            // What came before it is there already: nothing lets it resume from further back.
            Some(reader) => return event_stream_from(&passed, &session, reader),
            None => {
                let message = "Last-Event-ID is of no stream that can be resumed";
                let status = StatusCode::BAD_REQUEST;
                return protocol_error(status, code::INVALID_REQUEST, message);
            }
        },
    };
    let merged = view(&passed.shared, &session).await;
    attach_all(&passed.shared, &session, &merged);
    event_stream(&passed, &session, reader)
}

async fn resumed(session: &Session, id: &HeaderValue) -> Option<LogReader> {
    let id = EventId::parse(id.to_str().ok()?)?;
    if let Some(kept) = session.kept.as_ref().filter(|_| id.stream == UNASKED) {
        session.recall(&kept.recall().await);
    }
    session.resume(id)
}

/// `DELETE`: the client ends its session.
pub(crate) async fn end(passed: Passed) -> Response {
    if stateless::names_revision(&passed.headers) {
        return stateless::not_allowed();
    }
    match session_of(&passed, || Request::plain(Method::DELETE)).await {
        Ok(session) => {
            passed.shared.sessions.end(&session.id, Cause::Deleted);
            StatusCode::OK.into_response()
        }
        Err(answer) => *answer,
    }
}
