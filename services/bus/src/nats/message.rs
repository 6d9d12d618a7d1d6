//! What the two ends of an exchange send each other, as bytes. Pure.
//!
//! A message is a head and parts of frames:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of this form |
//! | 1 | flags, and how the sender ended |
//! | 4 | number of the message in its direction, from 0; wraps |
//! | 4 | frames of the other direction that the sender's reader took so far; wraps |
//! | 8 | bytes of frames of the other direction that arrived so far |
//! | 2 + n | with [`ADDRESS`]: length and text of the subject to answer to |
//! | (4 + n)* | parts: length, of which the highest bit says that the frame goes on; bytes |
//!
//! Numbers are big-endian. What always holds: reading never panics and never allocates more than
//! was received.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Most bytes of parts in one message: what NATS takes without a second thought.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 18;
const GOES_ON: u32 = 1 << 31;

const ADDRESS: u8 = 1;
const QUEUED: u8 = 2;
const WANT: u8 = 4;
const ENDS: u8 = 0b0111_0000;
const FINISHED: u8 = 0b0001_0000;
const BROKEN: u8 = 0b0010_0000;
const NEVER_ACCEPTED: u8 = 0b0011_0000;
const BUSY: u8 = 0b0100_0000;

/// How the sender ended its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// It said all it had to say; a client: it left.
    Finished,
    /// It left in the middle.
    Broken,
    /// Nobody looked at the request, and nobody will.
    NeverAccepted,
    /// The queue of the server is full.
    Busy,
}

/// A piece of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    /// More of the same frame follows.
    pub(super) goes_on: bool,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Message {
    pub(super) number: u32,
    pub(super) taken: u32,
    pub(super) received: u64,
    /// Where the receiver answers to; in the first message of a server.
    pub(super) address: Option<String>,
    /// The request waits for a server to take it.
    pub(super) queued: bool,
    /// The sender waits for room.
    pub(super) want: bool,
    pub(super) farewell: Option<Farewell>,
    pub(super) parts: Vec<Part>,
}

/// A message that is none: of another version, or cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Message {
    /// As bytes.
    pub(super) fn encode(&self) -> Bytes {
        let parts: usize = self.parts.iter().map(|part| 4 + part.bytes.len()).sum();
        let address = self.address.as_ref().map_or(0, |address| 2 + address.len());
        let mut out = BytesMut::with_capacity(HEAD_BYTES + address + parts);
        out.put_u8(VERSION);
        out.put_u8(self.flags());
        out.put_u32(self.number);
        out.put_u32(self.taken);
        out.put_u64(self.received);
        if let Some(address) = &self.address {
            // Subjects are far shorter than this.
            out.put_u16(u16::try_from(address.len()).unwrap_or(u16::MAX));
            out.put_slice(address.as_bytes());
        }
        for part in &self.parts {
            let length = u32::try_from(part.bytes.len()).unwrap_or(GOES_ON - 1);
            out.put_u32(if part.goes_on { length | GOES_ON } else { length });
            out.put_slice(&part.bytes);
        }
        out.freeze()
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.address.is_some() {
            flags |= ADDRESS;
        }
        if self.queued {
            flags |= QUEUED;
        }
        if self.want {
            flags |= WANT;
        }
        flags
            | match self.farewell {
                None => 0,
                Some(Farewell::Finished) => FINISHED,
                Some(Farewell::Broken) => BROKEN,
                Some(Farewell::NeverAccepted) => NEVER_ACCEPTED,
                Some(Farewell::Busy) => BUSY,
            }
    }

    /// Reads what [`encode`](Self::encode) wrote; the parts share its memory.
    ///
    /// # Errors
    /// [`Malformed`] for anything else.
    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        if bytes.remaining() < HEAD_BYTES || bytes.get_u8() != VERSION {
            return Err(Malformed);
        }
        let flags = bytes.get_u8();
        let (number, taken, received) = (bytes.get_u32(), bytes.get_u32(), bytes.get_u64());
        let farewell = match flags & ENDS {
            0 => None,
            FINISHED => Some(Farewell::Finished),
            BROKEN => Some(Farewell::Broken),
            NEVER_ACCEPTED => Some(Farewell::NeverAccepted),
            BUSY => Some(Farewell::Busy),
            _ => return Err(Malformed),
        };
        let address = match flags & ADDRESS {
            0 => None,
            _ => {
                let length = bytes.try_get_u16().map_err(|_| Malformed)?;
                let text = take(&mut bytes, usize::from(length))?;
                Some(String::from_utf8(text.to_vec()).map_err(|_| Malformed)?)
            }
        };
        let mut parts = Vec::new();
        while bytes.has_remaining() {
            let length = bytes.try_get_u32().map_err(|_| Malformed)?;
            let goes_on = length & GOES_ON != 0;
            parts.push(Part { bytes: take(&mut bytes, (length & !GOES_ON) as usize)?, goes_on });
        }
        let (queued, want) = (flags & QUEUED != 0, flags & WANT != 0);
        Ok(Self { number, taken, received, address, queued, want, farewell, parts })
    }
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, Malformed> {
    if bytes.remaining() < length {
        return Err(Malformed);
    }
    Ok(bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(farewell: Option<Farewell>) -> Message {
        Message {
            number: u32::MAX,
            taken: 7,
            received: u64::MAX,
            address: Some("_INBOX.worker.1.x.ff".to_owned()),
            queued: true,
            want: true,
            farewell,
            parts: vec![
                Part { bytes: "one".into(), goes_on: true },
                Part { bytes: Bytes::new(), goes_on: false },
                Part { bytes: "three".into(), goes_on: false },
            ],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        use Farewell::{Broken, Busy, Finished, NeverAccepted};
        let farewells = [None, Some(Finished), Some(Broken), Some(NeverAccepted), Some(Busy)];
        for message in farewells.map(full).into_iter().chain([Message::default()]) {
            assert_eq!(Message::decode(message.encode()), Ok(message));
        }
    }

    #[test]
    fn the_form_is_what_other_versions_know() {
        let message = Message {
            number: 1,
            taken: 2,
            received: 3,
            queued: true,
            farewell: Some(Farewell::Finished),
            parts: vec![Part { bytes: "ab".into(), goes_on: true }],
            ..Message::default()
        };
        let expected = b"\x01\x12\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x03\x80\0\0\x02ab";
        assert_eq!(message.encode(), expected.as_slice());
    }

    #[test]
    fn a_cut_message_is_malformed_or_has_fewer_parts() {
        let message = full(Some(Farewell::Broken));
        let whole = message.encode();
        for length in 0..whole.len() {
            if let Ok(read) = Message::decode(whole.slice(..length)) {
                assert!(read.parts.len() < message.parts.len(), "cut at {length}");
            }
        }
    }

    #[test]
    fn another_version_and_unknown_ends_are_malformed() {
        let mut other = full(None).encode().to_vec();
        other[0] = 2;
        assert_eq!(Message::decode(other.clone().into()), Err(Malformed));
        other[0] = VERSION;
        other[1] |= ENDS;
        assert_eq!(Message::decode(other.into()), Err(Malformed));
    }
}
