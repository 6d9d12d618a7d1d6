//! Sessions of the era that opens with `initialize`.
//!
//! A session belongs to the key that opened it and to its scope: with another key it does not
//! exist. It ends by DELETE, when its SSE stream closes, when its key or its scope is gone, after
//! being silent too long, or when its client does not read. With it ends all that was kept for it.
//! Where edges share their sessions, it may also go on at another edge: then it is left here, and
//! nobody upstream is told that it ended.

mod asks;
mod client_tasks;
mod record;
mod streams;
mod table;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use backplane::exchange::Answer;
use bytes::Bytes;
use domain::server::Isolation;
use domain::{ApiKeyId, ServerId};
use mcp::server::{EventId, SessionId};
use mcp::{Id, LogLevel, Revision};
use proto::internal::v1::Peer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::call::{Caller, Conduct};
use crate::config::EdgeLimits;
use crate::hearing::Hearing;
use crate::outbox::{Events, Outbox, Undelivered};
use crate::replay::{LogReader, ReplayLimits, StreamLog};
use crate::roaming::Kept;
use crate::scope::Scope;
use crate::task_owners::TaskOwners;

use asks::Asks;
use streams::Noted;

pub(crate) use asks::{Asker, Place, Reaction};
pub(crate) use record::Restored;
pub(crate) use table::{Refused, Sessions};

/// One client's session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) key: ApiKeyId,
    pub(crate) scope: Scope,
    /// What workers call it: it opens nothing.
    peer_name: Uuid,
    /// Cancelled when the session ends.
    pub(crate) ended: CancellationToken,
    /// Cancelled when it goes on elsewhere: its calls are left as they are.
    pub(crate) left: CancellationToken,
    /// What other edges know of it, where they share sessions.
    pub(crate) kept: Option<Arc<Kept>>,
    opening: OnceLock<Opening>,
    limits: Arc<EdgeLimits>,
    replay: Arc<ReplayLimits>,
    streams: Mutex<streams::Streams>,
    /// What waits for the client's answer; made with the first request to it.
    asks: Mutex<Option<Box<Asks>>>,
    /// The tasks that keys made on servers that are shared.
    pub(crate) tasks: Arc<TaskOwners>,
    /// What it wants to hear from servers.
    pub(crate) hearing: Hearing,
    running: Mutex<HashMap<Id, (u64, CancellationToken)>>,
    /// Numbers requests, since a client may use an id twice.
    requests: AtomicU64,
    calls: Arc<Semaphore>,
    last_seen: Mutex<Instant>,
}

/// What was said in `initialize`.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) revision: Revision,
    /// The client's name as it said it.
    pub(crate) client: String,
    /// Its raw capabilities.
    pub(crate) capabilities: Option<Bytes>,
    /// Its raw name and version.
    pub(crate) client_info: Option<Bytes>,
}

impl Opening {
    /// Whether the client can be asked anything.
    fn has_capabilities(&self) -> bool {
        self.capabilities.as_ref().is_some_and(|raw| raw.contains(&b'"'))
    }
}

/// Why a session ended, as counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its client said so.
    Deleted,
    /// Its stream closed.
    Closed,
    /// Its `initialize` was refused.
    Refused,
    /// It was silent too long.
    Idle,
    /// Its client does not read.
    NotReading,
    /// Its key ended, or what it was opened for is gone.
    Revoked,
    /// It goes on at another edge.
    Moved,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Idle => "idle",
            Self::NotReading => "not_reading",
            Self::Revoked => "revoked",
            Self::Moved => "moved",
        }
    }
}

impl Session {
    fn new(
        id: SessionId,
        (key, scope): (ApiKeyId, Scope),
        limits: &Arc<EdgeLimits>,
        replay: &Arc<ReplayLimits>,
        tasks: &Arc<TaskOwners>,
        kept: Option<Arc<Kept>>,
    ) -> Self {
        Self {
            id,
            key,
            scope,
            peer_name: Uuid::now_v7(),
            ended: CancellationToken::new(),
            left: CancellationToken::new(),
            kept,
            opening: OnceLock::new(),
            limits: Arc::clone(limits),
            replay: Arc::clone(replay),
            streams: Mutex::default(),
            asks: Mutex::default(),
            tasks: Arc::clone(tasks),
            hearing: Hearing::default(),
            running: Mutex::default(),
            requests: AtomicU64::new(0),
            calls: Arc::new(Semaphore::new(limits.calls_per_session)),
            last_seen: Mutex::new(Instant::now()),
        }
    }

