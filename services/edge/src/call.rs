//! One call on its way: routed, sent through the bus to the worker that owns the server, recorded,
//! answered.
//!
//! The body is never parsed: a name or URI is spliced in on the way there, the client's id and
//! namespaced URIs on the way back. A client that goes away does not end the call (up to revision
//! 2025-11-25 a disconnect is no cancel): it runs to its end and is recorded.

use std::sync::Arc;
use std::time::Instant;

use backplane::exchange::{Exchange, ExchangeError, Frame};
use bus::BusError;
use bytes::Bytes;
use domain::call::{CallOutcome, CallSubject};
use domain::project::AuditMode;
use domain::{CallId, ErrorCode};
use mcp::envelope;
use mcp::server::Method;
use mcp::{Id, splice};
use proto::events::v1::CallOutcome as WireOutcome;
use proto::internal::v1::{ExchangeFailure, ExchangeOpen, Finished, finished};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::auth::Grant;
use crate::edge::Shared;
use crate::merged::{Merged, MergedServer};
use crate::record::{self, Arguments, CallMeta, Ending, Unrecorded};
use crate::route::{check_offered, route};
use crate::session::{RunningGuard, Session};

/// The JSON-RPC code of what went wrong between client and upstream; the reason says what.
pub(crate) const GATEWAY_ERROR: i64 = -32000;

/// What a call says to its client.
#[derive(Debug)]
pub(crate) enum Said {
    /// A notification that belongs to the call.
    Notification(Bytes),
    /// The end: the answer, or nothing when the client cancelled.
    Answer(Option<Bytes>),
}

/// A call that was forwarded.
pub(crate) struct Running {
    /// `None` once the end was said.
    live: Option<Box<Live>>,
    /// Given back when the answer was taken, not when it came.
    slot: Option<OwnedSemaphorePermit>,
}

/// A call, from its admission to its end.
struct Call {
    shared: Arc<Shared>,
    id: Id,
    method: Method,
    merged: Arc<Merged>,
    server: usize,
    meta: CallMeta,
    arrived: Instant,
    guard: RunningGuard,
    _permit: OwnedSemaphorePermit,
}

struct Live {
    call: Call,
    exchange: Exchange,
    /// Microseconds from the arrival to the exchange.
    before_us: u64,
    is_cancelled: bool,
}

/// Routes and forwards a request. An error is the whole answer to the client: nothing was sent.
pub(crate) async fn begin(
    shared: &Arc<Shared>,
    grant: &Grant,
    session: &Arc<Session>,
    (id, method, params): (&Id, Method, Option<Bytes>),
) -> Result<Running, Bytes> {
    let arrived = Instant::now();
    let params = params.unwrap_or_else(|| Bytes::from_static(b"{}"));
    let merged = shared.catalogues.get(&grant.scope).await;
    let routed =
        route(&merged.catalogue, method, &params).map_err(|unroutable| unroutable.answer(id))?;
    let server = &merged.servers[routed.server];
    check_offered(&shared.replica.read(), server.id, method, &routed)
        .map_err(|unroutable| unroutable.answer(id))?;
    let permit = Arc::clone(&shared.permits).try_acquire_owned().ok();
    let (Some(permit), Some(slot)) = (permit, session.call_slot()) else {
        let message = "too many calls are under way: retry";
        return Err(failure(id, ErrorCode::ResourceExhausted.reason(), message));
    };
    let meta = CallMeta {
        id: CallId::from_uuid(Uuid::now_v7()),
        tenant: grant.tenant,
        key: grant.key,
        mode: grant.settings.audit_mode,
        subject: CallSubject {
            project: grant.scope.project().clone(),
            server: server.id,
            server_name: server.name.clone(),
            method: method.as_str().to_owned(),
            target: routed.target,
            api_key: Some(grant.key),
            started_at: (shared.clock)(),
        },
        client: session.client().to_owned(),
        mcp_session: short(session),
        arguments: splice::slice(&params, &["arguments"]).ok().flatten().unwrap_or_default(),
    };
    let call = Call {
        shared: Arc::clone(shared),
        id: id.clone(),
        method,
        server: routed.server,
        merged: Arc::clone(&merged),
        meta,
        arrived,
        // Before anything is waited for, so that no cancellation comes too early.
        guard: session.begin(id),
        _permit: permit,
    };
    if grant.settings.audit_mode != AuditMode::Strict {
        return call.forward(routed.params, slot).await;
    }
    // Between the record of its start and its end a call must not vanish with its client.
    let forwarded = shared.tasks.spawn(call.forward(routed.params, slot)).await;
    let lost = |_| failure(id, ErrorCode::Internal.reason(), "the call was lost");
    forwarded.map_err(lost).and_then(|forwarded| forwarded)
}

