//! The decoder: events from chunks of bytes, wherever the chunks are cut.

use bytes::{Buf, Bytes, BytesMut};

use crate::envelope::BYTE_ORDER_MARK;

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// One event is larger than the limit; the limit in bytes.
    #[error("SSE event larger than {0} bytes")]
    TooLarge(usize),
}

/// One event that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// The event's type; `message` where the sender named none.
    pub event: String,
    /// The data: the lines joined by LF. A single line is a slice of what was received.
    pub data: Bytes,
}

/// Reads events out of chunks. Feed a chunk with [`Decoder::push`], then take events with
/// [`Decoder::next`] until there is none.
///
/// A byte order mark at the start is passed over; LF, CR and CRLF end lines; an event that the
/// stream's end cuts off is dropped. An event (its lines and what is buffered of the next) never
/// takes more than the limit.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    max_event_bytes: usize,
    started: bool,
    /// The last line ended in CR at the end of a chunk: an LF that comes first belongs to it.
    after_cr: bool,
    event: String,
    data: Option<Data>,
    /// The id of the event that is being read; it counts once the event is complete.
    next_id: Option<String>,
    last_id: Option<String>,
    retry_ms: Option<u64>,
}

#[derive(Debug)]
enum Data {
    One(Bytes),
    Many(BytesMut),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::One(line) => line.len(),
            Self::Many(lines) => lines.len(),
        }
    }

    fn push(self, line: &[u8]) -> Self {
        let mut lines = match self {
            Self::One(first) => BytesMut::from(&first[..]),
            Self::Many(lines) => lines,
        };
        lines.extend_from_slice(b"\n");
        lines.extend_from_slice(line);
        Self::Many(lines)
    }

    fn freeze(self) -> Bytes {
        match self {
            Self::One(line) => line,
            Self::Many(lines) => lines.freeze(),
        }
    }
}

impl Decoder {
    /// The longest event id that is kept, in bytes: it has to fit into a header.
    pub const MAX_ID_BYTES: usize = 1024;

