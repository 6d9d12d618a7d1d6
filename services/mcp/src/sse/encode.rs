//! The encoder: one event as bytes.

use bytes::{BufMut, Bytes, BytesMut};

/// A comment that keeps a connection from looking idle.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// A comment; line breaks in it are replaced by spaces.
#[must_use]
pub fn comment(text: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(text.len() + 4);
    out.put_slice(b": ");
    put_one_line(&mut out, text);
    out.put_slice(b"\n\n");
    out.freeze()
}

/// An event before it is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventText<'a> {
    /// The event's type; `message` to the reader where there is none.
    pub event: Option<&'a str>,
    /// The id that a client names to resume.
    pub id: Option<&'a str>,
    /// How long a client waits before it connects again, in milliseconds.
    pub retry_ms: Option<u64>,
    /// The data; line breaks (LF, CR, CRLF) make it several `data` lines.
    pub data: &'a [u8],
}

impl EventText<'_> {
    /// The event as it goes over the wire.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let names = self.event.map_or(0, str::len) + self.id.map_or(0, str::len);
        let mut out = BytesMut::with_capacity(self.data.len() + names + 64);
        if let Some(event) = self.event {
            out.put_slice(b"event: ");
            put_one_line(&mut out, event);
            out.put_u8(b'\n');
        }
        if let Some(id) = self.id {
            out.put_slice(b"id: ");
            put_one_line(&mut out, id);
            out.put_u8(b'\n');
        }
        if let Some(retry) = self.retry_ms {
            out.put_slice(b"retry: ");
            out.put_slice(retry.to_string().as_bytes());
            out.put_u8(b'\n');
        }
        put_data(&mut out, self.data);
        out.put_u8(b'\n');
        out.freeze()
    }
}

fn put_one_line(out: &mut BytesMut, text: &str) {
    out.extend(text.bytes().map(
        |byte| {
            if matches!(byte, b'\n' | b'\r' | 0) { b' ' } else { byte }
        },
    ));
}

fn put_data(out: &mut BytesMut, data: &[u8]) {
    let mut rest = data;
    loop {
        out.put_slice(b"data: ");
        let Some(stop) = memchr::memchr2(b'\n', b'\r', rest) else {
            out.put_slice(rest);
            out.put_u8(b'\n');
            return;
        };
        out.put_slice(&rest[..stop]);
        out.put_u8(b'\n');
        let width = if rest[stop..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[stop + width..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_data_is_split_at_every_kind_of_line_break() {
        let event = EventText {
            event: Some("message"),
            id: Some("7\nx"),
            retry_ms: Some(1500),
            data: b"a\nb\r\nc\rd",
        };
        let text = "event: message\nid: 7 x\nretry: 1500\ndata: a\ndata: b\ndata: c\ndata: d\n\n";
        assert_eq!(event.encode(), text.as_bytes());
    }

    #[test]
    fn empty_data_is_still_an_event() {
        assert_eq!(EventText::default().encode(), "data: \n\n".as_bytes());
    }
}
