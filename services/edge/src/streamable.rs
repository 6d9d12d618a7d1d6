//! Streamable HTTP, revisions 2025-03-26 to 2025-11-25.
//!
//! A request is answered as JSON when its answer comes first, and as a stream when a notification
//! comes before it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use domain::ErrorCode;
use mcp::envelope::{self, EnvelopeError, code};
use mcp::server::{
    SESSION_ID, accepts_event_stream, accepts_message_answers, is_json, protocol_version,
    sse_message,
};
use mcp::{Envelope, Kind, Revision};

use crate::call::{Running, Said};
use crate::dispatch::{self, Dispatched};
use crate::http::{Passed, json, protocol_error, refuse};
use crate::incoming;
use crate::outbox::{Outbox, outbox};
use crate::session::{Cause, Refused, Session};
use crate::stream::{EventStream, single_event};

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
        return batch(passed, body).await;
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
    let Passed { shared, grant, .. } = &passed;
    if envelope.kind() == Kind::Request && envelope.method() == "initialize" {
        return initialize(&passed, &envelope).await;
    }
    let session = match session_of(&passed) {
        Ok(session) => session,
        Err(refusal) => return *refusal,
    };
    match envelope.kind() {
        Kind::Request => match dispatch::request(shared, grant, &session, &envelope).await {
            Dispatched::Answer(answer) => whole(&passed, answer),
            Dispatched::Forbidden(answer) => json(StatusCode::FORBIDDEN, answer),
            Dispatched::Call(running) => answer(&passed, &session, running).await,
        },
        Kind::Notification => {
            incoming::notification(&session, &envelope);
            StatusCode::ACCEPTED.into_response()
        }
        // Nothing was asked of the client, so that nothing can be answered by it.
        Kind::Result | Kind::Error => StatusCode::ACCEPTED.into_response(),
    }
}

