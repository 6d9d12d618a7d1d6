//! Streams of server-sent events: messages as they come, comments while there are none.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use mcp::sse::KEEP_ALIVE;
use tokio_util::sync::CancellationToken;

use crate::outbox::Events;
use crate::replay::LogReader;

/// Tells proxies not to gather what should flow.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Where the events of a stream come from.
pub(crate) enum Source {
    /// A queue.
    Events(Events),
    /// What is kept, so that it can be read again.
    Log(LogReader),
}

impl From<Events> for Source {
    fn from(events: Events) -> Self {
        Self::Events(events)
    }
}

impl From<LogReader> for Source {
    fn from(reader: LogReader) -> Self {
        Self::Log(reader)
    }
}

impl Source {
    /// The next event, encoded; `None` at the end. Cancel-safe.
    async fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Events(events) => events.next().await,
            Self::Log(reader) => reader.next().await,
        }
    }
}

/// An open stream: encoded events from `events`, until they end or `ended` is cancelled. What
/// waits already is still sent then.
pub(crate) struct EventStream<G> {
    pub(crate) events: Source,
    pub(crate) ended: CancellationToken,
    pub(crate) closing: CancellationToken,
    pub(crate) keep_alive: Duration,
    /// Dropped with the stream, however it ends.
    pub(crate) _guard: G,
}

impl<G: Send + 'static> EventStream<G> {
    /// The stream as an answer.
    pub(crate) fn into_response(self) -> Response {
        let frames = stream::unfold(self, |mut open| async move {
            let frame = open.next().await?;
            Some((Ok::<Bytes, std::convert::Infallible>(frame), open))
        });
        (event_stream_headers(), Body::from_stream(frames)).into_response()
    }

    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            event = self.events.next() => event,
            () = self.ended.cancelled() => None,
            () = self.closing.cancelled() => None,
            () = tokio::time::sleep(self.keep_alive) => Some(Bytes::from_static(KEEP_ALIVE)),
        }
    }
}

/// A stream of one event, for clients that take nothing else.
pub(crate) fn single_event(event: Bytes) -> Response {
    (event_stream_headers(), Body::from(event)).into_response()
}

fn event_stream_headers() -> [(HeaderName, HeaderValue); 3] {
    [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
        (UNBUFFERED, HeaderValue::from_static("no")),
    ]
}
