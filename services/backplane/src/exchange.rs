//! The typed two ends of an exchange: what an edge holds, and what a worker holds.
//!
//! A call that is opened with `orphan_ms` outlives its edge for so long: another edge takes it over
//! with [`Exchange::adopt`]. Its frames have numbers, the same for whoever adopts it.
//!
//! What always holds: both ends may be used from several tasks at once (an `Arc` of one is
//! enough); kinds of frames and follow-ups that this version does not know are passed over, so
//! that services of neighbouring versions understand each other.

mod answering;
mod asking;

use bus::BusError;
use bytes::Bytes;
use prost::Message;
use proto::internal::v1::exchange_frame::Kind;
use proto::internal::v1::{
    ExchangeFrame, Finished, Interest, InterestDone, Notification, Paused, ServerRequest,
    SessionCatalogue,
};

pub use self::answering::Answering;
pub use self::asking::Exchange;

/// The reason of a failure: the worker no longer owns the server, and sent nothing upstream. Open
/// the exchange again: another worker owns it, or will.
pub const NOT_OWNED: &str = "NOT_OWNED";

/// The reason of a failure: the request may have run, and nobody can say what came of it. Also of
/// an adoption of a call that is not there, or not to be had.
pub const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";

/// What a client answers to a request of an upstream: the raw JSON of `result`, or of `error`.
pub type Answer = Result<Bytes, Bytes>;

/// Why an exchange ended without its last frame. Unless it is [`BusError::NoResponders`], the
/// request may have reached the upstream.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExchangeError {
    /// The bus, or the other side leaving.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A frame that is none: the other side is of a version that this one does not know.
    #[error("a frame of the exchange cannot be read")]
    Malformed(#[from] prost::DecodeError),
}

/// A frame from the worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// For the client, while the call runs or the attachment stands.
    Notification(Notification),
    /// The upstream asks the client; to be answered with [`Exchange::answer`] by its id.
    Request(ServerRequest),
    /// Attachments only: an [`Interest`] was seen to.
    InterestDone(InterestDone),
    /// Attachments of servers with isolation `session` only: what its own connection offers.
    Catalogue(SessionCatalogue),
    /// Requests only: the upstream ended the call's stream, and is asked for the rest later. The
    /// call goes on as if nothing was said.
    Paused(Paused),
    /// The last one.
    Finished(Finished),
}

impl Frame {
    /// The frame of a message; `None` for kinds that this version does not know.
    fn of(kind: Option<Kind>) -> Option<Self> {
        Some(match kind? {
            Kind::Notification(notification) => Self::Notification(notification),
            Kind::Finished(finished) => Self::Finished(finished),
            Kind::Request(request) => Self::Request(request),
            Kind::InterestDone(done) => Self::InterestDone(done),
            Kind::Catalogue(catalogue) => Self::Catalogue(catalogue),
            Kind::Paused(paused) => Self::Paused(paused),
        })
    }

    /// As it is sent, at its place in the exchange; 0 where frames are not numbered.
    pub fn encode(self, number: u64) -> Bytes {
        let kind = match self {
            Self::Notification(notification) => Kind::Notification(notification),
            Self::Finished(finished) => Kind::Finished(finished),
            Self::Request(request) => Kind::Request(request),
            Self::InterestDone(done) => Kind::InterestDone(done),
            Self::Catalogue(catalogue) => Kind::Catalogue(catalogue),
            Self::Paused(paused) => Kind::Paused(paused),
        };
        ExchangeFrame { kind: Some(kind), number }.encode_to_vec().into()
    }
}

/// What an edge says after it opened an exchange.
#[derive(Debug, Clone, PartialEq)]
pub enum FollowUp {
    /// The answer is no longer wanted; the client's reason.
    Cancel(String),
    /// The client's answer to a [`ServerRequest`].
    Answer {
        /// The request's id.
        id: String,
        /// What it says.
        answer: Answer,
    },
    /// A notification of the client for the upstream.
    Notification(Notification),
    /// Attachments only: a change of what it wants to hear.
    Interest(Interest),
}