    /// Notes what was said in `initialize`; a second one changes nothing.
    pub(crate) fn open(&self, opening: Opening) {
        let _ = self.opening.set(opening);
    }

    /// The client's name; empty before `initialize`.
    pub(crate) fn client(&self) -> &str {
        self.opening.get().map_or("", |opening| opening.client.as_str())
    }

    /// The agreed revision, once there is one.
    pub(crate) fn revision(&self) -> Option<Revision> {
        self.opening.get().map(|opening| opening.revision)
    }

    /// Whether the client knows that streams are resumed: then they open with an event that lets
    /// it do so.
    pub(crate) fn is_primed(&self) -> bool {
        self.revision().is_some_and(|revision| revision >= Revision::V2025_11_25)
    }

    /// The client's raw capabilities; empty for none.
    fn capabilities(&self) -> Bytes {
        self.opening.get().and_then(|opening| opening.capabilities.clone()).unwrap_or_default()
    }

    /// Makes a stream of HTTP+SSE the one that unasked messages go to; the one before ends.
    pub(crate) fn attach(&self, limits: &EdgeLimits) -> Events {
        locked(&self.streams).attach(limits)
    }

    /// The stream of HTTP+SSE, if one is open.
    pub(crate) fn outbox(&self) -> Option<Outbox> {
        locked(&self.streams).outbox()
    }

    /// A reader of the stream that unasked messages go to; the one before ends.
    pub(crate) fn listen(&self) -> LogReader {
        locked(&self.streams).listen(&self.replay, None)
    }

    /// A stream for an answer.
    pub(crate) fn open_stream(&self) -> Arc<StreamLog> {
        locked(&self.streams).open(&self.limits, &self.replay)
    }

    /// Forgets a stream that no client was told of.
    pub(crate) fn forget_stream(&self, log: &StreamLog) {
        locked(&self.streams).forget(log);
    }

    /// The stream on which an event was, from the next one on; `None` when it is not kept.
    pub(crate) fn resume(&self, after: EventId) -> Option<LogReader> {
        locked(&self.streams).resume(&self.replay, after)
    }

    /// Says a message unasked. It may be lost: when no stream is open, and before `initialize`.
    ///
    /// # Errors
    /// [`Undelivered`] when a stream of HTTP+SSE is there but takes nothing.
    pub(crate) fn notify(&self, message: &Bytes) -> Result<(), Undelivered> {
        if self.opening.get().is_none() {
            return Ok(());
        }
        let streams = locked(&self.streams);
        let noted = streams.notify(message)?;
        if let (Some(kept), Noted::Event(number)) = (&self.kept, noted) {
            // Under the lock, so that the trail has the order of the stream.
            kept.trail(number, message);
        }
        Ok(())
    }

    /// As [`notify`](Self::notify); a client that does not read loses its stream of HTTP+SSE, and
    /// the session with it.
    pub(crate) fn tell(&self, message: &Bytes) {
        if self.notify(message) == Err(Undelivered::Stalled) {
            self.ended.cancel();
        }
    }

    /// What workers call it: it opens nothing.
    pub(crate) fn name(&self) -> Uuid {
        self.peer_name
    }

    /// Whether somebody reads what is said unasked.
    pub(crate) fn is_heard(&self) -> bool {
        locked(&self.streams).is_heard()
    }

    /// The session as the caller of a request, which can be cancelled by its id from now on.
    pub(crate) fn caller(self: &Arc<Self>, id: &Id, isolation: Isolation) -> Caller {
        let guard = self.begin(id);
        let caller = self.part(guard.cancel.clone(), isolation);
        Caller { guard: Some(guard), ..caller }
    }

    /// As [`caller`](Self::caller), of one of several requests that are cancelled together.
    pub(crate) fn part(&self, cancel: CancellationToken, isolation: Isolation) -> Caller {
        Caller {
            client: self.client().to_owned(),
            session: self.short_id().to_owned(),
            slot: Arc::clone(&self.calls).try_acquire_owned().ok(),
            cancel,
            guard: None,
            peer: self.peer(isolation),
            conduct: Conduct::Sessions,
            orphan: self.orphan(),
        }
    }

    /// How long its calls outlive their edge: none where nobody could go on with them.
    fn orphan(&self) -> Duration {
        let is_shared = self.kept.as_ref().is_some_and(|kept| !kept.ends_with_stream());
        if is_shared { self.limits.orphan } else { Duration::ZERO }
    }