    /// A decoder for one stream.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            max_event_bytes,
            started: false,
            after_cr: false,
            event: String::new(),
            data: None,
            next_id: None,
            last_id: None,
            retry_ms: None,
        }
    }

    /// Takes the next chunk of the stream.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The id of the last complete event that had one, for a request to resume; empty if the
    /// sender took it back. Ids of more than [`Self::MAX_ID_BYTES`] count as none.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The reconnection time the stream named, in milliseconds.
    #[must_use]
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// The next complete event, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`SseError::TooLarge`]; the stream cannot be read on.
    #[expect(clippy::should_implement_trait, reason = "an iterator ends at its first None")]
    pub fn next(&mut self) -> Result<Option<SseEvent>, SseError> {
        while let Some(line) = self.line()? {
            if !line.is_empty() {
                self.field(line)?;
                continue;
            }
            if let Some(id) = self.next_id.take() {
                self.last_id = Some(id);
            }
            if let Some(data) = self.data.take() {
                let mut event = std::mem::take(&mut self.event);
                if event.is_empty() {
                    event.push_str("message");
                }
                return Ok(Some(SseEvent { event, data: data.freeze() }));
            } else {
                self.event.clear();
            }
        }
        Ok(None)
    }

    fn line(&mut self) -> Result<Option<Bytes>, SseError> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer[0] == b'\n' {
                self.buffer.advance(1);
            }
        }
        if !self.started {
            const MARK: &[u8] = BYTE_ORDER_MARK;
            if self.buffer.len() < MARK.len() && MARK.starts_with(&self.buffer) {
                return Ok(None);
            }
            self.started = true;
            if self.buffer.starts_with(MARK) {
                self.buffer.advance(MARK.len());
            }
        }
        let held = self.data.as_ref().map_or(0, Data::len);
        let Some(stop) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            if self.searched + held > self.max_event_bytes {
                return Err(SseError::TooLarge(self.max_event_bytes));
            }
            return Ok(None);
        };
        let stop = self.searched + stop;
        self.searched = 0;
        if stop + held > self.max_event_bytes {
            return Err(SseError::TooLarge(self.max_event_bytes));
        }
        let carriage_return = self.buffer[stop] == b'\r';
        let line = self.buffer.split_to(stop).freeze();
        self.buffer.advance(1);
        self.after_cr = carriage_return;
        Ok(Some(line))
    }

    fn field(&mut self, line: Bytes) -> Result<(), SseError> {
        let (name, value) = match memchr::memchr(b':', &line) {
            Some(0) => return Ok(()),
            Some(colon) => {
                let skip = if line.get(colon + 1) == Some(&b' ') { 2 } else { 1 };
                (&line[..colon], line.slice(colon + skip..))
            }
            None => (&line[..], Bytes::new()),
        };
        match name {
            b"data" => {
                let data = match self.data.take() {
                    None => Data::One(value),
                    Some(data) => data.push(&value),
                };
                if data.len() > self.max_event_bytes {
                    return Err(SseError::TooLarge(self.max_event_bytes));
                }
                self.data = Some(data);
            }
            b"event" => self.event = String::from_utf8_lossy(&value).into_owned(),
            b"id" if !value.contains(&0) => {
                let id = if value.len() > Self::MAX_ID_BYTES { &[] } else { &value[..] };
                self.next_id = Some(String::from_utf8_lossy(id).into_owned());
            }
            b"retry" => {
                let digits = std::str::from_utf8(&value).ok();
                let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                self.retry_ms = digits.and_then(|digits| digits.parse().ok()).or(self.retry_ms);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sse::EventText;

    fn read(chunks: &[&[u8]], limit: usize) -> Result<Vec<(String, String)>, SseError> {
        let mut decoder = Decoder::new(limit);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(chunk);
            while let Some(event) = decoder.next()? {
                let data = String::from_utf8_lossy(&event.data).into_owned();
                events.push((event.event, data));
            }
        }
        Ok(events)
    }

    fn message(data: &str) -> (String, String) {
        ("message".to_owned(), data.to_owned())
    }

    #[test]
    fn every_line_end_and_the_byte_order_mark_are_understood() {
        let stream = b"\xEF\xBB\xBFdata: a\ndata:b\r\ndata:  c\r\revent: end\r\ndata\r\n\r\n";
        let expected = vec![message("a\nb\n c"), ("end".to_owned(), String::new())];
        assert_eq!(read(&[stream], 100), Ok(expected.clone()));
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&bytes, 100), Ok(expected));
    }

    #[test]
    fn comments_unknown_fields_and_events_without_data_are_passed_over() {
        let stream = b": ping\n\nfoo: bar\n\nevent: gone\n\ndata: x\n\ndata: cut off";
        assert_eq!(read(&[stream], 100), Ok(vec![message("x")]));
    }

    #[test]
    fn ids_and_retry_are_kept() {
        let mut decoder = Decoder::new(5000);
        decoder.push(b"id: 5\nretry: 20\ndata: x\n\nid: a\0b\nretry: +7\n\n");
        while decoder.next().unwrap().is_some() {}
        assert_eq!(decoder.last_id(), Some("5"));
        assert_eq!(decoder.retry_ms(), Some(20));
        decoder.push(&[b"id: ", &[b'x'; Decoder::MAX_ID_BYTES + 1][..], b"\n\n"].concat());
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.last_id(), Some(""));
    }

    #[test]
    fn an_id_counts_when_its_event_is_complete() {
        let mut decoder = Decoder::new(100);
        decoder.push(b"id: 1\ndata: a\n\nid: 2\ndata: cut");
        assert!(decoder.next().unwrap().is_some());
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.last_id(), Some("1"));
        // Also that of an event which has nothing to say.
        decoder.push(b"\n\nid: 3\n\n");
        assert!(decoder.next().unwrap().is_some());
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.last_id(), Some("3"));
    }

    #[test]
    fn an_event_over_the_limit_is_an_error_before_it_is_complete() {
        assert_eq!(read(&[b"data: 0123456789", b"0123456789"], 20), Err(SseError::TooLarge(20)));
        let lines = b"data: 01234567\n".repeat(3);
        assert_eq!(read(&[&lines], 20), Err(SseError::TooLarge(20)));
        let ok = b"data: 0123456789\n\n".repeat(50);
        assert_eq!(read(&[&ok], 20).unwrap().len(), 50);
    }

    proptest! {
        #[test]
        fn where_the_chunks_are_cut_changes_nothing(
            stream in "(\u{feff})?((data|event|id|retry|x)?:? ?[a-zé0-9]{0,4}(\r\n|\n|\r)){0,12}",
            sizes in proptest::collection::vec(1_usize..7, 1..9),
            limit in 0_usize..40,
        ) {
            let mut rest = stream.as_bytes();
            let mut chunks = Vec::new();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, tail) = rest.split_at((*size).min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            prop_assert_eq!(read(&[stream.as_bytes()], limit), read(&chunks, limit));
        }

        #[test]
        fn what_is_encoded_is_read_back_however_it_is_cut(
            data in "[a-z:\\n é]{0,40}",
            cuts in proptest::collection::vec(1_usize..9, 1..20),
        ) {
            let text = EventText { event: Some("message"), data: data.as_bytes(), ..EventText::default() };
            let encoded = text.encode();
            let mut rest = &encoded[..];
            let mut chunks = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (head, tail) = rest.split_at((*cut).min(rest.len()));
                chunks.push(head);
                rest = tail;
            }
            prop_assert_eq!(read(&chunks, 1000), Ok(vec![message(&data)]));
        }
    }
}
