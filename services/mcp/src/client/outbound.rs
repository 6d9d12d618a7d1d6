//! The half of a connection that sends, for each transport.

use bytes::Bytes;

use super::SendFailure;
use super::legacy_sse::SseSender;
use super::pipes::PipeSender;
use super::streamable::HttpSession;

/// How messages leave.
pub(super) enum Outbound {
    Pipe(PipeSender),
    Sse(Box<SseSender>),
    Http(Box<HttpSession>),
}

impl Outbound {
    /// Sends a message without waiting, where the transport can; gives it back where it cannot.
    pub(super) fn try_send(&self, message: Bytes) -> Option<Bytes> {
        match self {
            Self::Pipe(pipe) => pipe.try_send(None, message),
            Self::Sse(_) | Self::Http(_) => Some(message),
        }
    }

    /// Sends a notification or an answer.
    pub(super) async fn send_message(&self, message: Bytes) -> Result<(), SendFailure> {
        match self {
            Self::Pipe(pipe) => pipe.send(None, message).await,
            Self::Sse(sender) => sender.post(message).await,
            Self::Http(session) => session.post_message(message, None).await,
        }
    }
}
