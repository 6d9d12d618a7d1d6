//! A call that is not over: where it is, and what its upstream says.
//!
//! What always holds: whatever waits in here can be dropped and waited for again, and nothing is
//! lost or done twice by it; what no worker accepted is sent again, and what may have run is not,
//! unless the project says so of such calls; a call that may have run never ends as one that did
//! not start.

use std::future::pending;
use std::time::Duration;

use backplane::exchange::{Answer, Exchange, ExchangeError, Frame, NOT_OWNED};
use bus::BusError;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use proto::events::v1::CallOutcome as WireOutcome;
use proto::internal::v1::{Finished, Notification, ServerRequest, finished};

use super::ending::{cancelled_unsent, lost, unknown};
use super::open::{Open, gone, owed_said};
use super::opening::{Opened, Opening, Unopened};
use super::patience::Patience;
use super::rounds::{Inputs, Next, next_round};
use super::{Call, Conduct, micros};
use crate::record::{self, Unrecorded};

/// See the module.
pub(super) struct Live {
    pub(super) call: Call,
    stage: Stage,
    /// The parameters, for another round.
    params: Bytes,
    /// Those that were sent last.
    pub(super) sent: Bytes,
    patience: Patience,
    /// How often an upstream required input.
    rounds: usize,
    /// How often a worker accepted it, from this edge.
    attempts: u32,
    /// How often it was sent before this edge had it.
    sent_before: u32,
    may_have_run: bool,
    /// The number of the frame after which it is taken over from another edge; it is not sent.
    adopted_after: Option<u64>,
    /// It was run again, which happens once.
    is_repeated: bool,
    /// The client was asked something.
    has_asked: bool,
    is_cancelled: bool,
    /// Of what came before the exchange that is open, in microseconds.
    upstream_us: u64,
    /// Microseconds from the arrival to the exchange.
    before_us: u64,
    /// The exchange of the round before: its answer is kept as long as this.
    before: Option<Exchange>,
}

enum Stage {
    /// The record of its start is being written.
    Starting(BoxFuture<'static, Result<(), Unrecorded>>),
    /// Handed to a worker, or waiting for one.
    Opening(Opening),
    /// A worker has it.
    Open(Open),
    /// The upstream requires this before it goes on.
    Asking(Box<Inputs>),
    Over,
}

/// What comes next.
pub(super) enum Step {
    Notification(Notification),
    Request(ServerRequest),
    Paused(Duration),
    Ended(Ended),
}

pub(super) enum Ended {
    /// To be recorded and answered.
    Finished(Finished),
    /// Nothing was sent, and nothing is recorded: the raw error for the client.
    Refused(Bytes),
}

impl Ended {
    fn finished(finished: Finished) -> Option<Step> {
        Some(Step::Ended(Self::Finished(finished)))
    }
}

impl Live {
    /// A call that begins.
    pub(super) fn begin(call: Call, params: Bytes) -> Self {
        let limit = call.shared.config.limits.takeover_wait;
        let patience = Patience::new(call.meta.id, limit);
        let stage = if record::is_started_first(&call.shared.journal, call.meta.mode) {
            let edge = call.shared.bus.instance();
            Stage::Starting(record::start(&call.shared.journal, &call.meta, edge).boxed())
        } else {
            Stage::Opening(call.opening(call.exchange_open(params.clone()), patience, None))
        };
        Self::at(stage, call, params, patience)
    }

    /// A call that another edge sent, in its `round`.
    pub(super) fn adopted(call: Call, params: Bytes, round: u32, after_frame: u64) -> Self {
        let limit = call.shared.config.limits.takeover_wait;
        let patience = Patience::new(call.meta.id, limit);
        let stage = Stage::Opening(call.adopting(after_frame, patience, None));
        Self {
            rounds: usize::try_from(round).unwrap_or(usize::MAX),
            may_have_run: true,
            adopted_after: Some(after_frame),
            sent_before: round,
            // Whether the client was asked something is not known any more.
            has_asked: true,
            ..Self::at(stage, call, params, patience)
        }
    }

