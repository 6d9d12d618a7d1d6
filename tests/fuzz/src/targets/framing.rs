//! Streams of bytes that are cut anywhere.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use mcp::sse::{Decoder, EventText, SseError, SseEvent};
use mcp::stdio::{LineError, LineReader, put_line};

use crate::pieces::cut;

const MAX_BYTES: usize = 4096;

/// The first byte says how many sizes of chunks follow it; the rest is the stream.
fn sized(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((count, rest)) = data.split_first() else {
        return (&[], &[]);
    };
    rest.split_at(usize::from(*count % 16).min(rest.len()))
}

/// What a stream of events says.
#[derive(Debug, PartialEq)]
struct Stream {
    events: Vec<SseEvent>,
    fault: Option<SseError>,
    last_id: Option<String>,
    retry_ms: Option<u64>,
}

fn events(chunks: &[&[u8]], max_bytes: usize) -> Stream {
    let mut decoder = Decoder::new(max_bytes);
    let mut events = Vec::new();
    let mut fault = None;
    'chunks: for chunk in chunks {
        decoder.push(chunk);
        loop {
            match decoder.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    fault = Some(error);
                    break 'chunks;
                }
            }
        }
    }
    let last_id = decoder.last_id().map(str::to_owned);
    Stream { events, fault, last_id, retry_ms: decoder.retry_ms() }
}

/// Where a stream is cut changes nothing, an event has a size, and what was read can be written.
pub fn sse(data: &[u8]) {
    let (sizes, stream) = sized(data);
    for max_bytes in [16, MAX_BYTES] {
        let whole = events(&[stream], max_bytes);
        assert_eq!(events(&cut(stream, sizes), max_bytes), whole);
        assert!(whole.events.iter().all(|event| event.data.len() <= max_bytes));
    }
    let whole = events(&[stream], MAX_BYTES);
    assert!(whole.last_id.is_none_or(|id| id.len() <= 3 * Decoder::MAX_ID_BYTES));
    for event in whole.events.iter().filter(|event| !event.event.contains('\0')) {
        let text =
            EventText { event: Some(&event.event), data: &event.data, ..EventText::default() };
        let again = events(&[&text.encode()], usize::MAX);
        assert_eq!(again.events, std::slice::from_ref(event));
    }
}

/// Polls what never waits.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a source that is always ready made its reader wait"),
    }
}

fn lines(pieces: &[&[u8]], max_bytes: usize) -> Vec<Option<Bytes>> {
    let pieces: Vec<_> =
        pieces.iter().map(|piece| Ok::<_, io::Error>(Bytes::copy_from_slice(piece))).collect();
    let source = tokio_util::io::StreamReader::new(futures::stream::iter(pieces));
    let mut reader = LineReader::new(source, max_bytes);
    let mut lines = Vec::new();
    loop {
        match ready(reader.next()) {
            Ok(Some(line)) => lines.push(Some(line)),
            Ok(None) => return lines,
            Err(LineError::TooLong(_)) => lines.push(None),
            Err(LineError::Io(error)) => panic!("{error}"),
        }
    }
}

/// Where a stream is cut changes nothing, a line has a size, and a line that was read is one line
/// when it is written.
pub fn stdio(data: &[u8]) {
    let (sizes, stream) = sized(data);
    for max_bytes in [8, MAX_BYTES] {
        let whole = lines(&[stream], max_bytes);
        assert_eq!(lines(&cut(stream, sizes), max_bytes), whole);
        assert!(
            whole.iter().flatten().all(|line| line.len() <= max_bytes && !line.contains(&b'\n'))
        );
    }
    for line in lines(&[stream], MAX_BYTES).into_iter().flatten() {
        let mut out = bytes::BytesMut::new();
        // A mark is passed over at the start of a stream only.
        put_line(&mut out, b"{}");
        put_line(&mut out, &line);
        let space = |byte: &u8| if *byte == b'\r' { b' ' } else { *byte };
        let written: Bytes = line.iter().map(space).collect();
        assert_eq!(lines(&[&out], MAX_BYTES), [Some(Bytes::from("{}")), Some(written)]);
    }
}
