//! The part of a connection that all transports share: which requests are under way, and what an
//! incoming message means.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::asked::Asked;
use super::events::EventSink;
use super::hop::{self, Hop};
use super::outbound::Outbound;
use super::tool_headers::KnownTools;
use super::{
    ClientOptions, CloseCause, ConnectionEvent, Frame, Reply, RequestError, SendFailure,
    ServerRequest, Transport,
};
use crate::envelope::{self, Envelope, EnvelopeError, Id, Kind, code};
use crate::server::EMPTY_RESULT;
use crate::{ListKind, Protocol, splice};

/// The most messages of a batch.
pub(super) const MAX_BATCH: usize = 100;

/// How many answers and cancellations are on their way at once; more are dropped.
const MAX_DETACHED: usize = 64;

/// The first thing that a listening request brings.
pub(super) const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// How long one of them may take.
const DETACHED_TIMEOUT: Duration = Duration::from_secs(10);

/// How many notifications of one request wait to be taken; more are dropped.
const QUEUED_FRAMES: usize = 64;

/// One request that waits for its answer.
struct Slot {
    reply: oneshot::Sender<Result<Reply, RequestError>>,
    frames: Option<Frames>,
    /// Whether a byte of the request may have left.
    written: bool,
}

/// The way to a request for what belongs to it and comes on everybody's stream.
struct Frames {
    /// The caller's own progress token, as it wrote it.
    token: Option<Bytes>,
    queue: mpsc::Sender<Frame>,
}

/// What a waiting request holds.
pub(super) struct Waiting {
    pub(super) reply: oneshot::Receiver<Result<Reply, RequestError>>,
    pub(super) frames: Option<mpsc::Receiver<Frame>>,
}

/// See [`Link::drop_parked`].
pub(super) struct DropParked(Arc<Link>, u64);

impl Drop for DropParked {
    fn drop(&mut self) {
        drop(self.0.take_parked(self.1));
    }
}

impl Frames {
    fn put(&self, frame: Frame) {
        if self.queue.try_send(frame).is_err() {
            tracing::debug!("notification of an upstream dropped: nobody takes it fast enough");
        }
    }
}

/// The shared part of a connection.
pub(super) struct Link {
    pub(super) transport: Transport,
    pub(super) outbound: Outbound,
    pub(super) events: Arc<EventSink>,
    pub(super) max_message_bytes: usize,
    /// What a stateless server is told with each request.
    pub(super) hop: Hop,
    /// Which arguments of which tools a stateless server wants in headers.
    pub(super) tools: KnownTools,
    max_in_flight: usize,
    in_flight: AtomicUsize,
    next_id: AtomicU64,
    slots: Mutex<HashMap<u64, Slot>>,
    /// What came on a request's own stream and was not yet taken by it, by the request's id.
    parked: Mutex<HashMap<u64, Frame>>,
    /// How many those are: nearly always none, and then the map is left alone.
    parked_count: AtomicUsize,
    /// What the server asked for and is not answered.
    pub(super) asked: Asked,
    protocol: OnceLock<Protocol>,
    detached: Arc<Semaphore>,
}