    fn at(stage: Stage, call: Call, params: Bytes, patience: Patience) -> Self {
        Self {
            call,
            stage,
            sent: params.clone(),
            params,
            patience,
            rounds: 0,
            attempts: 0,
            sent_before: 0,
            may_have_run: false,
            adopted_after: None,
            is_repeated: false,
            has_asked: false,
            is_cancelled: false,
            upstream_us: 0,
            before_us: 0,
            before: None,
        }
    }

    /// What is said next. Cancel-safe. After [`Step::Ended`] there is nothing more.
    pub(super) async fn step(&mut self) -> Step {
        loop {
            let step = match &mut self.stage {
                Stage::Starting(starting) => {
                    let started = starting.await;
                    self.started(started)
                }
                Stage::Opening(opening) => {
                    let opened = opening.await;
                    self.opened(opened)
                }
                Stage::Open(_) => self.hear().await,
                Stage::Asking(_) => self.ask().await,
                Stage::Over => pending().await,
            };
            if let Some(step) = step {
                if matches!(step, Step::Ended(_)) {
                    self.over();
                }
                return step;
            }
        }
    }

    /// The exchange stays, for whoever needs its answer if this edge dies.
    fn over(&mut self) {
        if let Stage::Open(open) = std::mem::replace(&mut self.stage, Stage::Over)
            && !self.call.orphan.is_zero()
        {
            self.before = Some(open.exchange);
        }
    }

    /// What keeps the answer at the worker until it is dropped.
    pub(super) fn take_kept(&mut self) -> Option<Exchange> {
        self.before.take()
    }

    fn started(&mut self, started: Result<(), Unrecorded>) -> Option<Step> {
        if let Err(unrecorded) = started {
            record::not_forwarded(&self.call.shared.journal, &self.call.meta, unrecorded);
            return Some(Step::Ended(Ended::Refused(unrecorded.error())));
        }
        self.send(None);
        None
    }

    /// Sends the request, after a pause if it `failed` before.
    fn send(&mut self, failed: Option<BusError>) {
        self.stage = Stage::Opening(match self.adopted_after {
            Some(after_frame) => self.call.adopting(after_frame, self.patience, failed),
            None => {
                let open = self.call.exchange_open(self.sent.clone());
                self.call.opening(open, self.patience, failed)
            }
        });
    }

    fn opened(&mut self, Opened { outcome, patience }: Opened) -> Option<Step> {
        self.patience = patience;
        if !self.may_have_run {
            self.before_us = micros(self.call.arrived);
        }
        match outcome {
            Ok(exchange) => {
                self.attempts += 1;
                self.before = None;
                self.stage = Stage::Open(Open::new(exchange));
                None
            }
            Err(Unopened::Cancelled) => {
                self.is_cancelled = true;
                Ended::finished(cancelled_unsent())
            }
            Err(Unopened::Failed(BusError::Closed | BusError::TimedOut { .. })) => {
                Ended::finished(lost())
            }
            Err(Unopened::Failed(_)) if self.may_have_run => Ended::finished(lost()),
            Err(Unopened::Failed(error)) => Ended::finished(self.call.untaken(&error)),
        }
    }

    async fn hear(&mut self) -> Option<Step> {
        let Stage::Open(open) = &mut self.stage else { return None };
        let owed = open.owed(self.is_cancelled);
        let frame = tokio::select! {
            biased;
            frame = open.exchange.next() => frame,
            () = self.call.cancel.cancelled(), if !self.is_cancelled => {
                self.is_cancelled = true;
                return None;
            }
            () = owed_said(&open.exchange, &owed), if owed.is_some() => {
                open.said(&owed);
                return None;
            }
        };
        match frame {
            Ok(frame) => self.take(frame),
            Err(error) => self.broke(&error),
        }
    }

