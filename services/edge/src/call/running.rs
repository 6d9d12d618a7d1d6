//! A call that was forwarded: what it says, and what is said to it.

use std::time::Duration;

use backplane::exchange::{Answer, Exchange, Frame};
use bytes::Bytes;
use domain::ServerId;
use futures::FutureExt;
use futures::future::BoxFuture;
use mcp::envelope;
use proto::internal::v1::{ExchangeOpen, Finished, Notification, ServerRequest};
use tokio::sync::OwnedSemaphorePermit;

use super::ending::lost;
use super::rounds::{Inputs, Next, next_round};
use super::{Call, Conduct};

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

/// A call that was forwarded.
pub(crate) struct Running {
    server: ServerId,
    /// `None` once the upstream is done with it.
    live: Option<Box<Live>>,
    /// Records the end and makes the answer.
    concluding: Option<BoxFuture<'static, Option<Answer>>>,
    /// Given back when the answer was taken, not when it came.
    slot: Option<OwnedSemaphorePermit>,
}

struct Live {
    call: Call,
    exchange: Exchange,
    /// The parameters, for another round.
    params: Bytes,
    /// What the upstream requires before it goes on.
    inputs: Option<Inputs>,
    rounds: usize,
    /// Of the rounds before this one, in microseconds.
    upstream_us: u64,
    /// Microseconds from the arrival to the exchange.
    before_us: u64,
    is_cancelled: bool,
}

enum Step {
    Notification(Notification),
    Request(ServerRequest),
    Paused(Duration),
    Finished(Finished),
}

impl Running {
    pub(super) fn new(
        call: Call,
        exchange: Exchange,
        params: Bytes,
        before_us: u64,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let server = call.server().id;
        let live = Live {
            call,
            exchange,
            params,
            inputs: None,
            rounds: 0,
            upstream_us: 0,
            before_us,
            is_cancelled: false,
        };
        Self { server, live: Some(Box::new(live)), concluding: None, slot: Some(slot) }
    }

    /// The server that it went to.
    pub(crate) fn server(&self) -> ServerId {
        self.server
    }

