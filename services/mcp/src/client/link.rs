//! The part of a connection that all transports share: which requests are under way, and what an
//! incoming message means.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::events::EventSink;
use super::outbound::Outbound;
use super::{CloseCause, ConnectionEvent, Reply, RequestError, SendFailure, Transport};
use crate::envelope::{self, Envelope, EnvelopeError, Kind, code};
use crate::server::EMPTY_RESULT;
use crate::{ListKind, splice};

/// The most messages of a batch.
pub(super) const MAX_BATCH: usize = 100;

/// How many answers and cancellations are on their way at once; more are dropped.
const MAX_DETACHED: usize = 64;

/// How long one of them may take.
const DETACHED_TIMEOUT: Duration = Duration::from_secs(10);

/// How many progress notifications of one request wait to be taken; more are dropped.
const QUEUED_PROGRESS: usize = 64;

/// One request that waits for its answer.
struct Slot {
    reply: oneshot::Sender<Result<Reply, RequestError>>,
    progress: Option<Progress>,
    /// Whether a byte of the request may have left.
    written: bool,
}

struct Progress {
    /// The caller's own token, as it wrote it.
    token: Bytes,
    queue: mpsc::Sender<Bytes>,
}

/// What a waiting request holds.
pub(super) struct Waiting {
    pub(super) reply: oneshot::Receiver<Result<Reply, RequestError>>,
    pub(super) progress: Option<mpsc::Receiver<Bytes>>,
}

/// The shared part of a connection.
pub(super) struct Link {
    pub(super) transport: Transport,
    pub(super) outbound: Outbound,
    pub(super) events: Arc<EventSink>,
    pub(super) max_message_bytes: usize,
    max_in_flight: usize,
    in_flight: AtomicUsize,
    next_id: AtomicU64,
    slots: Mutex<HashMap<u64, Slot>>,
    detached: Arc<Semaphore>,
}

