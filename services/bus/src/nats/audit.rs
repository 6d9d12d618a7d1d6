//! How processes find out that messages between them were lost: each tells the other how many it
//! sent in each exchange. Pure.
//!
//! An audit comes after everything that was sent before it, on the same way. A difference, or an
//! exchange that the other one does not know, is a loss, and breaks the exchange.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Most exchanges in one message.
pub(super) const MAX_ENTRIES: usize = 10_000;

const ENTRY_BYTES: usize = 20;

/// How far one exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// The exchange, as the receiver of the audit names it.
    pub(super) receiver: u64,
    /// The exchange, as its sender names it.
    pub(super) sender: u64,
    /// How many messages the sender sent; wraps.
    pub(super) sent: u32,
}

/// An audit from the process with `inbox`.
pub(super) fn encode(inbox: &str, entries: &[Progress]) -> Bytes {
    let mut out = BytesMut::with_capacity(2 + inbox.len() + entries.len() * ENTRY_BYTES);
    put_text(&mut out, inbox);
    for entry in entries {
        out.put_u64(entry.receiver);
        out.put_u64(entry.sender);
        out.put_u32(entry.sent);
    }
    out.freeze()
}

/// The inbox of the sender, and the entries; `None` if this is no audit.
pub(super) fn decode(mut bytes: Bytes) -> Option<(String, Vec<Progress>)> {
    let inbox = take_text(&mut bytes)?;
    if !bytes.remaining().is_multiple_of(ENTRY_BYTES) {
        return None;
    }
    let mut entries = Vec::with_capacity(bytes.remaining() / ENTRY_BYTES);
    while bytes.has_remaining() {
        let (receiver, sender, sent) = (bytes.get_u64(), bytes.get_u64(), bytes.get_u32());
        entries.push(Progress { receiver, sender, sent });
    }
    Some((inbox, entries))
}

/// Exchanges that the sender does not know (any more), as their receiver names them.
pub(super) fn encode_unknown(exchanges: &[u64]) -> Bytes {
    exchanges.iter().flat_map(|exchange| exchange.to_be_bytes()).collect()
}

/// See [`encode_unknown`].
pub(super) fn decode_unknown(mut bytes: Bytes) -> Vec<u64> {
    let mut exchanges = Vec::with_capacity(bytes.remaining() / 8);
    while let Ok(exchange) = bytes.try_get_u64() {
        exchanges.push(exchange);
    }
    exchanges
}

/// A beat: how often the process with `inbox` may have missed something.
pub(super) fn encode_beat(losses: u64, inbox: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(10 + inbox.len());
    out.put_u64(losses);
    put_text(&mut out, inbox);
    out.freeze()
}

/// See [`encode_beat`].
pub(super) fn decode_beat(mut bytes: Bytes) -> Option<(u64, String)> {
    let losses = bytes.try_get_u64().ok()?;
    Some((losses, take_text(&mut bytes)?))
}

fn put_text(out: &mut BytesMut, text: &str) {
    // Subjects are far shorter than this.
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

fn take_text(bytes: &mut Bytes) -> Option<String> {
    let length = usize::from(bytes.try_get_u16().ok()?);
    if bytes.remaining() < length {
        return None;
    }
    String::from_utf8(bytes.split_to(length).to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let entries = [
            Progress { receiver: 1, sender: u64::MAX, sent: 3 },
            Progress { receiver: 4, sender: 5, sent: u32::MAX },
        ];
        let read = decode(encode("_INBOX.a.b.x", &entries));
        assert_eq!(read, Some(("_INBOX.a.b.x".to_owned(), entries.to_vec())));
        assert_eq!(decode_unknown(encode_unknown(&[1, u64::MAX])), [1, u64::MAX]);
        let beat = decode_beat(encode_beat(7, "_INBOX.a.b.x"));
        assert_eq!(beat, Some((7, "_INBOX.a.b.x".to_owned())));
    }

    #[test]
    fn what_is_cut_is_none() {
        let whole = encode("_INBOX.a.b.x", &[Progress { receiver: 1, sender: 2, sent: 3 }]);
        for length in (0..whole.len()).filter(|length| *length != 14) {
            assert_eq!(decode(whole.slice(..length)), None, "cut at {length}");
        }
        assert_eq!(decode_beat(encode_beat(7, "text").slice(..11)), None);
    }
}