impl Link {
    pub(super) fn new(
        transport: Transport,
        outbound: Outbound,
        events: Arc<EventSink>,
        options: &ClientOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            transport,
            outbound,
            events,
            max_message_bytes: options.max_message_bytes,
            hop: Hop::new(options),
            tools: KnownTools::default(),
            max_in_flight: options.max_in_flight,
            in_flight: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
            slots: Mutex::new(HashMap::new()),
            parked: Mutex::default(),
            parked_count: AtomicUsize::new(0),
            asked: Asked::default(),
            protocol: OnceLock::new(),
            detached: Arc::new(Semaphore::new(MAX_DETACHED)),
        })
    }

    /// No code that holds the lock can panic half way: a poisoned map is whole.
    fn slots(&self) -> MutexGuard<'_, HashMap<u64, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is spoken, once that is known.
    pub(super) fn agree(&self, protocol: Protocol) {
        // Agreed on once; a second call would say the same.
        let _ = self.protocol.set(protocol);
    }

    /// Whether there is no session; `false` as long as that is not known.
    pub(super) fn is_stateless(&self) -> bool {
        self.protocol.get() == Some(&Protocol::Stateless)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Fails once the connection has ended.
    pub(super) fn check_open(&self) -> Result<(), RequestError> {
        match self.events.end.cause() {
            Some(cause) => Err(RequestError::NotSent(SendFailure::Closed(cause.clone()))),
            None => Ok(()),
        }
    }

    /// Takes an id for a new request. One that only listens does not count as under way.
    pub(super) fn begin(&self, listens: bool) -> Result<u64, RequestError> {
        self.check_open()?;
        if !listens && self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.max_in_flight {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            return Err(RequestError::NotSent(SendFailure::Busy));
        }
        Ok(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Opens the place where the answer to a request is put.
    pub(super) fn wait_for(&self, id: u64, token: Option<Bytes>, listens: bool) -> Waiting {
        let (reply, receiver) = oneshot::channel();
        let (frames, queue) = if token.is_some() || listens {
            let (queue, receiver) = mpsc::channel(QUEUED_FRAMES);
            (Some(Frames { token, queue }), Some(receiver))
        } else {
            (None, None)
        };
        self.slots().insert(id, Slot { reply, frames, written: false });
        // A connection that ended meanwhile has already emptied the map: do so again.
        if let Some(cause) = self.events.end.cause() {
            self.fail_all(&cause.clone());
        }
        Waiting { reply: receiver, frames: queue }
    }

    /// Notes that a request is about to leave; `false` if nobody waits for its answer any more.
    pub(super) fn mark_written(&self, id: u64) -> bool {
        self.slots().get_mut(&id).map(|slot| slot.written = true).is_some()
    }

    /// Ends a request: what still comes for it is dropped.
    pub(super) fn finish(&self, id: u64, listens: bool) {
        self.slots().remove(&id);
        drop(self.take_parked(id));
        self.asked.forget_all(id);
        if listens {
            return;
        }
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Lays something down for a request, whose own task takes it with [`Self::take_parked`]. There
    /// is room for one: who reads the request's stream waits until it is taken.
    pub(super) async fn park(&self, id: u64, frame: Frame) {
        let mut frame = Some(frame);
        std::future::poll_fn(|_| match frame.take() {
            Some(frame) => {
                let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
                parked.insert(id, frame);
                self.parked_count.store(parked.len(), Ordering::Release);
                // The reader is polled by the request itself, which looks for the frame now and
                // polls again when it is asked for the next one.
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
    }

    /// Drops, once it is dropped itself, what nobody takes any more.
    pub(super) fn drop_parked(self: &Arc<Self>, id: u64) -> DropParked {
        DropParked(Arc::clone(self), id)
    }

    /// Whether each request stands for itself, in its headers and on its own connection, which is
    /// closed to cancel it.
    pub(super) fn is_stateless_http(&self) -> bool {
        self.is_stateless() && matches!(self.outbound, Outbound::Http(_))
    }

    /// What was laid down for a request.
    pub(super) fn take_parked(&self, id: u64) -> Option<Frame> {
        if self.parked_count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = parked.remove(&id);
        self.parked_count.store(parked.len(), Ordering::Release);
        frame
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
            Ok(message) => {
                if let Some(frame) = self.take(&message, None) {
                    self.report(frame);
                }
            }
            Err(error) => self.reject(&frame, &error),
        }
    }

    /// Acts on a message that could be read. What is left for somebody else to act on comes back:
    /// a notification or a request. `own` is the request on whose stream the message came, if it
    /// did.
    pub(super) fn take(self: &Arc<Self>, message: &Envelope, own: Option<u64>) -> Option<Frame> {
        match message.kind() {
            Kind::Result => self.answer(message, |body| Ok(Reply::Result(body))),
            Kind::Error => self.answer(message, |body| Ok(Reply::Error(body))),
            Kind::Request => return self.serve(message, own),
            Kind::Notification => return self.notice(message, own.is_some()),
        }
        None
    }

    /// Hands on what belongs to no request under way.
    pub(super) fn report(self: &Arc<Self>, frame: Frame) {
        match frame {
            Frame::Notification { method, params } => {
                self.events.push(ConnectionEvent::Notification { method, params });
            }
            Frame::Request(request) => {
                let id = request.id.clone();
                if !self.events.push(ConnectionEvent::Request(request)) {
                    self.refuse(&id, code::INTERNAL_ERROR, "too many requests");
                }
            }
            Frame::Progress(_) | Frame::Paused { .. } | Frame::Reply(_) => {}
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
        let id = message.id().and_then(Id::as_u64);
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

    /// `ping` is answered here; what else a server asks for is somebody else's to answer. Without a
    /// session there are no requests of a server.
    fn serve(self: &Arc<Self>, message: &Envelope, own: Option<u64>) -> Option<Frame> {
        let id = message.id()?;
        if message.method() == "ping" {
            self.send_detached(envelope::response(id, EMPTY_RESULT));
            return None;
        }
        if self.is_stateless() {
            self.refuse(id, code::METHOD_NOT_FOUND, "Method not found");
            return None;
        }
        if !self.asked.note(id, own, Instant::now()) {
            self.refuse(id, code::INTERNAL_ERROR, "too many requests");
            return None;
        }
        let (method, params) = (message.method().to_owned(), message.body());
        Some(Frame::Request(ServerRequest { id: id.clone(), method, params }))
    }

    /// Answers a request of the server with an error.
    pub(super) fn refuse(self: &Arc<Self>, id: &Id, code: i64, message: &str) {
        self.asked.forget(id);
        self.send_detached(envelope::error(Some(id), code, message, None));
    }

    fn notice(&self, message: &Envelope, is_own: bool) -> Option<Frame> {
        let method = message.method();
        let params = message.body().unwrap_or_else(|| Bytes::from_static(b"{}"));
        if method == "notifications/progress" {
            self.progress(&params);
            return None;
        }
        if let Some(kind) = ListKind::ALL.into_iter().find(|kind| kind.changed_method() == method) {
            self.events.list_changed(kind);
            return None;
        }
        let method = method.to_owned();
        if method == "notifications/resources/updated" {
            // Whoever subscribed is told, not the request that happens to be under way.
            self.events.push(ConnectionEvent::Notification { method, params });
            return None;
        }
        if method == ACKNOWLEDGED && !is_own {
            return self.listened(method, params);
        }
        if method == "notifications/cancelled"
            && let Ok(Some(id)) = splice::slice(&params, &["requestId"])
            && let Some(id) = Id::from_raw(id)
        {
            self.asked.forget(&id);
        }
        Some(Frame::Notification { method, params })
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
        let Some(frames) = slots.get(&id).and_then(|slot| slot.frames.as_ref()) else {
            return;
        };
        let Some(token) = &frames.token else {
            return;
        };
        let restored = splice::replace_span(params, span, token);
        frames.put(Frame::Progress(restored));
    }

    /// Hands a notification to the listening request that it names; gives it back if there is none.
    fn listened(&self, method: String, params: Bytes) -> Option<Frame> {
        let id = splice::slice(&params, &["_meta", hop::SUBSCRIPTION_KEY]).ok().flatten();
        let id = id.and_then(Id::from_raw).and_then(|id| id.as_u64());
        let slots = self.slots();
        match id.and_then(|id| slots.get(&id)?.frames.as_ref()) {
            Some(frames) => {
                frames.put(Frame::Notification { method, params });
                None
            }
            None => Some(Frame::Notification { method, params }),
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