    fn take(&mut self, frame: Frame) -> Option<Step> {
        let Stage::Open(open) = &mut self.stage else { return None };
        if !matches!(frame, Frame::Finished(_)) {
            open.is_heard = true;
        }
        match frame {
            // Nothing is said to a client about a call that it cancelled.
            Frame::Notification(_) if self.is_cancelled => None,
            Frame::Request(request) if self.is_cancelled => {
                open.refuse(request.id);
                None
            }
            Frame::Notification(said) => {
                Some(Step::Notification(self.call.exposed_notification(said)))
            }
            Frame::Request(request) => {
                self.has_asked = true;
                self.call.note_elicitation(&request);
                Some(Step::Request(self.call.exposed_request(request)))
            }
            // Streams of other kinds of clients cannot be resumed.
            Frame::Paused(_) if self.call.conduct == Conduct::Stateless => None,
            Frame::Paused(paused) => Some(Step::Paused(Duration::from_millis(paused.retry_ms))),
            // Only attachments have them.
            Frame::InterestDone(_) | Frame::Catalogue(_) => None,
            Frame::Finished(finished) => self.finished(finished),
        }
    }

    /// The end, unless it is sent again, or the upstream requires input that is to be asked of the
    /// client.
    fn finished(&mut self, mut finished: Finished) -> Option<Step> {
        let is_heard = matches!(&self.stage, Stage::Open(open) if open.is_heard);
        if is_not_owned(&finished) && !is_heard {
            self.send(Some(BusError::NoResponders));
            return None;
        }
        if is_unknown(&finished) && self.repeat() {
            return None;
        }
        if self.call.conduct == Conduct::Sessions && !self.is_cancelled {
            match next_round(&self.params, &finished, self.rounds) {
                Ok(None) => {}
                Ok(Some(inputs)) => {
                    self.require(inputs, finished.upstream_us);
                    return None;
                }
                Err(refused) => finished = *refused,
            }
        }
        finished.upstream_us = finished.upstream_us.saturating_add(self.upstream_us);
        if self.may_have_run && finished.outcome() == WireOutcome::NotStarted {
            finished = unknown(finished);
        }
        Ended::finished(finished)
    }

    fn require(&mut self, inputs: Inputs, upstream_us: u64) {
        let stage = std::mem::replace(&mut self.stage, Stage::Asking(Box::new(inputs)));
        if let Stage::Open(open) = stage {
            self.before = Some(open.exchange);
        }
        self.rounds += 1;
        self.may_have_run = true;
        self.upstream_us = self.upstream_us.saturating_add(upstream_us);
    }

    fn broke(&mut self, error: &ExchangeError) -> Option<Step> {
        let is_heard = matches!(&self.stage, Stage::Open(open) if open.is_heard);
        if *error == ExchangeError::Bus(BusError::NoResponders) && !is_heard {
            // Nobody accepted it.
            self.send(Some(BusError::NoResponders));
            return None;
        }
        if self.repeat() { None } else { Ended::finished(lost()) }
    }

    /// Runs it again, if it may be: then it is under way. What its client was asked may be answered
    /// yet, and such an answer must not reach another run.
    fn repeat(&mut self) -> bool {
        let may = self.call.is_repeatable && !self.is_cancelled && !self.has_asked;
        if !may || self.is_repeated {
            return false;
        }
        metrics::counter!("mcp_orch_calls_repeated_total").increment(1);
        self.is_repeated = true;
        self.may_have_run = true;
        self.patience =
            Patience::new(self.call.meta.id, self.call.shared.config.limits.takeover_wait);
        self.send(None);
        true
    }

    async fn ask(&mut self) -> Option<Step> {
        let Stage::Asking(inputs) = &mut self.stage else { return None };
        if self.is_cancelled {
            return Ended::finished(inputs.cancelled());
        }
        let next = tokio::select! {
            biased;
            () = self.call.cancel.cancelled() => {
                self.is_cancelled = true;
                return None;
            }
            next = inputs.next() => next,
        };
        match next {
            Next::Ask(request) => {
                self.has_asked = true;
                self.call.note_elicitation(&request);
                Some(Step::Request(self.call.exposed_request(request)))
            }
            Next::Refused(finished) => Ended::finished(finished),
            Next::Complete(params) => {
                // The next round is this edge's own.
                self.adopted_after = None;
                self.sent = params;
                let limit = self.call.shared.config.limits.takeover_wait;
                self.patience = Patience::new(self.call.meta.id, limit);
                self.send(None);
                None
            }
        }
    }

