//! A forwarded request of a stateless client: what its upstream says, as this revision says it.
//!
//! What an upstream of an older revision asks while the call runs ends the request with a result
//! that asks for input; the call waits for the next try. Dropping a conversation cancels its call.

use std::collections::VecDeque;
use std::sync::Arc;

use backplane::exchange::Answer;
use bytes::Bytes;
use domain::{ApiKeyId, ErrorCode, ServerId};
use mcp::envelope;
use mcp::server::stateless::{
    CacheHint, Refusal, RequestMeta, ResultType, SealedState, complete, declares_tasks,
    input_required, missing_for_input, requested_state, result_type, tasks_requirement,
};
use mcp::server::{EMPTY_RESULT, InputRequired};
use mcp::{Id, LogLevel, splice};
use proto::internal::v1::{Notification, ServerRequest};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::call::{Running, Said, failure};
use crate::edge::Shared;
use crate::scope::Scope;
use crate::session::RunningGuard;

use super::answer::Whole;
use super::elsewhere;
use super::input::{Bound, expires_at_ms, questions};
use super::parking::Parked;
use super::tasks;

/// What a client is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// A notification that belongs to the request.
    Notification(Bytes),
    /// The end: the answer, or nothing when the client cancelled.
    Answer(Option<Whole>),
}

/// A request under way.
pub(crate) struct Conversation {
    pub(super) shared: Arc<Shared>,
    pub(super) key: ApiKeyId,
    pub(super) scope: Scope,
    pub(super) id: Id,
    pub(super) meta: RequestMeta,
    /// `None` once the end was said.
    pub(super) running: Option<Running>,
    /// The server that the request went to.
    pub(super) server: ServerId,
    /// What states are bound to; `None` if the request may not ask for input.
    pub(super) bound: Option<Bound>,
    /// For results that may be kept.
    pub(super) cache: Option<CacheHint>,
    /// Of a call that waited: the client's id of this try, by which it can be cancelled.
    pub(super) resumed: Option<Resumed>,
    pub(super) queue: VecDeque<Bytes>,
    /// What the upstream asked for, and the client did not declare.
    pub(super) missing: Option<Bytes>,
}

/// What a call that waited has of its new request.
pub(super) struct Resumed {
    pub(super) cancel: CancellationToken,
    pub(super) _guard: Option<RunningGuard>,
}

impl Conversation {
    /// What comes next. After [`Told::Answer`] there is nothing more.
    pub(crate) async fn next(&mut self) -> Told {
        loop {
            if let Some(message) = self.queue.pop_front() {
                return Told::Notification(message);
            }
            let Some(running) = self.running.as_mut() else {
                return Told::Answer(None);
            };
            let said = match &self.resumed {
                None => running.next().await,
                Some(resumed) => tokio::select! {
                    biased;
                    () = resumed.cancel.cancelled() => {
                        // Dropping the call cancels it.
                        self.running = None;
                        return Told::Answer(None);
                    }
                    said = running.next() => said,
                },
            };
            match said {
                Said::Notification(said) => self.queue.extend(self.notification(&said)),
                Said::Paused(_) => {}
                Said::Request(request) => {
                    if let Some(end) = self.asked(request).await {
                        return Told::Answer(end);
                    }
                }
                Said::Answer(answer) => {
                    self.running = None;
                    return Told::Answer(answer.map(|answer| self.answer(&answer)));
                }
            }
        }
    }

    /// A notification if the client asked for such.
    fn notification(&self, said: &Notification) -> Option<Bytes> {
        let message = |params: &[u8]| Some(envelope::notification(&said.method, Some(params)));
        match said.method.as_str() {
            "notifications/progress" => {
                let token = self.meta.progress_token.as_ref()?;
                if self.resumed.is_none() {
                    return message(&said.params);
                }
                // The upstream still has the token of the first try.
                message(&splice::replace(&said.params, &["progressToken"], token).ok()??)
            }
            "notifications/message" => {
                let wanted = LogLevel::parse(self.meta.log_level.as_deref()?)?;
                let is_wanted = LogLevel::of_params(&said.params)? >= wanted;
                is_wanted.then(|| message(&said.params)).flatten()
            }
            // All others are for those who subscribed.
            _ => None,
        }
    }

    /// Answers what needs no client, or ends the request with the question. `None`: it goes on.
    async fn asked(&mut self, request: ServerRequest) -> Option<Option<Whole>> {
        let mut asked = Vec::new();
        // However much is said meanwhile: the client is asked then.
        let until = Instant::now() + self.shared.config.limits.stateless.gather;
        let mut next = Some(Said::Request(request));
        loop {
            match next {
                Some(Said::Request(request)) => match self.refusal(&request) {
                    None if request.method == "ping" => {
                        self.reply(&request, Ok(Bytes::from_static(EMPTY_RESULT))).await;
                    }
                    None => asked.push(request),
                    Some(refusal) => {
                        self.reply(&request, Err(refusal.error())).await;
                        if let Refusal::MissingCapability(missing) = refusal {
                            self.missing.get_or_insert(missing);
                        }
                    }
                },
                Some(Said::Notification(said)) => {
                    self.queue.extend(self.notification(&said));
                }
                Some(Said::Paused(_)) => {}
                Some(Said::Answer(answer)) => {
                    self.running = None;
                    return Some(answer.map(|answer| self.answer(&answer)));
                }
                None if asked.is_empty() => return None,
                None => return Some(Some(self.park(asked).await)),
            }
            next = match self.running.as_mut() {
                Some(running) => timeout_at(until, running.next()).await.ok(),
                None => None,
            };
        }
    }

