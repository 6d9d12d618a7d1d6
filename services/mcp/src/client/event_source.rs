//! The GET stream of legacy SSE, behind a port of our own.
//!
//! The library is used here and nowhere else. Its automatic reconnect is switched off: a stream
//! that connects again is another session, and calls under way would silently lose their answers.
//! It holds an event in memory until it is complete and has no limit on one; what comes out is
//! checked against ours.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest_eventsource::retry::Never;
use reqwest_eventsource::{Error, Event, EventSource};

use super::http;
use super::{ConnectError, Transport};

/// Something the stream brought.
#[derive(Debug)]
pub(super) enum SourceEvent {
    /// The server accepted the stream.
    Open,
    /// An event: its type and its data.
    Message { event: String, data: Bytes },
}

/// Why a stream ended.
#[derive(Debug)]
pub(super) enum SourceEnd {
    /// It never came about.
    Refused(ConnectError),
    /// It ended in good order.
    Ended,
    /// It broke or became unreadable.
    Broken(String),
}

/// The port: events until the stream ends for good.
pub(super) trait EventStream: Stream<Item = Result<SourceEvent, SourceEnd>> + Send {}

impl<S: Stream<Item = Result<SourceEvent, SourceEnd>> + Send> EventStream for S {}

/// Opens a stream. The request starts when the stream is first polled.
pub(super) fn open(
    request: reqwest::RequestBuilder,
) -> Result<Pin<Box<dyn EventStream>>, ConnectError> {
    let mut source = EventSource::new(request).map_err(|_| ConnectError::Unreachable {
        transport: Transport::Sse,
        cause: "the request cannot be built".to_owned(),
    })?;
    source.set_retry_policy(Box::new(Never));
    Ok(Box::pin(source.map(|item| match item {
        Ok(Event::Open) => Ok(SourceEvent::Open),
        Ok(Event::Message(message)) => {
            Ok(SourceEvent::Message { event: message.event, data: Bytes::from(message.data) })
        }
        Err(error) => Err(end(error)),
    })))
}

fn end(error: Error) -> SourceEnd {
    match error {
        Error::StreamEnded => SourceEnd::Ended,
        Error::InvalidStatusCode(status, _) => SourceEnd::Refused(ConnectError::Http(status)),
        Error::InvalidContentType(..) => SourceEnd::Refused(ConnectError::NotAnEventStream),
        Error::Transport(error) if error.is_connect() || error.is_request() => {
            SourceEnd::Refused(http::connect_error(Transport::Sse, error))
        }
        Error::Transport(error) => SourceEnd::Broken(http::cause(error)),
        Error::Utf8(_) => SourceEnd::Broken("the event stream is not UTF-8".to_owned()),
        Error::Parser(_) | Error::InvalidLastEventId(_) => {
            SourceEnd::Broken("the event stream is not readable".to_owned())
        }
    }
}
