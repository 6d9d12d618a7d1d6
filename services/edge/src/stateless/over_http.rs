//! Stateless requests over Streamable HTTP: POST only. An answer that comes first is JSON with
//! its own status; when a notification comes before it, the answer is a stream. A client that
//! closes the connection ends its request.

use std::future::Future;
use std::pin::Pin;

use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use mcp::envelope::code;
use mcp::server::{
    PROTOCOL_VERSION, accepts_event_stream, accepts_message_answers, prefers_event_stream,
    sse_message,
};
use mcp::{Envelope, Id, Kind, Protocol};
use tokio_util::sync::CancellationToken;

use crate::http::{Passed, json, protocol_error};
use crate::outbox::{Outbox, outbox};
use crate::roaming::{self, Request};
use crate::stream::{EventStream, single_event};

use super::answer::Whole;
use super::conversation::{Conversation, Told};
use super::dispatch::{Asking, Reply, request};
use super::listen::{self, Wanted};

/// Whether a request without a body is one of this era, by its header.
pub(crate) fn names_revision(headers: &HeaderMap) -> bool {
    let value = headers.get(PROTOCOL_VERSION).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.trim() == Protocol::STATELESS)
}

/// The answer to what this era does not have: GET and DELETE.
pub(crate) fn not_allowed() -> Response {
    let message = "this revision has POST alone";
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = protocol_error(status, code::INVALID_REQUEST, message);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// `POST`: a message.
pub(crate) async fn message(passed: &Passed, envelope: &Envelope) -> Response {
    let Some(id) = envelope.id().filter(|_| envelope.kind() == Kind::Request) else {
        // No notification of a client means anything here: going away is how it cancels.
        return StatusCode::ACCEPTED.into_response();
    };
    let asking = Asking {
        shared: &passed.shared,
        grant: &passed.grant,
        headers: Some(&passed.headers),
        envelope,
        guard: None,
    };
    match request(asking).await {
        Reply::Whole(whole) => answer(&passed.headers, whole),
        Reply::Conversation(conversation) => converse(passed, *conversation).await,
        Reply::Listen(wanted) => listening(passed, id, wanted).await,
        Reply::Elsewhere(home) => {
            roaming::ask_home(passed, &home, Request::message(envelope)).await
        }
    }
}

fn answer(headers: &HeaderMap, whole: Whole) -> Response {
    // A refusal is JSON where it can be: its status says as much as its body.
    let may_be_json = whole.status != StatusCode::OK && accepts_message_answers(headers);
    if prefers_event_stream(headers) && !may_be_json {
        let mut response = single_event(sse_message(&whole.message));
        *response.status_mut() = whole.status;
        return response;
    }
    json(whole.status, whole.message)
}

/// Answers with JSON if the end comes first, and soon; else with a stream, which comments keep
/// from looking idle.
async fn converse(passed: &Passed, mut conversation: Conversation) -> Response {
    if !accepts_event_stream(&passed.headers) {
        // The client cannot read notifications: it gets the answer alone.
        loop {
            match conversation.next().await {
                Told::Notification(_) => {}
                Told::Answer(Some(whole)) => return answer(&passed.headers, whole),
                Told::Answer(None) => return StatusCode::ACCEPTED.into_response(),
            }
        }
    }
    let limits = &passed.shared.config.limits;
    let mut first: First = Box::pin(async move {
        let told = conversation.next().await;
        (conversation, told)
    });
    match tokio::time::timeout(limits.keep_alive, &mut first).await {
        Ok((_, Told::Answer(Some(whole)))) => return answer(&passed.headers, whole),
        Ok((_, Told::Answer(None))) => return StatusCode::ACCEPTED.into_response(),
        Ok(told) => first = Box::pin(std::future::ready(told)),
        Err(_) => {}
    }
    let (outbox, events) = outbox(limits);
    passed.shared.tasks.spawn(stream(first, outbox));
    EventStream {
        events: events.into(),
        ended: CancellationToken::new(),
        closing: passed.shared.closing.clone(),
        keep_alive: limits.keep_alive,
        _guard: (),
    }
    .into_response()
}

/// The first that is told, and the conversation that goes on after it. It is not interrupted: what
/// it has taken from its upstream already would be lost.
type First = Pin<Box<dyn Future<Output = (Conversation, Told)> + Send>>;

/// Puts what is said into a stream. When its reader is gone, or does not read, the conversation
/// is dropped, which cancels the call.
async fn stream(first: First, outbox: Outbox) {
    let (mut conversation, mut next) = tokio::select! {
        biased;
        first = first => first,
        () = outbox.closed() => return,
    };
    loop {
        let (message, is_last) = match next {
            Told::Notification(message) => (Some(message), false),
            Told::Answer(whole) => (whole.map(|whole| whole.message), true),
        };
        if let Some(message) = message
            && outbox.send(sse_message(&message)).await.is_err()
        {
            return;
        }
        if is_last {
            return;
        }
        next = tokio::select! {
            biased;
            told = conversation.next() => told,
            () = outbox.closed() => return,
        };
    }
}

async fn listening(passed: &Passed, id: &Id, wanted: Wanted) -> Response {
    let Passed { shared, grant, .. } = passed;
    let (outbox, events) = outbox(&shared.config.limits);
    let ended = CancellationToken::new();
    match listen::open(shared, grant, id, wanted, (outbox, ended.clone())).await {
        Ok(listening) => EventStream {
            events: events.into(),
            ended,
            closing: shared.closing.clone(),
            keep_alive: shared.config.limits.keep_alive,
            _guard: listening,
        }
        .into_response(),
        Err(error) => answer(&passed.headers, Whole::error(id, &error)),
    }
}