    async fn reply(&mut self, request: &ServerRequest, answer: Answer) {
        if let Some(running) = self.running.as_mut() {
            running.answer(&request.id, answer).await;
        }
    }

    /// Why a question is not put to the client.
    fn refusal(&self, request: &ServerRequest) -> Option<Refusal> {
        if request.method == "ping" {
            return None;
        }
        let known = ["elicitation/create", "sampling/createMessage", "roots/list"];
        if self.bound.is_none() || !known.contains(&request.method.as_str()) {
            return Some(Refusal::UnknownMethod(request.method.clone()));
        }
        let params: &[u8] = if request.params.is_empty() { b"{}" } else { &request.params };
        let capabilities = &self.meta.capabilities;
        missing_for_input(&request.method, params, capabilities).map(Refusal::MissingCapability)
    }

    /// Lets the call wait, and asks.
    pub(super) async fn park(&mut self, asked: Vec<ServerRequest>) -> Whole {
        let ended = |what| failure(ErrorCode::Internal.reason(), what);
        let (Some(running), Some(bound)) = (self.running.take(), &self.bound) else {
            return Whole::error(&self.id, &ended("the call is over"));
        };
        let questions = questions(&asked);
        let parked = Parked {
            running,
            asked,
            key: self.key,
            scope: self.scope.clone(),
            expires_at_ms: expires_at_ms(&self.shared),
        };
        let Ok(number) = self.shared.stateless.parking.put(parked) else {
            let message = "too many calls wait for input: answer them, or retry later";
            let error = failure(ErrorCode::ResourceExhausted.reason(), message);
            return Whole::error(&self.id, &error);
        };
        elsewhere::share(&self.shared, number).await;
        let state = bound.seal(&self.shared, &SealedState::Parked(number));
        let info = &self.shared.stateless.server_info;
        Whole::result(&self.id, &input_required(&questions, &state, info))
    }

    /// The upstream's answer in the words of this revision. One that failed after the client could
    /// not be asked says what the client has to declare.
    fn answer(&self, answer: &Answer) -> Whole {
        if let (Some(missing), true) = (&self.missing, has_failed(answer)) {
            let refusal = Refusal::MissingCapability(missing.clone());
            return Whole::refusal(&self.id, &refusal);
        }
        let Ok(result) = answer else {
            return Whole::of(&self.shared, &self.id, answer, None);
        };
        match result_type(result) {
            Ok(ResultType::InputRequired) => self.input_required(result),
            Ok(ResultType::Task) if !declares_tasks(&self.meta.capabilities) => {
                let refusal = Refusal::MissingCapability(tasks_requirement());
                Whole::refusal(&self.id, &refusal)
            }
            Ok(ResultType::Complete) => {
                let result = match declares_tasks(&self.meta.capabilities) {
                    true => &tasks::created(result),
                    false => result,
                };
                Whole::completed(&self.shared, &self.id, result, self.cache)
            }
            Ok(ResultType::Task | ResultType::Other) | Err(_) => {
                Whole::completed(&self.shared, &self.id, result, None)
            }
        }
    }

    /// A result of a stateless upstream that asks: only what the client declared, with a state
    /// that nobody else can use.
    fn input_required(&self, result: &Bytes) -> Whole {
        let unusable = |what| {
            let error = failure(ErrorCode::Internal.reason(), what);
            Whole::error(&self.id, &error)
        };
        let Some(bound) = &self.bound else {
            return unusable("the server asks for input where it must not");
        };
        let Ok(Some(asked)) = InputRequired::parse(result) else {
            return unusable("the server asks for input in a way that cannot be read");
        };
        for request in &asked.requests {
            let params = request.params.as_deref().unwrap_or(b"{}");
            let capabilities = &self.meta.capabilities;
            if let Some(missing) = missing_for_input(&request.method, params, capabilities) {
                return Whole::refusal(&self.id, &Refusal::MissingCapability(missing));
            }
        }
        let Ok(state) = requested_state(result) else {
            return unusable("the server's state cannot be read");
        };
        let wrapped = match state {
            None => complete(result, None, &self.shared.stateless.server_info),
            Some(state) => {
                let state = SealedState::Upstream { server: self.server.to_string(), state };
                let sealed = splice::quote(&bound.seal(&self.shared, &state));
                splice::set(result, &["requestState"], &sealed).and_then(|wrapped| {
                    complete(&wrapped, None, &self.shared.stateless.server_info)
                })
            }
        };
        match wrapped {
            Ok(wrapped) => Whole::result(&self.id, &wrapped),
            Err(_) => unusable("the server's result is not a legal object"),
        }
    }
}

fn has_failed(answer: &Answer) -> bool {
    answer.as_ref().map_or(true, |result| {
        splice::slice(result, &["isError"]).is_ok_and(|said| said.as_deref() == Some(b"true"))
    })
}
