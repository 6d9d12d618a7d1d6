//! The typed two ends of an exchange: what an edge holds, and what a worker holds.
//!
//! What always holds: both ends may be used from several tasks at once (an `Arc` of one is
//! enough); kinds of frames and follow-ups that this version does not know are passed over, so
//! that services of neighbouring versions understand each other.

use bus::{Bus, BusError, ClientSide, Incoming, ServerSide};
use bytes::Bytes;
use domain::ServerId;
use prost::Message;
use proto::internal::v1::exchange_follow_up::Kind as FollowUpKind;
use proto::internal::v1::exchange_frame::Kind;
use proto::internal::v1::{
    Cancel, ClientAnswer, ExchangeFollowUp, ExchangeFrame, ExchangeOpen, Finished, Interest,
    InterestDone, Notification, Paused, ServerRequest, SessionCatalogue, client_answer,
};

use crate::subject;

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

/// The edge's end. Dropping it cancels the call, and ends an attachment.
#[derive(Debug)]
pub struct Exchange {
    side: ClientSide,
}

impl Exchange {
    /// Sends `open` to the worker that owns `server`.
    ///
    /// # Errors
    /// As of [`Bus::open`]: no worker saw the request.
    pub async fn open(
        bus: &dyn Bus,
        server: ServerId,
        open: &ExchangeOpen,
    ) -> Result<Self, BusError> {
        let first = Bytes::from(open.encode_to_vec());
        let side = bus.open(&subject::exchange(server), first).await?;
        Ok(Self { side })
    }

    /// The next frame. Do not call it after [`Frame::Finished`]. Frames of kinds that this
    /// version does not know are skipped. Cancel-safe.
    ///
    /// # Errors
    /// [`ExchangeError`]; an end without a last frame is [`BusError::Closed`].
    pub async fn next(&self) -> Result<Frame, ExchangeError> {
        loop {
            let frame = self.side.next_frame().await.unwrap_or(Err(BusError::Closed))?;
            return Ok(match ExchangeFrame::decode(frame)?.kind {
                Some(Kind::Notification(notification)) => Frame::Notification(notification),
                Some(Kind::Finished(finished)) => Frame::Finished(finished),
                Some(Kind::Request(request)) => Frame::Request(request),
                Some(Kind::InterestDone(done)) => Frame::InterestDone(done),
                Some(Kind::Catalogue(catalogue)) => Frame::Catalogue(catalogue),
                Some(Kind::Paused(paused)) => Frame::Paused(paused),
                None => continue,
            });
        }
    }

    /// Asks the worker to cancel the call, or to end the attachment; its last frame still comes.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the exchange is over.
    pub async fn cancel(&self, reason: &str) -> Result<(), BusError> {
        self.follow_up(FollowUpKind::Cancel(Cancel { reason: reason.to_owned() })).await
    }

    /// Answers a [`Frame::Request`] by its id. An answer to a request that is none, or was
    /// answered before, is dropped by the worker.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the exchange is over, [`BusError::TooLarge`].
    pub async fn answer(&self, id: &str, answer: Answer) -> Result<(), BusError> {
        let answer = match answer {
            Ok(result) => client_answer::Answer::Result(result),
            Err(error) => client_answer::Answer::Error(error),
        };
        let answer = ClientAnswer { id: id.to_owned(), answer: Some(answer) };
        self.follow_up(FollowUpKind::Answer(answer)).await
    }

    /// Passes a notification of the client on to the upstream; `params` is raw JSON, empty for
    /// none.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the exchange is over, [`BusError::TooLarge`].
    pub async fn notify(&self, method: &str, params: Bytes) -> Result<(), BusError> {
        let notification = Notification { method: method.to_owned(), params };
        self.follow_up(FollowUpKind::Notification(notification)).await
    }

    /// Changes what an attachment wants to hear; a [`Frame::InterestDone`] of its id follows.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the exchange is over, [`BusError::TooLarge`].
    pub async fn interest(&self, interest: Interest) -> Result<(), BusError> {
        self.follow_up(FollowUpKind::Interest(interest)).await
    }

    async fn follow_up(&self, kind: FollowUpKind) -> Result<(), BusError> {
        let follow_up = ExchangeFollowUp { kind: Some(kind) };
        self.side.send(follow_up.encode_to_vec().into()).await
    }
}

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
        self.reply(Kind::Notification(notification)).await
    }

    /// Asks the client something; the answer comes as a [`FollowUp::Answer`] of the same id.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left, [`BusError::TooLarge`].
    pub async fn ask(&self, request: ServerRequest) -> Result<(), BusError> {
        self.reply(Kind::Request(request)).await
    }

    /// Says that an interest was seen to.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left, [`BusError::TooLarge`].
    pub async fn interest_done(&self, done: InterestDone) -> Result<(), BusError> {
        self.reply(Kind::InterestDone(done)).await
    }

    /// Says what the connection of the attachment's own session offers; the raw JSON of a
    /// catalogue.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left, [`BusError::TooLarge`].
    pub async fn catalogue(&self, catalogue: Bytes) -> Result<(), BusError> {
        self.reply(Kind::Catalogue(SessionCatalogue { catalogue })).await
    }

    /// Says that the upstream ended the call's stream, and is asked for the rest later.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left.
    pub async fn paused(&self, paused: Paused) -> Result<(), BusError> {
        self.reply(Kind::Paused(paused)).await
    }

    /// Sends the last frame and ends the exchange.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left, [`BusError::TooLarge`].
    pub async fn finish(self, finished: Finished) -> Result<(), BusError> {
        self.reply(Kind::Finished(finished)).await?;
        self.side.finish();
        Ok(())
    }

    /// What the edge says next; `None` when it left. Cancel-safe.
    pub async fn next_follow_up(&self) -> Option<FollowUp> {
        loop {
            let follow_up = self.side.next_follow_up().await?;
            let kind = ExchangeFollowUp::decode(follow_up).ok().and_then(|message| message.kind);
            return Some(match kind {
                Some(FollowUpKind::Cancel(cancel)) => FollowUp::Cancel(cancel.reason),
                Some(FollowUpKind::Answer(ClientAnswer { id, answer: Some(answer) })) => {
                    let answer = match answer {
                        client_answer::Answer::Result(result) => Ok(result),
                        client_answer::Answer::Error(error) => Err(error),
                    };
                    FollowUp::Answer { id, answer }
                }
                Some(FollowUpKind::Notification(said)) => FollowUp::Notification(said),
                Some(FollowUpKind::Interest(interest)) => FollowUp::Interest(interest),
                Some(FollowUpKind::Answer(ClientAnswer { answer: None, .. })) | None => continue,
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

    async fn reply(&self, kind: Kind) -> Result<(), BusError> {
        let frame = ExchangeFrame { kind: Some(kind) };
        self.side.reply(frame.encode_to_vec().into()).await
    }
}