impl Link {
    pub(super) fn new(
        transport: Transport,
        outbound: Outbound,
        events: Arc<EventSink>,
        max_message_bytes: usize,
        max_in_flight: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            transport,
            outbound,
            events,
            max_message_bytes,
            max_in_flight,
            in_flight: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
            slots: Mutex::new(HashMap::new()),
            detached: Arc::new(Semaphore::new(MAX_DETACHED)),
        })
    }

    /// No code that holds the lock can panic half way: a poisoned map is whole.
    fn slots(&self) -> MutexGuard<'_, HashMap<u64, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Takes an id for a new request.
    pub(super) fn begin(&self) -> Result<u64, RequestError> {
        if let Some(cause) = self.events.end.cause() {
            return Err(RequestError::NotSent(SendFailure::Closed(cause.clone())));
        }
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.max_in_flight {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            return Err(RequestError::NotSent(SendFailure::Busy));
        }
        Ok(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Opens the place where the answer to a request is put.
    pub(super) fn wait_for(&self, id: u64, token: Option<Bytes>) -> Waiting {
        let (reply, receiver) = oneshot::channel();
        let (progress, queue) = match token {
            Some(token) => {
                let (queue, receiver) = mpsc::channel(QUEUED_PROGRESS);
                (Some(Progress { token, queue }), Some(receiver))
            }
            None => (None, None),
        };
        self.slots().insert(id, Slot { reply, progress, written: false });
        // A connection that ended meanwhile has already emptied the map: do so again.
        if let Some(cause) = self.events.end.cause() {
            self.fail_all(&cause.clone());
        }
        Waiting { reply: receiver, progress: queue }
    }

    /// Notes that a request is about to leave; `false` if nobody waits for its answer any more.
    pub(super) fn mark_written(&self, id: u64) -> bool {
        self.slots().get_mut(&id).map(|slot| slot.written = true).is_some()
    }

    /// Ends a request: what still comes for it is dropped.
    pub(super) fn finish(&self, id: u64) {
        self.slots().remove(&id);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Ends the connection and with it every request under way.
    pub(super) fn end(&self, cause: CloseCause) {
        if self.events.end.set(cause.clone()) {
            tracing::debug!(transport = %self.transport, %cause, "upstream connection ended");
            self.fail_all(&cause);
        }
    }

    fn fail_all(&self, cause: &CloseCause) {
        let slots = std::mem::take(&mut *self.slots());
        for slot in slots.into_values() {
            let failure = SendFailure::Closed(cause.clone());
            let error = if slot.written {
                RequestError::Unknown(failure)
            } else {
                RequestError::NotSent(failure)
            };
            // Nobody may be waiting any more.
            let _ = slot.reply.send(Err(error));
        }
    }

    /// Acts on one incoming message, whatever stream it came on.
    pub(super) fn receive(self: &Arc<Self>, frame: Bytes) {
        if !envelope::is_batch(&frame) {
            return self.receive_one(frame);
        }
        match envelope::split_batch(&frame, MAX_BATCH) {
            Ok(messages) => messages.into_iter().for_each(|message| self.receive_one(message)),
            Err(error) => self.reject(&frame, &error),
        }
    }

    fn receive_one(self: &Arc<Self>, frame: Bytes) {
        match Envelope::parse(frame.clone(), self.max_message_bytes) {
            Ok(message) => self.take(&message),
            Err(error) => self.reject(&frame, &error),
        }
    }

    /// Acts on a message that could be read.
    pub(super) fn take(self: &Arc<Self>, message: &Envelope) {
        match message.kind() {
            Kind::Result => self.answer(message, |body| Ok(Reply::Result(body))),
            Kind::Error => self.answer(message, |body| Ok(Reply::Error(body))),
            Kind::Request => self.serve(message),
            Kind::Notification => self.notice(message),
        }
    }

    /// What cannot be read is reported; if it was meant as an answer, its request fails.
    fn reject(&self, frame: &[u8], error: &EnvelopeError) {
        tracing::debug!(transport = %self.transport, %error, "message of an upstream refused");
        match error {
            EnvelopeError::NotJsonRpc { id: Some(id), is_answer: true, .. } => {
                self.settle(id.as_u64(), Err(RequestError::InvalidResponse));
            }
            _ => self.events.noise(frame),
        }
    }

    fn answer(&self, message: &Envelope, wrap: fn(Bytes) -> Result<Reply, RequestError>) {
        let id = message.id().and_then(envelope::Id::as_u64);
        if let Some(body) = message.body() {
            self.settle(id, wrap(body));
        }
    }

    fn settle(&self, id: Option<u64>, reply: Result<Reply, RequestError>) {
        let slot = id.and_then(|id| self.slots().remove(&id));
        match slot {
            // Whoever waited may be gone; then nobody misses the answer.
            Some(slot) => drop(slot.reply.send(reply)),
            None => tracing::debug!(transport = %self.transport, "answer to no request dropped"),
        }
    }

    /// We declare no capabilities, so `ping` is all that a server may ask for.
    fn serve(self: &Arc<Self>, message: &Envelope) {
        let answer = match (message.id(), message.method()) {
            (Some(id), "ping") => envelope::response(id, EMPTY_RESULT),
            (id, _) => envelope::error(id, code::METHOD_NOT_FOUND, "Method not found", None),
        };
        self.send_detached(answer);
    }

    fn notice(&self, message: &Envelope) {
        let body = || message.body().unwrap_or_else(|| Bytes::from_static(b"{}"));
        match message.method() {
            "notifications/progress" => self.progress(&body()),
            "notifications/message" => self.events.push(ConnectionEvent::Log(body())),
            "notifications/resources/updated" => {
                self.events.push(ConnectionEvent::ResourceUpdated(body()));
            }
            method => {
                let changed =
                    ListKind::ALL.into_iter().find(|kind| kind.changed_method() == method);
                if let Some(kind) = changed {
                    self.events.list_changed(kind);
                }
            }
        }
    }

    fn progress(&self, params: &Bytes) {
        let Ok(Some(span)) = splice::find(params, &["progressToken"]) else {
            return;
        };
        let token = std::str::from_utf8(&params[span.clone()]).ok();
        let Some(id) = token.and_then(|token| token.parse::<u64>().ok()) else {
            return;
        };
        let slots = self.slots();
        let Some(progress) = slots.get(&id).and_then(|slot| slot.progress.as_ref()) else {
            return;
        };
        let restored = splice::replace_span(params, span, &progress.token);
        if progress.queue.try_send(restored).is_err() {
            tracing::debug!("progress of an upstream dropped: nobody takes it fast enough");
        }
    }

    /// Sends a message that nobody waits for.
    pub(super) fn send_detached(self: &Arc<Self>, message: Bytes) {
        let Some(message) = self.outbound.try_send(message) else {
            return;
        };
        let link = Arc::clone(self);
        self.spawn_detached(async move {
            if let Err(error) = link.outbound.send_message(message).await {
                tracing::debug!(transport = %link.transport, %error, "message to an upstream lost");
            }
        });
    }

    /// Lets something small finish on its own, bounded in number and time.
    pub(super) fn spawn_detached(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = Arc::clone(&self.detached).try_acquire_owned() else {
            tracing::warn!(transport = %self.transport, "message to an upstream dropped: too many");
            return;
        };
        tokio::spawn(async move {
            let _permit = permit;
            // What takes longer than this is dropped; nobody waits for it.
            let _ = tokio::time::timeout(DETACHED_TIMEOUT, work).await;
        });
    }
}
