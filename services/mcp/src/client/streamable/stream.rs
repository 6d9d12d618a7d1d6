//! Reading the event stream that answers a request, over as many connections as it takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;

use super::{HttpSession, Listen, MAX_REFUSAL_BYTES};
use crate::client::link::{Link, MAX_BATCH};
use crate::client::post::Answer;
use crate::client::{CloseCause, Frame, Reply, RequestError, SendFailure};
use crate::envelope::{self, Envelope, EnvelopeError, Id, Kind};
use crate::sse::{Decoder, SseError};

/// How long until a stream that broke is asked for again, unless the server said, and the limits
/// of what it may say.
const RESUME_PAUSE: Duration = Duration::from_secs(1);
const MIN_RESUME_PAUSE: Duration = Duration::from_millis(50);
const MAX_RESUME_PAUSE: Duration = Duration::from_secs(30);

/// After so many tries in a row that brought no event, the stream is given up.
const MAX_FAILED_RESUMES: u32 = 5;

/// A message that came with the answer to a request.
enum Incoming {
    /// The request is answered.
    Answer(Result<Reply, RequestError>),
    /// Something else; what is left of it is for who made the request.
    Other(Option<Frame>),
}

/// Reads what came on the stream of a request: a message or, in the revision that has them, a
/// batch. `None` if the answer is not among it; the rest is acted on or handed to the request.
pub(super) async fn read_messages(
    link: &Arc<Link>,
    id: u64,
    data: Bytes,
) -> Option<Result<Reply, RequestError>> {
    // What is seldom is in boxes of its own, so that it makes the usual work no larger.
    if envelope::is_batch(&data) {
        return Box::pin(read_batch(link, id, data)).await;
    }
    let frame = match read_message(link, id, data) {
        Incoming::Answer(reply) => return Some(reply),
        Incoming::Other(None) => return None,
        Incoming::Other(Some(frame)) => Box::pin(link.park(id, frame)),
    };
    frame.await;
    None
}

async fn read_batch(link: &Arc<Link>, id: u64, data: Bytes) -> Option<Result<Reply, RequestError>> {
    let messages = match envelope::split_batch(&data, MAX_BATCH) {
        Ok(messages) => messages,
        Err(error) => {
            tracing::debug!(%error, "batch of an upstream refused");
            return None;
        }
    };
    let mut reply = None;
    for message in messages {
        match read_message(link, id, message) {
            Incoming::Answer(answer) => reply = Some(answer),
            Incoming::Other(Some(frame)) => link.park(id, frame).await,
            Incoming::Other(None) => {}
        }
    }
    reply
}

/// Reads one message that came on the stream of a request.
fn read_message(link: &Arc<Link>, id: u64, frame: Bytes) -> Incoming {
    match Envelope::parse(frame, link.max_message_bytes) {
        Ok(message) if message.id().and_then(Id::as_u64) == Some(id) => {
            let body = message.body();
            match (message.kind(), body) {
                (Kind::Result, Some(body)) => Incoming::Answer(Ok(Reply::Result(body))),
                (Kind::Error, Some(body)) => Incoming::Answer(Ok(Reply::Error(body))),
                // A request of the server that shares our id is its own.
                _ => Incoming::Other(link.take(&message, Some(id))),
            }
        }
        Ok(message) => Incoming::Other(link.take(&message, Some(id))),
        Err(EnvelopeError::NotJsonRpc { id: Some(found), is_answer: true, .. })
            if found.as_u64() == Some(id) =>
        {
            Incoming::Answer(Err(RequestError::InvalidResponse))
        }
        Err(error) => {
            tracing::debug!(%error, "message of an upstream refused");
            Incoming::Other(None)
        }
    }
}

/// How reading one connection's part of a stream came to its end.
enum Part {
    /// With the answer.
    Answer(Result<Reply, RequestError>),
    /// Without: the server ended it, as it may to be asked for the rest later.
    Ended(RequestError),
    /// Without: the connection broke.
    Cut(RequestError),
}

impl HttpSession {
    /// Reads until the answer to a request; what else comes is acted on or handed to the request.
    pub(super) async fn read_stream(
        &self,
        link: &Arc<Link>,
        id: u64,
        mut response: Answer,
    ) -> Result<Reply, RequestError> {
        let mut last_event: Option<String> = None;
        let mut pause = RESUME_PAUSE;
        let mut failed = 0;
        loop {
            let mut decoder = Decoder::new(link.max_message_bytes);
            let (cut, is_ended) = match read_part(link, id, response, &mut decoder).await {
                Part::Answer(reply) => return reply,
                Part::Ended(error) => (error, true),
                Part::Cut(error) => (error, false),
            };
            if let Some(named) = decoder.last_id().filter(|id| !id.is_empty()) {
                failed = if last_event.as_deref() == Some(named) { failed + 1 } else { 0 };
                last_event = Some(named.to_owned());
            } else {
                failed += 1;
            }
            if let Some(retry) = decoder.retry_ms() {
                pause = Duration::from_millis(retry).clamp(MIN_RESUME_PAUSE, MAX_RESUME_PAUSE);
            }
            let Some(last_event) = last_event.as_deref().filter(|_| !link.is_stateless()) else {
                return Err(cut);
            };
            if is_ended && failed < MAX_FAILED_RESUMES {
                Box::pin(link.park(id, Frame::Paused { retry: pause })).await;
            }
            // In a box of its own, so that it makes the usual work no larger.
            let resumed = Box::pin(self.resume(link, last_event, pause, &mut failed)).await;
            response = resumed.ok_or(cut)?;
        }
    }

    /// The rest of a stream that broke; `None` if it cannot be had.
    async fn resume(
        &self,
        link: &Arc<Link>,
        last_event: &str,
        pause: Duration,
        failed: &mut u32,
    ) -> Option<Answer> {
        let mut wait = pause;
        while *failed < MAX_FAILED_RESUMES {
            tokio::time::sleep(wait).await;
            match self.listen(Some(last_event)).await {
                Listen::Stream(response) => return Some(Answer::Full(response)),
                Listen::Refused => return None,
                Listen::NoSession => {
                    link.end(CloseCause::SessionEnded);
                    return None;
                }
                Listen::Failed => {
                    *failed += 1;
                    wait = (wait * 2).min(MAX_RESUME_PAUSE);
                }
            }
        }
        None
    }
}

async fn read_part(link: &Arc<Link>, id: u64, mut response: Answer, decoder: &mut Decoder) -> Part {
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => decoder.push(&chunk),
            Ok(None) => {
                let cause = "the answer's stream ended without an answer".to_owned();
                return Part::Ended(RequestError::Unknown(SendFailure::Broken(cause)));
            }
            Err(cause) => return Part::Cut(RequestError::Unknown(SendFailure::Broken(cause))),
        }
        loop {
            match decoder.next() {
                Ok(Some(event)) if event.event == "message" && !event.data.is_empty() => {
                    if let Some(reply) = read_messages(link, id, event.data).await {
                        finish_stream(link, response);
                        return Part::Answer(reply);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(SseError::TooLarge(limit)) => {
                    return Part::Answer(Err(RequestError::TooLarge(limit)));
                }
            }
        }
    }
}

/// The server ends the stream after the answer; read to its end, the connection can be used again.
fn finish_stream(link: &Arc<Link>, mut response: Answer) {
    // The end has mostly come with the answer: then there is nothing to wait for.
    if let Some(Ok(None)) = response.chunk().now_or_never() {
        return;
    }
    link.spawn_detached(async move {
        let _ = response.body(MAX_REFUSAL_BYTES).await;
    });
}
