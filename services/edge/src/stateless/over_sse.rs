//! Stateless requests over HTTP+SSE, where newer clients negotiate this revision, too. What comes
//! of a request comes over the stream; a request is cancelled by its id, and when the stream ends
//! all of them are.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mcp::server::sse_message;
use mcp::server::stateless::Refusal;
use mcp::{Envelope, Id, Kind};

use crate::edge::Shared;
use crate::http::{Passed, json};
use crate::incoming;
use crate::outbox::{Outbox, Undelivered};
use crate::session::{Cause, RunningGuard, Session};

use super::answer::Whole;
use super::conversation::{Conversation, Told};
use super::dispatch::{Asking, Reply, request};
use super::input::EXPIRED;
use super::listen::{self, Wanted};

/// The stream of a session, as messages are put into it.
struct Stream {
    shared: Arc<Shared>,
    session: Arc<Session>,
    outbox: Outbox,
}

/// `POST`: a message for a session.
pub(crate) async fn message(
    passed: &Passed,
    session: &Arc<Session>,
    envelope: &Envelope,
) -> Response {
    let Some(id) = envelope.id().filter(|_| envelope.kind() == Kind::Request) else {
        incoming::message(session, envelope);
        return accepted();
    };
    let Some(outbox) = session.outbox() else {
        return accepted();
    };
    let Passed { shared, grant, .. } = passed;
    let stream = Stream { shared: Arc::clone(shared), session: Arc::clone(session), outbox };
    // Before anything is waited for, so that no cancellation comes too early.
    let guard = session.begin(id);
    let cancel = guard.cancel.clone();
    let asking = Asking { shared, grant, headers: None, envelope, guard: Some(guard) };
    match request(asking).await {
        Reply::Whole(whole) if whole.status == StatusCode::FORBIDDEN => {
            // The stream has it too: a client waits for the answer there.
            stream.send(&whole).await;
            json(StatusCode::FORBIDDEN, whole.message)
        }
        Reply::Whole(whole) => {
            stream.send(&whole).await;
            accepted()
        }
        Reply::Conversation(conversation) => {
            shared.tasks.spawn(converse(stream, *conversation));
            accepted()
        }
        Reply::Listen(wanted) if !cancel.is_cancelled() => {
            listening(passed, stream, id, wanted).await;
            accepted()
        }
        Reply::Listen(_) => accepted(),
        Reply::Elsewhere(_) => {
            // It waits for another stream's client.
            stream.send(&Whole::refusal(id, &Refusal::Parameters(EXPIRED))).await;
            accepted()
        }
    }
}

async fn converse(stream: Stream, mut conversation: Conversation) {
    loop {
        let told = tokio::select! {
            biased;
            told = conversation.next() => told,
            // The client is gone: dropping the conversation cancels the call.
            () = stream.session.ended.cancelled() => return,
        };
        match told {
            Told::Notification(message) => stream.deliver(&message).await,
            Told::Answer(Some(whole)) => return stream.send(&whole).await,
            Told::Answer(None) => return,
        }
    }
}

/// Opens a subscription, until its request is cancelled by its id or the stream ends.
async fn listening(passed: &Passed, stream: Stream, id: &Id, wanted: Wanted) {
    let Passed { shared, grant, .. } = passed;
    let guard: RunningGuard = stream.session.begin(id);
    let ended = stream.session.ended.child_token();
    let to = (stream.outbox.clone(), ended);
    match listen::open(shared, grant, id, wanted, to).await {
        Ok(listening) => {
            shared.tasks.spawn(async move {
                tokio::select! {
                    () = guard.cancel.cancelled() => {}
                    () = listening.ended() => {}
                }
                drop(listening);
            });
        }
        Err(error) => stream.send(&Whole::error(id, &error)).await,
    }
}

impl Stream {
    async fn send(&self, whole: &Whole) {
        self.deliver(&whole.message).await;
    }

    /// Waits a while for a client that is behind. One that does not read loses its session.
    async fn deliver(&self, message: &[u8]) {
        tokio::select! {
            biased;
            () = self.session.ended.cancelled() => {}
            sent = self.outbox.send(sse_message(message)) => {
                if sent == Err(Undelivered::Stalled) {
                    self.shared.sessions.end(&self.session.id, Cause::NotReading);
                }
            }
        }
    }
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, "Accepted").into_response()
}
