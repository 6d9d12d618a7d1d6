//! The edge's end of an exchange.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bus::{Bus, BusError, ClientSide};
use bytes::Bytes;
use domain::{ServerId, TenantId};
use prost::Message;
use proto::internal::v1::exchange_follow_up::Kind;
use proto::internal::v1::{
    Cancel, ClientAnswer, ExchangeFollowUp, ExchangeFrame, ExchangeKind, ExchangeOpen, Interest,
    Notification, client_answer,
};

use super::{Answer, ExchangeError, Frame};
use crate::subject;

/// How long telling the worker that its last frame arrived may take.
const TAKEN_LIMIT: Duration = Duration::from_secs(1);

/// The edge's end. Dropping it cancels the call, and ends an attachment. A call that was opened
/// with `orphan_ms` goes on for that long instead, unless [`cancel`](Self::cancel) was called
/// before.
///
/// The last frame of such a call is kept by the worker until this is dropped: drop it only once
/// the answer is where it has to be, so that another edge can have it if this one dies before.
#[derive(Debug)]
pub struct Exchange {
    /// Taken only by the drop.
    side: Option<ClientSide>,
    is_kept: bool,
    is_finished: AtomicBool,
    last_number: AtomicU64,
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
        let is_kept = open.orphan_ms > 0 || open.kind() == ExchangeKind::Adoption;
        let last_number = AtomicU64::new(open.after_frame);
        Ok(Self { side: Some(side), is_kept, is_finished: AtomicBool::new(false), last_number })
    }

    /// Takes over the call `call_id` of an edge that is gone: the frames after number
    /// `after_frame` follow, then those to come. Questions of the upstream that nobody answered
    /// come again with their own numbers, which may be smaller. Frames that fell out of the
    /// worker's memory are missing.
    ///
    /// A call that is unknown, ended too long ago or belongs to a living edge is answered by
    /// [`Frame::Finished`] with the failure [`OUTCOME_UNKNOWN`](super::OUTCOME_UNKNOWN). That an
    /// edge is gone is seen within seconds, for so long it may take.
    ///
    /// # Errors
    /// As of [`Bus::open`].
    pub async fn adopt(
        bus: &dyn Bus,
        server: ServerId,
        tenant: TenantId,
        call_id: &str,
        after_frame: u64,
    ) -> Result<Self, BusError> {
        let open = ExchangeOpen {
            tenant: tenant.to_string(),
            server: server.to_string(),
            call_id: call_id.to_owned(),
            kind: ExchangeKind::Adoption.into(),
            after_frame,
            ..ExchangeOpen::default()
        };
        Self::open(bus, server, &open).await
    }

    /// The next frame. Do not call it after [`Frame::Finished`]. Frames of kinds that this
    /// version does not know are skipped. Cancel-safe.
    ///
    /// # Errors
    /// [`ExchangeError`]; an end without a last frame is [`BusError::Closed`].
    pub async fn next(&self) -> Result<Frame, ExchangeError> {
        loop {
            let frame = self.side()?.next_frame().await.unwrap_or(Err(BusError::Closed))?;
            let message = ExchangeFrame::decode(frame)?;
            self.last_number.fetch_max(message.number, Ordering::AcqRel);
            let Some(frame) = Frame::of(message.kind) else { continue };
            if matches!(frame, Frame::Finished(_)) {
                self.is_finished.store(true, Ordering::Release);
            }
            return Ok(frame);
        }
    }

    /// The highest number of the frames that [`next`](Self::next) returned, for an adoption; 0
    /// before the first, and where they are not numbered.
    pub fn last_number(&self) -> u64 {
        self.last_number.load(Ordering::Acquire)
    }

    /// Asks the worker to cancel the call, or to end the attachment; its last frame still comes.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the exchange is over.
    pub async fn cancel(&self, reason: &str) -> Result<(), BusError> {
        self.follow_up(Kind::Cancel(Cancel { reason: reason.to_owned() })).await
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
        self.follow_up(Kind::Answer(answer)).await
    }

    /// Passes a notification of the client on to the upstream; `params` is raw JSON, empty for
    /// none.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the exchange is over, [`BusError::TooLarge`].
    pub async fn notify(&self, method: &str, params: Bytes) -> Result<(), BusError> {
        let notification = Notification { method: method.to_owned(), params };
        self.follow_up(Kind::Notification(notification)).await
    }

    /// Changes what an attachment wants to hear; a [`Frame::InterestDone`] of its id follows.
    ///
    /// # Errors
    /// [`BusError::Closed`] when the exchange is over, [`BusError::TooLarge`].
    pub async fn interest(&self, interest: Interest) -> Result<(), BusError> {
        self.follow_up(Kind::Interest(interest)).await
    }

    /// Leaves a call that was opened with `orphan_ms` as it is, its last frame included, for
    /// whoever takes it over.
    pub fn leave(mut self) {
        self.side = None;
    }

    async fn follow_up(&self, kind: Kind) -> Result<(), BusError> {
        self.side()?.send(follow_up(kind)).await
    }

    fn side(&self) -> Result<&ClientSide, BusError> {
        self.side.as_ref().ok_or(BusError::Closed)
    }
}

fn follow_up(kind: Kind) -> Bytes {
    ExchangeFollowUp { kind: Some(kind) }.encode_to_vec().into()
}

impl Drop for Exchange {
    /// Tells the worker that it need not keep the frames any longer: a death cannot do that.
    fn drop(&mut self) {
        if !self.is_kept || !self.is_finished.load(Ordering::Acquire) {
            return;
        }
        // Outside a runtime nobody listens any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Some(side) = self.side.take() else { return };
        runtime.spawn(async move {
            let taken = follow_up(Kind::Cancel(Cancel { reason: "taken".to_owned() }));
            // If it does not arrive, the frames are kept for their time.
            drop(tokio::time::timeout(TAKEN_LIMIT, side.send(taken)).await);
        });
    }
}
