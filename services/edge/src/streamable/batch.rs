//! Batches of messages, which revision 2025-03-26 alone has.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use mcp::envelope::{self, code};
use mcp::server::accepts_event_stream;
use mcp::{Envelope, Id, Kind, Revision};

use super::{event_stream, malformed, session_of};
use crate::call::Running;
use crate::dispatch::{self, Dispatched};
use crate::http::{Passed, json, protocol_error};
use crate::incoming;
use crate::roaming::Request;
use crate::session::Session;
use crate::telling::{Sink, Telling, answer_alone};

pub(super) async fn batch(passed: Passed, body: Bytes) -> Response {
    let session = match session_of(&passed, || Request::posted(body.clone())).await {
        Ok(session) => session,
        Err(answer) => return *answer,
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
    let parts = messages.into_iter().map(|message| one_of_batch(&passed, &session, message));
    let parts: Vec<_> = futures::future::join_all(parts).await.into_iter().flatten().collect();
    if parts.is_empty() {
        return StatusCode::ACCEPTED.into_response();
    }
    answer_batch(&passed, &session, parts).await
}

/// What becomes of one request of a batch.
enum Part {
    Answer(Bytes),
    Call(Id, Running),
}

async fn one_of_batch(passed: &Passed, session: &Arc<Session>, message: Bytes) -> Option<Part> {
    let Passed { shared, grant, .. } = passed;
    let envelope = match Envelope::parse(message, shared.config.limits.body_bytes) {
        Ok(envelope) => envelope,
        Err(error) => {
            let answer = envelope::error(error.id(), error.code(), &error.to_string(), None);
            return Some(Part::Answer(answer));
        }
    };
    match envelope.kind() {
        Kind::Request => match dispatch::request(shared, grant, session, &envelope).await {
            Dispatched::Answer(answer) | Dispatched::Forbidden(answer) => {
                Some(Part::Answer(answer))
            }
            Dispatched::Call(running) => Some(Part::Call(envelope.id()?.clone(), running)),
        },
        Kind::Notification | Kind::Result | Kind::Error => {
            incoming::message(session, &envelope);
            None
        }
    }
}

/// Answers with one array if there are answers alone, else with a stream of single messages.
async fn answer_batch(passed: &Passed, session: &Arc<Session>, parts: Vec<Part>) -> Response {
    if !accepts_event_stream(&passed.headers) {
        let alone = parts.into_iter().map(answer_part);
        let answers: Vec<_> =
            futures::future::join_all(alone).await.into_iter().flatten().collect();
        return json(StatusCode::OK, array(&answers));
    }
    let log = session.open_stream();
    // From the start, so that nothing is dropped for room.
    let reader = log.read(None);
    let (mut answers, mut tellings) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Answer(answer) => {
                log.send(&answer).await;
                answers.push(Ok(answer));
            }
            Part::Call(id, running) => {
                answers.push(Err(id.clone()));
                let telling = Telling {
                    shared: Arc::clone(&passed.shared),
                    session: Arc::clone(session),
                    id,
                    running,
                    sink: Sink::Batch(Arc::clone(&log)),
                };
                tellings.push(telling.run(None));
            }
        }
    }
    let told = Arc::clone(&log);
    passed.shared.tasks.spawn(async move {
        futures::future::join_all(tellings).await;
        told.end();
    });
    log.said(|message| !is_answer(message)).await;
    let messages = log.messages();
    if !log.has_ended() || !messages.iter().all(is_answer) {
        return event_stream(passed, session, reader);
    }
    session.forget_stream(&log);
    let answer_to = |id: &Id| {
        messages.iter().find(|message| parsed(message).is_some_and(|one| one.id() == Some(id)))
    };
    // In the order of the requests.
    let answers = answers.into_iter().filter_map(|answer| match answer {
        Ok(answer) => Some(answer),
        Err(id) => answer_to(&id).cloned(),
    });
    match answers.collect::<Vec<_>>() {
        answers if answers.is_empty() => StatusCode::ACCEPTED.into_response(),
        answers => json(StatusCode::OK, array(&answers)),
    }
}

async fn answer_part(part: Part) -> Option<Bytes> {
    match part {
        Part::Answer(answer) => Some(answer),
        Part::Call(id, running) => answer_alone(running, &id).await,
    }
}

fn parsed(message: &Bytes) -> Option<Envelope> {
    Envelope::parse(message.clone(), usize::MAX).ok()
}

fn is_answer(message: &Bytes) -> bool {
    parsed(message).is_some_and(|one| matches!(one.kind(), Kind::Result | Kind::Error))
}

fn array(messages: &[Bytes]) -> Bytes {
    let mut out = BytesMut::with_capacity(messages.iter().map(Bytes::len).sum::<usize>() + 64);
    for (index, message) in messages.iter().enumerate() {
        out.put_u8(if index == 0 { b'[' } else { b',' });
        out.put_slice(message);
    }
    out.put_u8(b']');
    out.freeze()
}