fn short(session: &Session) -> String {
    // Who holds the whole id may speak in the session: the record has enough to group by.
    session.id.as_str().chars().take(12).collect()
}

impl Call {
    fn server(&self) -> &MergedServer {
        &self.merged.servers[self.server]
    }

    async fn forward(self, params: Bytes, slot: OwnedSemaphorePermit) -> Result<Running, Bytes> {
        let started_at = self.meta.subject.started_at;
        let admitted = record::admit(&self.shared.journal, &self.meta, started_at).await;
        if admitted == Err(Unrecorded) {
            let message = "the record cannot be written: retry later";
            return Err(failure(&self.id, ErrorCode::Unavailable.reason(), message));
        }
        let open = self.exchange_open(params);
        let before_us = micros(self.arrived);
        match Exchange::open(self.shared.bus.as_ref(), self.server().id, &open).await {
            Ok(exchange) => {
                let live = Live { call: self, exchange, before_us, is_cancelled: false };
                Ok(Running { live: Some(Box::new(live)), slot: Some(slot) })
            }
            Err(error) => Err(self.not_started(before_us, &error).await),
        }
    }

    fn exchange_open(&self, params: Bytes) -> ExchangeOpen {
        // Most calls have no token, and need no look through their parameters.
        let token = memchr::memmem::find(&params, b"progressToken")
            .and_then(|_| splice::slice(&params, &["_meta", "progressToken"]).ok().flatten());
        ExchangeOpen {
            tenant: self.meta.tenant.to_string(),
            project: self.meta.subject.project.to_string(),
            server: self.server().id.to_string(),
            call_id: self.meta.id.to_string(),
            method: self.method.as_str().to_owned(),
            params,
            progress_token: token.unwrap_or_default(),
            record: true,
            deadline_ms: 0,
        }
    }

    async fn not_started(self, before_us: u64, error: &BusError) -> Bytes {
        let server = self.server();
        server.count(CallOutcome::NotStarted);
        let view = self.shared.replica.read().connection(&server.id);
        let message = match (error, view.observation.cause.as_str()) {
            (BusError::NoResponders, "") => format!("{} is not connected", server.name),
            (BusError::NoResponders, cause) => format!("{} is not connected: {cause}", server.name),
            (error, _) => format!("{} cannot be reached: {error}", server.name),
        };
        let ending = Ending {
            outcome: CallOutcome::NotStarted,
            error_code: 0,
            queue_us: before_us,
            upstream_us: 0,
            total_us: before_us,
            arguments: Arguments::Withheld,
            stored_result: Bytes::new(),
            result_bytes: 0,
            result_masked: false,
        };
        let now = (self.shared.clock)();
        // Nothing ran: when the record fails too, the answer is the same.
        let _ = record::finish(&self.shared.journal, self.meta, ending, now).await;
        failure(&self.id, ErrorCode::UpstreamUnavailable.reason(), &message)
    }
}

/// An error of ours, with its stable reason.
pub(crate) fn failure(id: &Id, reason: &str, message: &str) -> Bytes {
    let data = format!("{{\"reason\":\"{reason}\"}}");
    envelope::error(Some(id), GATEWAY_ERROR, message, Some(data.as_bytes()))
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl Running {
    /// What comes next. After [`Said::Answer`] there is nothing more. Dropping the call before
    /// lets it run to its end.
    pub(crate) async fn next(&mut self) -> Said {
        let Some(live) = self.live.as_mut() else {
            return Said::Answer(None);
        };
        match live.step().await {
            Ok(notification) => Said::Notification(notification),
            Err(finished) => match self.live.take() {
                Some(live) => Said::Answer(live.conclude(finished).await),
                None => Said::Answer(None),
            },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (Some(mut live), slot) = (self.live.take(), self.slot.take()) else { return };
        // Outside a runtime there is nothing left that could run to its end.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            loop {
                if let Err(finished) = live.step().await {
                    live.conclude(finished).await;
                    drop(slot);
                    return;
                }
            }
        });
    }
}

impl Live {
    /// The next notification, or how it ended. Cancel-safe.
    async fn step(&mut self) -> Result<Bytes, Finished> {
        loop {
            let frame = if self.is_cancelled {
                self.exchange.next().await
            } else {
                tokio::select! {
                    biased;
                    frame = self.exchange.next() => frame,
                    () = self.call.guard.cancel.cancelled() => {
                        self.is_cancelled = true;
                        // When the worker is gone, the next frame says so.
                        let _ = self.exchange.cancel("cancelled by the client").await;
                        continue;
                    }
                }
            };
            return match frame {
                // Nothing is said to a client about a call that it cancelled.
                Ok(Frame::Notification(_)) if self.is_cancelled => continue,
                Ok(Frame::Notification(said)) => {
                    let params = (!said.params.is_empty()).then_some(&said.params[..]);
                    Ok(envelope::notification(&said.method, params))
                }
                Ok(Frame::Finished(finished)) => Err(finished),
                Err(error) => Err(lost(&error)),
            };
        }
    }