    /// How an upstream gets to know the client; most clients declare nothing that it needs.
    pub(crate) fn peer(&self, isolation: Isolation) -> Option<Peer> {
        let opening = self.opening.get();
        let declares = opening.is_some_and(Opening::has_capabilities);
        // Servers of the stateless era are told with each request.
        let log_level = self.hearing.level().map(LogLevel::as_str);
        if isolation == Isolation::Shared && !declares && log_level.is_none() {
            return None;
        }
        let session = match isolation {
            Isolation::Shared => String::new(),
            Isolation::Session => self.peer_name.to_string(),
        };
        let part = |part: fn(&Opening) -> &Option<Bytes>| {
            opening.and_then(|opening| part(opening).clone()).unwrap_or_default()
        };
        Some(Peer {
            session,
            capabilities: part(|opening| &opening.capabilities),
            client_info: part(|opening| &opening.client_info),
            revision: opening.map_or_else(String::new, |opening| opening.revision.to_string()),
            log_level: log_level.unwrap_or_default().to_owned(),
            ..Peer::default()
        })
    }

    /// Who holds the whole id may speak in the session: a record has enough to group by.
    pub(crate) fn short_id(&self) -> &str {
        self.id.as_str().get(..12).unwrap_or_default()
    }

    /// Takes the client's answer to what it was asked.
    pub(crate) fn answer(&self, id: &Id, answer: Answer) {
        let mut asks = locked(&self.asks);
        if asks.is_none() && self.numbers_begin() > 0 && !self.ended.is_cancelled() {
            // What it answers may be asked again yet.
            *asks = Some(Box::new(Asks::after(self.numbers_begin())));
        }
        if let Some(asks) = asks.as_mut() {
            asks.answer(id, answer);
        }
    }

    /// Takes the client's progress with what it was asked.
    pub(crate) fn progress(&self, params: &Bytes) {
        if let Some(asks) = locked(&self.asks).as_mut() {
            asks.progress(params);
        }
    }

    /// The server of a task of the client's, by the raw parameters that name it.
    pub(crate) fn task_server(&self, params: &[u8]) -> Option<ServerId> {
        locked(&self.asks).as_ref()?.task_server(params)
    }

    /// Notes a request that can be cancelled by its id until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>, id: &Id) -> RunningGuard {
        let cancel = CancellationToken::new();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        locked(&self.running).insert(id.clone(), (number, cancel.clone()));
        RunningGuard { session: Arc::clone(self), id: id.clone(), number, cancel }
    }

    /// Cancels a request that is under way.
    pub(crate) fn cancel(&self, id: &Id) {
        if let Some((_, cancel)) = locked(&self.running).get(id) {
            cancel.cancel();
        }
    }

    fn touch(&self) {
        *locked(&self.last_seen) = Instant::now();
    }

    fn is_idle(&self, limit: Duration) -> bool {
        locked(&self.last_seen).elapsed() > limit
            && locked(&self.running).is_empty()
            && !locked(&self.streams).is_read()
    }

    /// Whether nothing of it is under way here.
    pub(crate) fn is_still(&self) -> bool {
        locked(&self.running).is_empty() && !locked(&self.streams).is_answering()
    }

    /// Drops what its time is over of.
    fn sweep(&self, now: Instant) {
        locked(&self.streams).prune(&self.limits);
        if let Some(asks) = locked(&self.asks).as_mut() {
            asks.expire(now);
            asks.shrink();
        }
    }

    /// Ends all that was kept for it. Streams learn of it from `ended`; nothing more is put in.
    fn end(&self) {
        self.ended.cancel();
        locked(&self.streams).end();
        // After `ended`: nothing is asked from here on.
        let asks = locked(&self.asks).take();
        if let Some(asks) = asks {
            asks.end();
        }
        self.hear_nothing();
    }

    /// As [`end`](Self::end), but it goes on elsewhere: what upstreams asked stays open for whoever
    /// takes its calls over.
    pub(crate) fn leave(&self) {
        self.left.cancel();
        self.ended.cancel();
        locked(&self.streams).end();
        drop(locked(&self.asks).take());
        self.hear_nothing();
    }

    fn hear_nothing(&self) {
        for attachment in self.hearing.end() {
            attachment.leave(self.peer_name);
        }
    }
}

/// As long as it lives, the request can be cancelled by its id.
pub(crate) struct RunningGuard {
    session: Arc<Session>,
    id: Id,
    number: u64,
    /// Cancelled when the client asks for it.
    pub(crate) cancel: CancellationToken,
}

impl RunningGuard {
    /// Whose request it is.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        let mut running = locked(&self.session.running);
        // A later request under the same id is not this one.
        if running.get(&self.id).is_some_and(|(number, _)| *number == self.number) {
            running.remove(&self.id);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
