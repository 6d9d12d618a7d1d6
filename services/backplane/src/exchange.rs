//! The typed two ends of an exchange: what an edge holds, and what a worker holds.

use bus::{Bus, BusError, ClientSide, Incoming, ServerSide};
use bytes::Bytes;
use domain::ServerId;
use prost::Message;
use proto::internal::v1::exchange_frame::Kind;
use proto::internal::v1::{
    Cancel, ExchangeFollowUp, ExchangeFrame, ExchangeOpen, Finished, Notification,
    exchange_follow_up,
};

use crate::subject;

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
    /// For the client, while the call runs.
    Notification(Notification),
    /// The last one.
    Finished(Finished),
}

/// The edge's end. Dropping it cancels the call.
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
            match ExchangeFrame::decode(frame)?.kind {
                Some(Kind::Notification(notification)) => {
                    return Ok(Frame::Notification(notification));
                }
                Some(Kind::Finished(finished)) => return Ok(Frame::Finished(finished)),
                None => {}
            }
        }
    }

    /// Asks the worker to cancel the call; its last frame still comes.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the exchange is over.
    pub async fn cancel(&self, reason: &str) -> Result<(), BusError> {
        let cancel = Cancel { reason: reason.to_owned() };
        let follow_up = ExchangeFollowUp { kind: Some(exchange_follow_up::Kind::Cancel(cancel)) };
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

    /// Sends a notification to the client; waits while the edge is behind.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the edge left.
    pub async fn notify(&self, notification: Notification) -> Result<(), BusError> {
        self.reply(Kind::Notification(notification)).await
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

    /// Waits until the call is to be cancelled: with the client's reason, or `None` when the
    /// edge left. Cancel-safe.
    pub async fn cancelled(&self) -> Option<String> {
        while let Some(follow_up) = self.side.next_follow_up().await {
            let kind = ExchangeFollowUp::decode(follow_up).ok().and_then(|message| message.kind);
            if let Some(exchange_follow_up::Kind::Cancel(cancel)) = kind {
                return Some(cancel.reason);
            }
        }
        None
    }

    async fn reply(&self, kind: Kind) -> Result<(), BusError> {
        let frame = ExchangeFrame { kind: Some(kind) };
        self.side.reply(frame.encode_to_vec().into()).await
    }
}