    /// Records how it ended and makes the answer.
    async fn conclude(self, finished: Finished) -> Option<Bytes> {
        let call = self.call;
        let total_us = micros(call.arrived);
        let outcome = outcome(&finished);
        call.server().count(outcome);
        let arguments = arguments(&finished, outcome);
        let (answer, passed) = call.answer(&finished);
        let ending = Ending {
            outcome,
            error_code: finished.error_code,
            queue_us: self.before_us.saturating_add(finished.queue_us),
            upstream_us: finished.upstream_us,
            total_us,
            arguments,
            result_bytes: passed.len(),
            result_masked: finished.stored_result.is_some(),
            stored_result: finished.stored_result.unwrap_or(passed),
        };
        let now = (call.shared.clock)();
        let recorded = record::finish(&call.shared.journal, call.meta, ending, now).await;
        if self.is_cancelled {
            return None;
        }
        match recorded {
            Err(Unrecorded) if outcome != CallOutcome::NotStarted => Some(failure(
                &call.id,
                ErrorCode::OutcomeUnrecorded.reason(),
                "the call ran, but its record could not be made durable: check its effect before \
                 calling again",
            )),
            _ => Some(answer),
        }
    }
}

/// What may be stored of the arguments. The worker masks all parameters, of which they are a
/// part; where it had no connection, or did not answer, it looked at nothing.
fn arguments(finished: &Finished, outcome: CallOutcome) -> Arguments {
    if let Some(masked) = &finished.stored_arguments {
        let part = splice::slice(masked, &["arguments"]).ok().flatten();
        return Arguments::Masked(part.unwrap_or_default());
    }
    let is_failure = matches!(finished.answer, Some(finished::Answer::Failure(_)) | None);
    match outcome {
        CallOutcome::NotStarted | CallOutcome::Unknown | CallOutcome::Cancelled if is_failure => {
            Arguments::Withheld
        }
        _ => Arguments::AsSent,
    }
}

impl Call {
    /// The answer for the client, and what of it may be stored.
    fn answer(&self, finished: &Finished) -> (Bytes, Bytes) {
        match &finished.answer {
            Some(finished::Answer::Result(result)) => {
                let exposed = self
                    .merged
                    .catalogue
                    .namespace(self.server)
                    .and_then(|space| space.expose_result(self.method.as_str(), result).ok());
                let exposed = exposed.as_ref().unwrap_or(result);
                (envelope::response(&self.id, exposed), result.clone())
            }
            Some(finished::Answer::Error(error)) => {
                (envelope::error_response(Some(&self.id), error), error.clone())
            }
            Some(finished::Answer::Failure(said)) => {
                (failure(&self.id, &said.reason, &said.message), Bytes::new())
            }
            None => {
                let said = "the worker gave no answer";
                (failure(&self.id, ErrorCode::Internal.reason(), said), Bytes::new())
            }
        }
    }
}

/// An exchange that broke: nobody took it, or it may have run.
fn lost(error: &ExchangeError) -> Finished {
    let (outcome, reason, message) = match error {
        ExchangeError::Bus(BusError::NoResponders) => (
            WireOutcome::NotStarted,
            ErrorCode::UpstreamUnavailable.reason(),
            "the server's worker left before it took the call",
        ),
        _ => (
            WireOutcome::Unknown,
            "OUTCOME_UNKNOWN",
            "the server's worker was lost: the call may have run",
        ),
    };
    let failure = ExchangeFailure { reason: reason.to_owned(), message: message.to_owned() };
    Finished {
        answer: Some(finished::Answer::Failure(failure)),
        outcome: outcome.into(),
        ..Finished::default()
    }
}

fn outcome(finished: &Finished) -> CallOutcome {
    match finished.outcome() {
        WireOutcome::Ok => CallOutcome::Ok,
        WireOutcome::ToolError => CallOutcome::ToolError,
        WireOutcome::UpstreamError => CallOutcome::UpstreamError,
        WireOutcome::Cancelled => CallOutcome::Cancelled,
        WireOutcome::Timeout => CallOutcome::Timeout,
        WireOutcome::NotStarted => CallOutcome::NotStarted,
        WireOutcome::Unspecified | WireOutcome::Unknown => CallOutcome::Unknown,
    }
}