    /// Answers what was asked; of what was not, nothing comes.
    pub(super) async fn answer(&mut self, id: &str, answer: Answer) {
        let answer = answer.map(|result| self.call.restored(result));
        match &mut self.stage {
            Stage::Asking(inputs) => inputs.answer(id, answer),
            // When the worker is gone, the next frame says so.
            Stage::Open(open) => drop(open.exchange.answer(id, answer).await),
            Stage::Starting(_) | Stage::Opening(_) | Stage::Over => {}
        }
    }

    /// Passes a notification of the client on.
    pub(super) async fn notify(&mut self, method: &str, params: Bytes) {
        if let Stage::Open(open) = &self.stage {
            let _ = open.exchange.notify(method, params).await;
        }
    }

    /// How often it was sent before the exchange that is open, and the number of the last frame
    /// that was heard over it; 0 before the first.
    pub(super) fn place(&self) -> (u32, u64) {
        let frame = match &self.stage {
            Stage::Open(open) => open.exchange.last_number(),
            _ => self.before.as_ref().map_or(0, Exchange::last_number),
        };
        (self.sent_before.saturating_add(self.attempts.saturating_sub(1)), frame)
    }

    /// Whether a worker has it and goes on with it without this edge.
    pub(super) fn can_be_left(&self) -> bool {
        let is_there = matches!(self.stage, Stage::Open(_) | Stage::Asking(_));
        is_there && !self.call.orphan.is_zero() && !self.is_cancelled
    }

    /// Leaves it to whoever takes it over, with the answer that asks for input, if that is where
    /// it is.
    pub(super) fn leave(mut self: Box<Self>) {
        if let Some(before) = self.before.take() {
            before.leave();
        }
    }

    /// Goes on to the end without a client.
    pub(super) async fn run_out(mut self: Box<Self>) {
        if self.call.conduct == Conduct::Stateless {
            self.call.cancel.cancel();
        }
        loop {
            match self.step().await {
                Step::Notification(_) | Step::Paused(_) => {}
                Step::Request(request) => match &mut self.stage {
                    Stage::Asking(inputs) => inputs.answer(&request.id, Err(gone())),
                    Stage::Open(open) => open.refuse(request.id),
                    Stage::Starting(_) | Stage::Opening(_) | Stage::Over => {}
                },
                Step::Ended(ended) => {
                    self.conclude(ended).await;
                    return;
                }
            }
        }
    }

    /// Records the end, and makes the answer; none for a client that cancelled.
    pub(super) async fn conclude(mut self, ended: Ended) -> Option<Answer> {
        // Until the answer is recorded.
        let _kept = self.take_kept();
        let answer = match ended {
            Ended::Finished(finished) => {
                self.call.conclude(finished, self.before_us, self.attempts).await
            }
            Ended::Refused(error) => Err(error),
        };
        (!self.is_cancelled).then_some(answer)
    }
}

/// Whether the worker owns the server no longer, and sent nothing.
fn is_not_owned(finished: &Finished) -> bool {
    finished.outcome() == WireOutcome::NotStarted && reason(finished) == Some(NOT_OWNED)
}

/// Whether the worker says that nobody knows what came of it.
fn is_unknown(finished: &Finished) -> bool {
    finished.outcome() == WireOutcome::Unknown
        && reason(finished) == Some(backplane::exchange::OUTCOME_UNKNOWN)
}

fn reason(finished: &Finished) -> Option<&str> {
    match &finished.answer {
        Some(finished::Answer::Failure(failure)) => Some(&failure.reason),
        _ => None,
    }
}
