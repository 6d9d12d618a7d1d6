//! Streams that can be resumed: what was said on each, kept as long as its client may come back.
//!
//! What always holds: an event has one number on its stream, which never changes; numbers go up,
//! by one or, where the caller numbers, by more; a reader gets each event after the one it named
//! once and in order, unless it was dropped for room; the last event of a stream is never dropped
//! for room; a stream has one reader, and a new one takes it over. Memory is bounded for each
//! stream, for each session and for the edge.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mcp::server::{EventId, sse_event, sse_priming};
use tokio::sync::Notify;

use crate::config::EdgeLimits;
use crate::outbox::Undelivered;

/// The bounds of streams, and how much all of them hold together.
#[derive(Debug)]
pub(crate) struct ReplayLimits {
    /// Most messages that are kept of a stream.
    messages: usize,
    /// Most bytes that are kept of a stream.
    bytes: usize,
    /// As those two, of what a reader that is there has yet to read.
    unread_messages: usize,
    unread_bytes: usize,
    stall: Duration,
    retry_ms: u64,
    total_bytes: usize,
    held_bytes: AtomicUsize,
}

impl ReplayLimits {
    pub(crate) fn new(limits: &EdgeLimits) -> Arc<Self> {
        Arc::new(Self {
            messages: limits.replay_messages,
            bytes: limits.replay_bytes,
            unread_messages: limits.outbox_messages.max(1),
            unread_bytes: limits.outbox_bytes.max(1),
            stall: limits.stall,
            retry_ms: u64::try_from(limits.retry.as_millis()).unwrap_or(u64::MAX),
            total_bytes: limits.replay_total_bytes,
            held_bytes: AtomicUsize::new(0),
        })
    }

    /// How much all streams together hold, in bytes.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Whether all streams together hold more than they may.
    pub(crate) fn is_full(&self) -> bool {
        self.held_bytes.load(Ordering::Relaxed) > self.total_bytes
    }
}

/// What was said on one stream.
#[derive(Debug)]
pub(crate) struct StreamLog {
    number: u64,
    /// Whether another edge began it: what its client has of it already is said again here.
    is_refilled: bool,
    limits: Arc<ReplayLimits>,
    state: Mutex<State>,
    /// There is more to read, or nobody may read on.
    changed: Notify,
    /// There is room for the writer.
    room: Notify,
}

#[derive(Debug)]
struct State {
    /// The events that are kept, each with its number.
    kept: VecDeque<(u64, Bytes)>,
    /// How many of them were read.
    read: usize,
    /// The number of the last event that was said.
    last: u64,
    /// The number of the last event that a client has: nothing up to it is read again unasked.
    seen: u64,
    bytes: usize,
    unread_bytes: usize,
    /// Goes up with each reader: those before are over.
    reader: u64,
    is_read: bool,
    ended: bool,
    /// The reader that is there ends after what is kept, and is told to come back after so many
    /// milliseconds.
    pause_ms: Option<u64>,
    /// Since when nothing was written or read.
    still: Instant,
}

impl State {
    fn unread(&self) -> usize {
        self.kept.len() - self.read
    }

    fn add(&mut self, number: u64, message: Bytes) {
        self.bytes += message.len();
        self.still = Instant::now();
        self.last = number;
        if number <= self.seen && self.unread() == 0 {
            // Its client has it already, from another edge.
            self.read += 1;
        } else {
            self.unread_bytes += message.len();
        }
        self.kept.push_back((number, message));
    }

    /// Reads on after that event. What is not filled again yet may hold it.
    fn seek(&mut self, after: u64, is_refilled: bool) {
        self.seen = if is_refilled { after } else { after.min(self.last) };
        self.read = self.kept.partition_point(|(number, _)| *number <= after);
        self.unread_bytes = self.kept.iter().skip(self.read).map(|(_, said)| said.len()).sum();
    }

    /// The reader that is there is over.
    fn leave(&mut self) {
        self.reader += 1;
        self.is_read = false;
        self.still = Instant::now();
    }
}

impl StreamLog {
    pub(crate) fn new(number: u64, limits: &Arc<ReplayLimits>) -> Arc<Self> {
        Self::build(number, 1, limits, false)
    }

    /// A stream whose first event has that number, 1 or more.
    pub(crate) fn starting_at(number: u64, first: u64, limits: &Arc<ReplayLimits>) -> Arc<Self> {
        Self::build(number, first, limits, false)
    }