/// An answer that comes alone.
fn whole(passed: &Passed, answer: Bytes) -> Response {
    if accepts_event_stream(&passed.headers) && !accepts_message_answers(&passed.headers) {
        // The client reads nothing but streams.
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

/// The session that the headers name, with a revision that it can have.
fn session_of(passed: &Passed) -> Result<Arc<Session>, Box<Response>> {
    let Some(id) = passed.headers.get(SESSION_ID) else {
        let message = "Mcp-Session-Id is missing: send initialize first";
        let refusal = protocol_error(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, message);
        return Err(refusal.into());
    };
    let Passed { shared, grant, .. } = passed;
    let session = id
        .to_str()
        .ok()
        .and_then(|id| shared.sessions.find(id, grant.key, &grant.scope))
        .ok_or_else(|| {
            let message = "the session has ended: send initialize again";
            protocol_error(StatusCode::NOT_FOUND, code::INVALID_REQUEST, message)
        })?;
    protocol_version(&passed.headers).map_err(|refusal| {
        protocol_error(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, &refusal.to_string())
    })?;
    Ok(session)
}

/// Answers with JSON if the end comes first, else with a stream.
async fn answer(passed: &Passed, session: &Arc<Session>, mut running: Running) -> Response {
    let first = match running.next().await {
        Said::Answer(Some(answer)) => return whole(passed, answer),
        // Cancelled: there is nothing to say, and the client does not wait for it.
        Said::Answer(None) => return StatusCode::ACCEPTED.into_response(),
        Said::Notification(first) => first,
    };
    if !accepts_event_stream(&passed.headers) {
        // The client cannot read notifications: it gets the answer alone.
        loop {
            match running.next().await {
                Said::Notification(_) => {}
                Said::Answer(Some(answer)) => return json(StatusCode::OK, answer),
                Said::Answer(None) => return StatusCode::ACCEPTED.into_response(),
            }
        }
    }
    let (outbox, events) = outbox(&passed.shared.config.limits);
    passed.shared.tasks.spawn(stream_answer(running, outbox, first));
    EventStream {
        events,
        ended: session.ended.clone(),
        closing: passed.shared.closing.clone(),
        keep_alive: passed.shared.config.limits.keep_alive,
        _guard: (),
    }
    .into_response()
}

/// Puts a call's messages into a stream. A client that went away, or does not read, does not end
/// the call: see [`crate::call`].
async fn stream_answer(mut running: Running, outbox: Outbox, first: Bytes) {
    let mut outbox = Some(outbox);
    let mut said = Said::Notification(first);
    loop {
        let (message, is_last) = match said {
            Said::Notification(message) => (Some(message), false),
            Said::Answer(answer) => (answer, true),
        };
        if let (Some(message), Some(reader)) = (message, &outbox)
            && reader.send(sse_message(&message)).await.is_err()
        {
            outbox = None;
        }
        if is_last {
            return;
        }
        said = running.next().await;
    }
}

async fn batch(passed: Passed, body: Bytes) -> Response {
    let session = match session_of(&passed) {
        Ok(session) => session,
        Err(refusal) => return *refusal,
    };
    if !session.revision().unwrap_or(Revision::ASSUMED).has_batches() {
        let message = "batches are part of revision 2025-03-26 only";
        return protocol_error(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, message);
    }
    let limits = &passed.shared.config.limits;
    let messages = match envelope::split_batch(&body, limits.batch_messages) {
        Ok(messages) => messages,
        Err(error) => return malformed(&error),
    };
    let answers = messages.into_iter().map(|message| one_of_batch(&passed, &session, message));
    let answers: Vec<Bytes> =
        futures::future::join_all(answers).await.into_iter().flatten().collect();
    if answers.is_empty() {
        return StatusCode::ACCEPTED.into_response();
    }
    let mut out = BytesMut::with_capacity(answers.iter().map(Bytes::len).sum::<usize>() + 64);
    for (index, answer) in answers.iter().enumerate() {
        out.put_u8(if index == 0 { b'[' } else { b',' });
        out.put_slice(answer);
    }
    out.put_u8(b']');
    json(StatusCode::OK, out.freeze())
}

async fn one_of_batch(passed: &Passed, session: &Arc<Session>, message: Bytes) -> Option<Bytes> {
    let Passed { shared, grant, .. } = passed;
    let envelope = match Envelope::parse(message, shared.config.limits.body_bytes) {
        Ok(envelope) => envelope,
        Err(error) => {
            return Some(envelope::error(error.id(), error.code(), &error.to_string(), None));
        }
    };
    match envelope.kind() {
        Kind::Request => match dispatch::request(shared, grant, session, &envelope).await {
            Dispatched::Answer(answer) | Dispatched::Forbidden(answer) => Some(answer),
            Dispatched::Call(mut running) => loop {
                if let Said::Answer(answer) = running.next().await {
                    return answer;
                }
            },
        },
        Kind::Notification => {
            incoming::notification(session, &envelope);
            None
        }
        Kind::Result | Kind::Error => None,
    }
}

/// `GET`: the stream of what is said unasked.
pub(crate) async fn listen(passed: Passed) -> Response {
    if !accepts_event_stream(&passed.headers) {
        let message = "Accept must include text/event-stream";
        return protocol_error(StatusCode::NOT_ACCEPTABLE, code::INVALID_REQUEST, message);
    }
    let session = match session_of(&passed) {
        Ok(session) => session,
        Err(refusal) => return *refusal,
    };
    EventStream {
        events: session.attach(&passed.shared.config.limits),
        ended: session.ended.clone(),
        closing: passed.shared.closing.clone(),
        keep_alive: passed.shared.config.limits.keep_alive,
        _guard: (),
    }
    .into_response()
}

/// `DELETE`: the client ends its session.
pub(crate) async fn end(passed: Passed) -> Response {
    match session_of(&passed) {
        Ok(session) => {
            passed.shared.sessions.end(&session.id, Cause::Deleted);
            StatusCode::OK.into_response()
        }
        Err(refusal) => *refusal,
    }
}