    /// What comes next. After [`Said::Answer`] there is nothing more. Dropping the call before
    /// ends it as its [`Conduct`] says. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Said {
        if let Some(live) = self.live.as_mut() {
            match live.step().await {
                Step::Notification(notification) => return Said::Notification(notification),
                Step::Request(request) => return Said::Request(request),
                Step::Paused(retry) => return Said::Paused(retry),
                Step::Finished(finished) => {
                    let live = self.live.take();
                    self.concluding = live.map(|live| live.conclude(finished).boxed());
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
        let Some(live) = self.live.as_mut() else { return };
        let answer = answer.map(|result| live.call.restored(result));
        match &mut live.inputs {
            Some(inputs) => inputs.answer(id, answer),
            // When the worker is gone, the next frame says so.
            None => drop(live.exchange.answer(id, answer).await),
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
        if let Some(live) = &self.live {
            let _ = live.exchange.notify(method, params).await;
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
        let slot = self.slot.take();
        runtime.spawn(async move {
            if let Some(live) = live {
                live.run_out().await;
            }
            if let Some(concluding) = concluding {
                concluding.await;
            }
            drop(slot);
        });
    }
}

impl Call {
    /// What an upstream says, under the names that the client knows; what cannot be read stays
    /// as it is.
    fn exposed_notification(&self, mut said: Notification) -> Notification {
        let space = self.merged.catalogue.namespace(self.server);
        if let Some(space) = space.filter(|_| !said.params.is_empty())
            && let Ok(params) = space.expose_notification(&said.method, &said.params)
        {
            said.params = params;
        }
        said
    }

    fn exposed_request(&self, mut request: ServerRequest) -> ServerRequest {
        let space = self.merged.catalogue.namespace(self.server);
        if let Some(space) = space.filter(|_| !request.params.is_empty())
            && let Ok(params) = space.expose_request(&request.method, &request.params)
        {
            request.params = params;
        }
        request
    }

    /// What the client answers, under the names that the upstream knows.
    fn restored(&self, result: Bytes) -> Bytes {
        let space = self.merged.catalogue.namespace(self.server);
        space.and_then(|space| space.restore(&result).ok()).unwrap_or(result)
    }
}

impl Live {
    /// What is said next. Cancel-safe.
    async fn step(&mut self) -> Step {
        loop {
            if let Some(inputs) = &mut self.inputs {
                if self.is_cancelled {
                    return Step::Finished(inputs.cancelled());
                }
                let next = tokio::select! {
                    biased;
                    () = self.call.cancel.cancelled() => {
                        self.is_cancelled = true;
                        continue;
                    }
                    next = inputs.next() => next,
                };
                match next {
                    Next::Ask(request) => {
                        return Step::Request(self.call.exposed_request(request));
                    }
                    Next::Refused(finished) => return Step::Finished(finished),
                    Next::Complete(params) => match self.reopen(params).await {
                        Ok(()) => continue,
                        Err(finished) => return Step::Finished(finished),
                    },
                }
            }
            let frame = if self.is_cancelled {
                self.exchange.next().await
            } else {
                tokio::select! {
                    biased;
                    frame = self.exchange.next() => frame,
                    () = self.call.cancel.cancelled() => {
                        self.is_cancelled = true;
                        // When the worker is gone, the next frame says so.
                        let _ = self.exchange.cancel("cancelled by the client").await;
                        continue;
                    }
                }
            };
            match frame {
                // Nothing is said to a client about a call that it cancelled.
                Ok(Frame::Notification(_)) if self.is_cancelled => {}
                Ok(Frame::Request(request)) if self.is_cancelled => self.refuse(&request).await,
                Ok(Frame::Notification(said)) => {
                    return Step::Notification(self.call.exposed_notification(said));
                }
                Ok(Frame::Request(request)) => {
                    return Step::Request(self.call.exposed_request(request));
                }
                // Streams of other kinds of clients cannot be resumed.
                Ok(Frame::Paused(_)) if self.call.conduct == Conduct::Stateless => {}
                Ok(Frame::Paused(paused)) => {
                    return Step::Paused(Duration::from_millis(paused.retry_ms));
                }
                // Only attachments have them.
                Ok(Frame::InterestDone(_) | Frame::Catalogue(_)) => {}
                Ok(Frame::Finished(finished)) => {
                    if let Some(finished) = self.finished(finished) {
                        return Step::Finished(finished);
                    }
                }
                Err(error) => return Step::Finished(lost(&error)),
            }
        }
    }

    /// The end, unless the upstream requires input that is to be asked of the client.
    fn finished(&mut self, mut finished: Finished) -> Option<Finished> {
        if self.call.conduct == Conduct::Sessions && !self.is_cancelled {
            match next_round(&self.params, &finished, self.rounds) {
                Ok(None) => {}
                Ok(Some(inputs)) => {
                    self.inputs = Some(inputs);
                    self.rounds += 1;
                    self.upstream_us = self.upstream_us.saturating_add(finished.upstream_us);
                    return None;
                }
                Err(refused) => finished = *refused,
            }
        }
        finished.upstream_us = finished.upstream_us.saturating_add(self.upstream_us);
        Some(finished)
    }

    /// Sends the request again, with what the upstream required.
    async fn reopen(&mut self, params: Bytes) -> Result<(), Finished> {
        let open: ExchangeOpen = self.call.exchange_open(params);
        let server = self.call.server().id;
        match Exchange::open(self.call.shared.bus.as_ref(), server, &open).await {
            Ok(exchange) => {
                self.exchange = exchange;
                self.inputs = None;
                Ok(())
            }
            Err(error) => Err(lost(&error.into())),
        }
    }

    /// Goes on to the end without a client.
    async fn run_out(mut self: Box<Self>) {
        if self.call.conduct == Conduct::Stateless {
            self.call.cancel.cancel();
        }
        loop {
            match self.step().await {
                Step::Notification(_) | Step::Paused(_) => {}
                Step::Request(request) => match &mut self.inputs {
                    Some(inputs) => inputs.answer(&request.id, Err(gone())),
                    None => self.refuse(&request).await,
                },
                Step::Finished(finished) => {
                    self.conclude(finished).await;
                    return;
                }
            }
        }
    }

    /// Answers for a client that is not there to be asked.
    async fn refuse(&self, request: &ServerRequest) {
        let _ = self.exchange.answer(&request.id, Err(gone())).await;
    }

    async fn conclude(self, finished: Finished) -> Option<Answer> {
        let answer = self.call.conclude(finished, self.before_us).await;
        (!self.is_cancelled).then_some(answer)
    }
}

fn gone() -> Bytes {
    let message = "the client does not wait for this call any more";
    envelope::error_object(super::GATEWAY_ERROR, message, None)
}
