//! The worker's end of an exchange.

use bus::{BusError, Incoming, ServerSide};
use bytes::Bytes;
use prost::Message;
use proto::internal::v1::exchange_follow_up::Kind;
use proto::internal::v1::{
    ClientAnswer, ExchangeFollowUp, ExchangeOpen, Finished, InterestDone, Notification, Paused,
    ServerRequest, SessionCatalogue, client_answer,
};

use super::{FollowUp, Frame};

/// The worker's end. Dropping it without [`finish`](Self::finish) tells the edge that the
/// exchange broke.
#[derive(Debug)]
pub struct Answering {
    side: ServerSide,
}

impl Answering {
    /// Reads the request of an exchange that came in.
    ///
    /// # Errors
    /// When the request cannot be read; the edge then sees the exchange broken.
    pub fn accept(incoming: Incoming) -> Result<(ExchangeOpen, Self), prost::DecodeError> {
        let open = ExchangeOpen::decode(incoming.first)?;
        Ok((open, Self { side: incoming.exchange }))
    }

    /// Sends a notification for the client; waits while the edge is behind.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left.
    pub async fn notify(&self, notification: Notification) -> Result<(), BusError> {
        self.reply(Frame::Notification(notification)).await
    }

    /// Asks the client something; the answer comes as a [`FollowUp::Answer`] of the same id.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left, [`BusError::TooLarge`].
    pub async fn ask(&self, request: ServerRequest) -> Result<(), BusError> {
        self.reply(Frame::Request(request)).await
    }

    /// Says that an interest was seen to.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left, [`BusError::TooLarge`].
    pub async fn interest_done(&self, done: InterestDone) -> Result<(), BusError> {
        self.reply(Frame::InterestDone(done)).await
    }

    /// Says what the connection of the attachment's own session offers; the raw JSON of a
    /// catalogue.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left, [`BusError::TooLarge`].
    pub async fn catalogue(&self, catalogue: Bytes) -> Result<(), BusError> {
        self.reply(Frame::Catalogue(SessionCatalogue { catalogue })).await
    }

    /// Says that the upstream ended the call's stream, and is asked for the rest later.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left.
    pub async fn paused(&self, paused: Paused) -> Result<(), BusError> {
        self.reply(Frame::Paused(paused)).await
    }

    /// Sends the last frame and ends the exchange.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left, [`BusError::TooLarge`].
    pub async fn finish(self, finished: Finished) -> Result<(), BusError> {
        self.reply(Frame::Finished(finished)).await?;
        self.side.finish();
        Ok(())
    }

    /// What the edge says next; `None` when it left. Cancel-safe.
    pub async fn next_follow_up(&self) -> Option<FollowUp> {
        loop {
            let follow_up = self.side.next_follow_up().await?;
            let kind = ExchangeFollowUp::decode(follow_up).ok().and_then(|message| message.kind);
            return Some(match kind {
                Some(Kind::Cancel(cancel)) => FollowUp::Cancel(cancel.reason),
                Some(Kind::Answer(ClientAnswer { id, answer: Some(answer) })) => {
                    let answer = match answer {
                        client_answer::Answer::Result(result) => Ok(result),
                        client_answer::Answer::Error(error) => Err(error),
                    };
                    FollowUp::Answer { id, answer }
                }
                Some(Kind::Notification(said)) => FollowUp::Notification(said),
                Some(Kind::Interest(interest)) => FollowUp::Interest(interest),
                Some(Kind::Answer(ClientAnswer { answer: None, .. })) | None => continue,
            });
        }
    }

    /// Waits until the call is to be cancelled: with the client's reason, or `None` when the
    /// edge left. What else the edge says meanwhile is dropped. Cancel-safe.
    pub async fn cancelled(&self) -> Option<String> {
        loop {
            if let FollowUp::Cancel(reason) = self.next_follow_up().await? {
                return Some(reason);
            }
        }
    }

    /// Waits until the edge leaves. Cancel-safe.
    pub async fn closed(&self) {
        self.side.closed().await;
    }

    /// Sends a frame that was [encoded](Frame::encode) before.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left, [`BusError::TooLarge`].
    pub async fn send(&self, frame: Bytes) -> Result<(), BusError> {
        self.side.reply(frame).await
    }

    /// Ends the exchange after its last frame was sent.
    pub fn end(&self) {
        self.side.finish();
    }

    /// Whether the edge has left.
    pub fn is_closed(&self) -> bool {
        self.side.is_closed()
    }

    async fn reply(&self, frame: Frame) -> Result<(), BusError> {
        self.send(frame.encode(0)).await
    }
}
