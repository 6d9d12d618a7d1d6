//! A call in the hands of whoever answers it: what it says, and what is said to it.

use std::time::Duration;

use backplane::exchange::{Answer, Exchange};
use bytes::Bytes;
use domain::ServerId;
use futures::FutureExt;
use futures::future::BoxFuture;
use mcp::envelope;
use proto::internal::v1::{ForwardedCall, Notification, ServerRequest};
use tokio::sync::OwnedSemaphorePermit;

use super::Call;
use super::live::{Live, Step};

/// What a call says to its client.
#[derive(Debug)]
pub(crate) enum Said {
    /// A notification that belongs to the call.
    Notification(Notification),
    /// The upstream asks the client; to be answered with [`Running::answer`] by its id, which is
    /// unique within the call.
    Request(ServerRequest),
    /// The upstream wants to be polled: more comes after as long as this. A client whose stream
    /// can be resumed may be sent away until then; everybody else passes over it.
    Paused(Duration),
    /// The end: the raw result or error, or nothing when the client cancelled.
    Answer(Option<Answer>),
}

/// A notification as a whole message.
pub(crate) fn notification_message(said: &Notification) -> Bytes {
    let params = (!said.params.is_empty()).then_some(&said.params[..]);
    envelope::notification(&said.method, params)
}

/// A call that was admitted: it is forwarded as this goes on.
pub(crate) struct Running {
    server: ServerId,
    /// `None` once the upstream is done with it.
    live: Option<Box<Live>>,
    /// Records the end and makes the answer.
    concluding: Option<BoxFuture<'static, Option<Answer>>>,
    /// Lets the worker keep the answer for another edge until it was taken here.
    kept: Option<Exchange>,
    /// Given back when the answer was taken, not when it came.
    slot: Option<OwnedSemaphorePermit>,
}

impl Running {
    pub(super) fn new(live: Live, slot: OwnedSemaphorePermit) -> Self {
        let server = live.call.server().id;
        let live = Some(Box::new(live));
        Self { server, live, concluding: None, kept: None, slot: Some(slot) }
    }

    /// The server that it goes to.
    pub(crate) fn server(&self) -> ServerId {
        self.server
    }

    /// What comes next. After [`Said::Answer`] there is nothing more. Dropping the call before
    /// ends it as its [`Conduct`](super::Conduct) says. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Said {
        if let Some(live) = self.live.as_mut() {
            match live.step().await {
                Step::Notification(notification) => return Said::Notification(notification),
                Step::Request(request) => return Said::Request(request),
                Step::Paused(retry) => return Said::Paused(retry),
                Step::Ended(ended) => {
                    self.kept = live.take_kept();
                    let live = self.live.take();
                    self.concluding = live.map(|live| live.conclude(ended).boxed());
                }
            }
        }
        let Some(concluding) = self.concluding.as_mut() else {
            return Said::Answer(None);
        };
        let answer = concluding.await;
        self.concluding = None;
        Said::Answer(answer)
    }

    /// Answers a [`Said::Request`]; one that is none, or was answered already, is passed over.
    pub(crate) async fn answer(&mut self, id: &str, answer: Answer) {
        if let Some(live) = self.live.as_mut() {
            live.answer(id, answer).await;
        }
    }

    /// Answers a [`Said::Request`] for a client that cannot be asked.
    pub(crate) async fn refuse(&mut self, id: &str) {
        let message = "the client cannot be asked here";
        let error = envelope::error_object(super::GATEWAY_ERROR, message, None);
        self.answer(id, Err(error)).await;
    }

    /// Passes a notification of the client, which belongs to this call, on to the upstream.
    pub(crate) async fn notify(&mut self, method: &str, params: Bytes) {
        if let Some(live) = self.live.as_mut() {
            live.notify(method, params).await;
        }
    }

    /// What another edge must know of it to go on with it; `None` when its upstream is done.
    pub(crate) fn forwarded(&self) -> Option<ForwardedCall> {
        self.live.as_ref().map(|live| live.forwarded())
    }

    /// The number of the last frame that was heard; 0 before the first.
    pub(crate) fn last_frame(&self) -> u64 {
        self.place().1
    }

    /// Where that frame is: which of the exchanges of the call it came over, and its number there.
    /// At an edge that goes on with the call it is the same.
    pub(crate) fn place(&self) -> (u32, u64) {
        self.live.as_ref().map_or((0, 0), |live| live.place())
    }

    /// What lets the worker keep the answer, which was taken.
    pub(crate) fn into_kept(mut self) -> Option<Exchange> {
        self.kept.take()
    }

    /// Leaves the call to an edge that takes it over: it is neither cancelled nor recorded here.
    /// What no worker has yet, or what is over, ends here after all.
    pub(crate) fn leave(mut self) {
        if self.live.as_ref().is_some_and(|live| live.can_be_left())
            && let Some(live) = self.live.take()
        {
            live.leave();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (live, concluding) = (self.live.take(), self.concluding.take());
        if live.is_none() && concluding.is_none() {
            return;
        }
        // Outside a runtime there is nothing left that could run to its end.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (slot, kept) = (self.slot.take(), self.kept.take());
        runtime.spawn(async move {
            if let Some(live) = live {
                live.run_out().await;
            }
            if let Some(concluding) = concluding {
                concluding.await;
            }
            drop((slot, kept));
        });
    }
}

impl Call {
    /// What an upstream says, under the names that the client knows; what cannot be read stays
    /// as it is.
    pub(super) fn exposed_notification(&self, mut said: Notification) -> Notification {
        let space = self.merged.catalogue.namespace(self.server);
        if let Some(space) = space.filter(|_| !said.params.is_empty())
            && let Ok(params) = space.expose_notification(&said.method, &said.params)
        {
            said.params = params;
        }
        said
    }

    pub(super) fn exposed_request(&self, mut request: ServerRequest) -> ServerRequest {
        let space = self.merged.catalogue.namespace(self.server);
        if let Some(space) = space.filter(|_| !request.params.is_empty())
            && let Ok(params) = space.expose_request(&request.method, &request.params)
        {
            request.params = params;
        }
        request
    }

    /// What the client answers, under the names that the upstream knows.
    pub(super) fn restored(&self, result: Bytes) -> Bytes {
        let space = self.merged.catalogue.namespace(self.server);
        space.and_then(|space| space.restore(&result).ok()).unwrap_or(result)
    }
}
