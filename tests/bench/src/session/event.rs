//! Events out of an SSE stream, as they arrive in pieces.

use std::collections::VecDeque;

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; `message` when the stream gave none.
    pub(crate) name: String,
    pub(crate) data: Vec<u8>,
}

/// Takes pieces of a stream and gives the events that are complete; comments are dropped.
#[derive(Default)]
pub(crate) struct Events {
    pending: Vec<u8>,
    complete: VecDeque<Event>,
}

impl Events {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.pending.extend_from_slice(piece);
        let mut start = 0;
        let (mut name, mut data) = (String::new(), Vec::new());
        let mut consumed = 0;
        while let Some(length) = self.pending[start..].iter().position(|byte| *byte == b'\n') {
            let line = &self.pending[start..start + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            start += length + 1;
            if let Some(value) = field(line, b"data:") {
                if !data.is_empty() {
                    data.push(b'\n');
                }
                data.extend_from_slice(value);
            } else if let Some(value) = field(line, b"event:") {
                name = String::from_utf8_lossy(value).into_owned();
            } else if line.is_empty() {
                consumed = start;
                if !data.is_empty() {
                    let name = std::mem::take(&mut name);
                    let name = if name.is_empty() { "message".to_owned() } else { name };
                    self.complete.push_back(Event { name, data: std::mem::take(&mut data) });
                }
                name.clear();
            }
        }
        self.pending.drain(..consumed);
    }

    pub(crate) fn next(&mut self) -> Option<Event> {
        self.complete.pop_front()
    }
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let stream = b": hello\n\nevent: endpoint\ndata: /m\n\ndata:a\r\ndata: b\r\n\r\n: x\n\n";
        let event = |name: &str, data: &[u8]| Event { name: name.to_owned(), data: data.to_vec() };
        for size in 1..=stream.len() {
            let mut events = Events::default();
            stream.chunks(size).for_each(|piece| events.push(piece));
            assert_eq!(events.next(), Some(event("endpoint", b"/m")), "{size}");
            assert_eq!(events.next(), Some(event("message", b"a\nb")), "{size}");
            assert_eq!(events.next(), None);
        }
    }
}