    /// A stream that another edge began: what was said on it is said again, under the same
    /// numbers.
    pub(crate) fn refilled(number: u64, limits: &Arc<ReplayLimits>) -> Arc<Self> {
        Self::build(number, 1, limits, true)
    }

    /// A stream on which that was said by another edge; what is said here begins at `first`.
    pub(crate) fn recalled(
        number: u64,
        first: u64,
        said: &[(u64, Bytes)],
        limits: &Arc<ReplayLimits>,
    ) -> Arc<Self> {
        let log = Self::build(number, 1, limits, false);
        for (event, message) in said.iter().filter(|(event, _)| *event < first) {
            let _ = log.try_add(Some(*event), message);
        }
        let mut state = log.state();
        state.last = state.last.max(first.saturating_sub(1));
        drop(state);
        log
    }

    fn build(number: u64, first: u64, limits: &Arc<ReplayLimits>, is_refilled: bool) -> Arc<Self> {
        let before = first.max(1) - 1;
        let state = State {
            kept: VecDeque::new(),
            read: 0,
            last: before,
            seen: before,
            bytes: 0,
            unread_bytes: 0,
            reader: 0,
            is_read: false,
            ended: false,
            pause_ms: None,
            still: Instant::now(),
        };
        Arc::new(Self {
            number,
            is_refilled,
            limits: Arc::clone(limits),
            state: Mutex::new(state),
            changed: Notify::new(),
            room: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Adds a message if its reader keeps up; says under which number. Without a reader there is
    /// always room: the oldest messages go.
    pub(crate) fn try_send(&self, message: &Bytes) -> Result<u64, Undelivered> {
        self.try_add(None, message)
    }

    /// Under `number`, or the next one; under the next one, too, if that was said already.
    fn try_add(&self, number: Option<u64>, message: &Bytes) -> Result<u64, Undelivered> {
        let mut state = self.state();
        if state.ended {
            return Err(Undelivered::Closed);
        }
        let unread = state.unread();
        let is_full = unread >= self.limits.unread_messages
            || (unread > 0 && state.unread_bytes + message.len() > self.limits.unread_bytes);
        if state.is_read && is_full {
            return Err(Undelivered::Stalled);
        }
        let next = state.last.saturating_add(1);
        let number = number.map_or(next, |number| number.max(next));
        self.limits.held_bytes.fetch_add(message.len(), Ordering::Relaxed);
        state.add(number, message.clone());
        self.trim(&mut state);
        drop(state);
        self.changed.notify_waiters();
        Ok(number)
    }

    /// Adds a message. A reader that does not read for too long loses the stream; the message is
    /// kept for the one that comes after it.
    pub(crate) async fn send(&self, message: &Bytes) {
        self.add(None, message).await;
    }

    /// As [`send`](Self::send), under a number of the caller's, which must go up.
    pub(crate) async fn send_at(&self, number: u64, message: &Bytes) {
        self.add(Some(number), message).await;
    }

    async fn add(&self, number: Option<u64>, message: &Bytes) {
        let adding = async {
            loop {
                // Made before the look, so that no change is missed.
                let room = self.room.notified();
                if self.try_add(number, message) != Err(Undelivered::Stalled) {
                    return;
                }
                room.await;
            }
        };
        if tokio::time::timeout(self.limits.stall, adding).await.is_err() {
            self.drop_reader();
            let _ = self.try_add(number, message);
        }
    }

    /// Nothing more is said: its reader ends after the last message.
    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_waiters();
    }

    /// Ends the reader that is there, if one is, after what was said already; its last event tells
    /// it to come back after `retry`.
    pub(crate) fn pause(&self, retry: Duration) {
        let mut state = self.state();
        if state.is_read {
            state.pause_ms = Some(u64::try_from(retry.as_millis()).unwrap_or(u64::MAX));
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// Ends the reader that is there, if one is.
    pub(crate) fn drop_reader(&self) {
        let mut state = self.state();
        state.leave();
        drop(state);
        self.changed.notify_waiters();
        self.room.notify_waiters();
    }

    /// A reader from the first message on that nobody read, or after the event that it names.
    pub(crate) fn read(self: &Arc<Self>, after: Option<u64>) -> LogReader {
        let mut state = self.state();
        state.reader += 1;
        state.is_read = true;
        state.pause_ms = None;
        if let Some(after) = after {
            state.seek(after, self.is_refilled);
        }
        let generation = state.reader;
        drop(state);
        self.changed.notify_waiters();
        LogReader { log: Arc::clone(self), generation, priming: None }
    }

    /// Whether somebody reads.
    pub(crate) fn is_read(&self) -> bool {
        self.state().is_read
    }

    /// Whether nothing more comes, or can come to anybody, since that long.
    pub(crate) fn is_over(&self, ttl: Duration) -> bool {
        let state = self.state();
        let is_useless = state.ended && state.unread() == 0 && self.limits.is_full();
        !state.is_read && (is_useless || (state.ended && state.still.elapsed() >= ttl))
    }

    /// Whether nobody has read for that long.
    pub(crate) fn is_left(&self, ttl: Duration) -> bool {
        let state = self.state();
        !state.is_read && state.still.elapsed() >= ttl
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// The number of the event that comes next, if nobody says another.
    pub(crate) fn next_number(&self) -> u64 {
        self.state().last.saturating_add(1)
    }

    /// Whether everything was said, and its client was given all of it that long ago.
    pub(crate) fn is_told(&self, since: Duration) -> bool {
        let state = self.state();
        state.ended && state.unread() == 0 && state.still.elapsed() >= since
    }

    /// How much it holds, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// What is kept, as it was said.
    pub(crate) fn messages(&self) -> Vec<Bytes> {
        self.state().kept.iter().map(|(_, message)| message.clone()).collect()
    }

    /// Waits until something was said that is enough, or everything, or as much as may wait.
    pub(crate) async fn said(&self, is_enough: impl Fn(&Bytes) -> bool) {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                let is_much = state.unread_bytes > self.limits.unread_bytes / 2
                    || state.unread() > self.limits.unread_messages / 2;
                if state.ended || is_much || state.kept.iter().any(|(_, said)| is_enough(said)) {
                    return;
                }
            }
            changed.await;
        }
    }

    /// Drops the oldest messages that there is no room for: first of those that were read, and
    /// with nobody there of the others, too.
    fn trim(&self, state: &mut State) {
        let (messages, bytes) = match self.limits.is_full() {
            true => (0, 0),
            false => (self.limits.messages, self.limits.bytes),
        };
        while state.kept.len() > 1 {
            let is_read = state.read > 0;
            let is_over = state.kept.len() > messages || state.bytes > bytes;
            if !is_over || (!is_read && state.is_read) {
                return;
            }
            let Some((_, gone)) = state.kept.pop_front() else { return };
            state.bytes -= gone.len();
            self.limits.held_bytes.fetch_sub(gone.len(), Ordering::Relaxed);
            match is_read {
                true => state.read -= 1,
                false => state.unread_bytes -= gone.len(),
            }
        }
    }
}

impl Drop for StreamLog {
    fn drop(&mut self) {
        let held = self.state().bytes;
        self.limits.held_bytes.fetch_sub(held, Ordering::Relaxed);
    }
}

/// The one that reads a stream.
#[derive(Debug)]
pub(crate) struct LogReader {
    log: Arc<StreamLog>,
    generation: u64,
    priming: Option<Bytes>,
}

impl LogReader {
    /// With an event before all others, which lets the client resume from the start.
    pub(crate) fn primed(mut self) -> Self {
        let before = self.log.state().seen;
        let id = EventId { stream: self.log.number, event: before };
        self.priming = Some(sse_priming(id, self.log.limits.retry_ms));
        self
    }

    /// The next event, encoded; `None` at the end, or when another one reads. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if let Some(priming) = self.priming.take() {
            return Some(priming);
        }
        loop {
            let changed = self.log.changed.notified();
            {
                let mut state = self.log.state();
                if state.reader != self.generation {
                    return None;
                }
                let place = state.read;
                if let Some((number, message)) = state.kept.get(place).cloned() {
                    let id = EventId { stream: self.log.number, event: number };
                    state.read += 1;
                    state.seen = number;
                    state.unread_bytes -= message.len();
                    state.still = Instant::now();
                    self.log.trim(&mut state);
                    drop(state);
                    self.log.room.notify_waiters();
                    return Some(sse_event(id, &message));
                }
                if state.ended {
                    return None;
                }
                if let Some(retry_ms) = state.pause_ms.take() {
                    let id = EventId { stream: self.log.number, event: state.seen };
                    state.leave();
                    self.log.trim(&mut state);
                    drop(state);
                    self.log.room.notify_waiters();
                    return Some(sse_priming(id, retry_ms));
                }
            }
            changed.await;
        }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        let mut state = self.log.state();
        if state.reader == self.generation {
            state.is_read = false;
            state.still = Instant::now();
            self.log.trim(&mut state);
            drop(state);
            self.log.room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests;
