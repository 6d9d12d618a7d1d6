//! Framing over pipes: one message per line.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::envelope::BYTE_ORDER_MARK;

/// The longest line by default: 16 MiB.
pub const DEFAULT_MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// How much is asked of the pipe at once.
const READ_BYTES: usize = 16 * 1024;

/// Why a line could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line was longer than the limit and was passed over; the next one can be read.
    #[error("line longer than {0} bytes")]
    TooLong(usize),
    /// The pipe failed; there is no next line.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
}

/// Reads lines; never holds more than the limit and one read beyond it.
#[derive(Debug)]
pub struct LineReader<R> {
    source: R,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    max_line_bytes: usize,
    /// Whether a byte order mark can no longer come.
    started: bool,
    /// Inside a line that is too long: everything up to its end is dropped.
    passing_over: bool,
    ended: bool,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// A reader of lines of at most `max_line_bytes`, the line end not counted.
    pub fn new(source: R, max_line_bytes: usize) -> Self {
        Self {
            source,
            buffer: BytesMut::new(),
            searched: 0,
            max_line_bytes,
            started: false,
            passing_over: false,
            ended: false,
        }
    }

    /// The next line that is not blank, without its LF or CRLF; `None` at the end. What the end
    /// cuts off counts as a line; a byte order mark at the start is passed over. May be dropped
    /// while it waits without losing bytes.
    ///
    /// # Errors
    /// [`LineError`]; only [`LineError::TooLong`] can be read on from.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LineError> {
        loop {
            while let Some(line) = self.buffered()? {
                if !line.iter().all(u8::is_ascii_whitespace) {
                    return Ok(Some(line));
                }
            }
            if self.ended {
                return Ok(None);
            }
            self.buffer.reserve(READ_BYTES);
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                self.ended = true;
                if !self.buffer.is_empty() {
                    self.buffer.put_u8(b'\n');
                }
            }
        }
    }

    fn buffered(&mut self) -> Result<Option<Bytes>, LineError> {
        if !self.started {
            let may_come = self.buffer.len() < BYTE_ORDER_MARK.len()
                && BYTE_ORDER_MARK.starts_with(&self.buffer);
            if may_come && !self.ended {
                return Ok(None);
            }
            self.started = true;
            if self.buffer.starts_with(BYTE_ORDER_MARK) {
                self.buffer.advance(BYTE_ORDER_MARK.len());
            }
        }
        let Some(stop) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
            self.searched = self.buffer.len();
            if self.passing_over || self.searched > self.max_line_bytes + 1 {
                self.passing_over = true;
                self.searched = 0;
                self.buffer = BytesMut::new();
            }
            return Ok(None);
        };
        let mut line = self.buffer.split_to(self.searched + stop).freeze();
        self.buffer.advance(1);
        self.searched = 0;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if std::mem::take(&mut self.passing_over) || line.len() > self.max_line_bytes {
            return Err(LineError::TooLong(self.max_line_bytes));
        }
        Ok(Some(line))
    }
}

/// Appends a message as one line. Line breaks between its tokens become spaces: inside a JSON
/// string they cannot stand.
pub fn put_line(out: &mut BytesMut, message: &[u8]) {
    out.reserve(message.len() + 1);
    if memchr::memchr2(b'\n', b'\r', message).is_none() {
        out.put_slice(message);
    } else {
        out.extend(message.iter().map(|byte| match byte {
            b'\n' | b'\r' => b' ',
            other => *other,
        }));
    }
    out.put_u8(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn lines(input: &[u8], limit: usize) -> Vec<Result<String, usize>> {
        let mut reader = LineReader::new(input, limit);
        let mut out = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(line)) => out.push(Ok(String::from_utf8_lossy(&line).into_owned())),
                Ok(None) => return out,
                Err(LineError::TooLong(limit)) => out.push(Err(limit)),
                Err(LineError::Io(error)) => panic!("{error}"),
            }
        }
    }

    #[tokio::test]
    async fn a_line_over_the_limit_costs_only_itself() {
        let long = "x".repeat(100_000);
        let input = format!("one\r\n\n  \n{long}\ntwo\n12345678\n123456789\nend");
        let expected = [
            Ok("one".to_owned()),
            Err(8),
            Ok("two".into()),
            Ok("12345678".into()),
            Err(8),
            Ok("end".into()),
        ];
        assert_eq!(lines(input.as_bytes(), 8).await, expected);
    }

    #[tokio::test]
    async fn a_long_line_is_never_held() {
        let input = "x".repeat(1 << 20) + "\nok\n";
        let mut reader = LineReader::new(input.as_bytes(), 1024);
        assert!(matches!(reader.next().await, Err(LineError::TooLong(1024))));
        assert!(reader.buffer.capacity() <= 1024 + 2 * READ_BYTES);
        assert_eq!(reader.next().await.unwrap().unwrap(), "ok");
    }

    #[test]
    fn a_pretty_printed_message_becomes_one_line() {
        let mut out = BytesMut::new();
        put_line(&mut out, b"{\r\n  \"a\": \"x\\ny\"\n}");
        assert_eq!(&out[..], b"{    \"a\": \"x\\ny\" }\n");
    }

    /// Reads from a source that gives the bytes in pieces.
    async fn lines_in_pieces(
        input: &[u8],
        sizes: &[usize],
        limit: usize,
    ) -> Vec<Result<Bytes, usize>> {
        let mut rest = input;
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*size).min(rest.len()));
            pieces.push(Ok::<_, io::Error>(Bytes::copy_from_slice(piece)));
            rest = tail;
        }
        let source = tokio_util::io::StreamReader::new(futures::stream::iter(pieces));
        let mut reader = LineReader::new(source, limit);
        let mut out = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(line)) => out.push(Ok(line)),
                Ok(None) => return out,
                Err(LineError::TooLong(limit)) => out.push(Err(limit)),
                Err(LineError::Io(error)) => panic!("{error}"),
            }
        }
    }

    #[tokio::test]
    async fn a_byte_order_mark_is_passed_over_at_the_start_only() {
        let input = "\u{feff}{}\n\u{feff}{}\n".as_bytes();
        let expected = [Ok(Bytes::from("{}")), Ok(Bytes::from("\u{feff}{}"))];
        for size in [1, 2, 3, 100] {
            assert_eq!(lines_in_pieces(input, &[size], 100).await, expected, "{size}");
        }
        // What could become one, but does not, is a line like any other.
        let cut = lines_in_pieces(b"\xEF\xBB", &[1], 100).await;
        assert_eq!(cut, [Ok(Bytes::from_static(b"\xEF\xBB"))]);
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_changes_nothing(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(0xEF), Just(0xBB), Just(0xBF), any::<u8>()], 0..80),
            sizes in proptest::collection::vec(1_usize..7, 1..9),
            limit in 0_usize..30,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let whole = runtime.block_on(lines_in_pieces(&input, &[input.len().max(1)], limit));
            let pieces = runtime.block_on(lines_in_pieces(&input, &sizes, limit));
            prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn lines_are_split_as_the_standard_library_does(text in "[a\\r\\n ]{0,60}") {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(lines(text.as_bytes(), 1000));
            let expected: Vec<_> = text
                .split('\n')
                .map(|line| line.strip_suffix('\r').unwrap_or(line))
                .filter(|line| !line.bytes().all(|byte| byte.is_ascii_whitespace()))
                .map(|line| Ok(line.to_owned()))
                .collect();
            prop_assert_eq!(read, expected);
        }
    }
}
