//! The streams of a session: the standing one, which takes what is said unasked, and one for each
//! answer that did not come at once.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use mcp::server::{EventId, sse_message};

use crate::config::EdgeLimits;
use crate::outbox::{Events, Outbox, Undelivered, outbox};
use crate::replay::{LogReader, ReplayLimits, StreamLog};

/// The number of the standing stream.
const STANDING: u64 = 0;

#[derive(Debug)]
enum Standing {
    /// HTTP+SSE: the session ends with it.
    Sse(Outbox),
    /// Streamable HTTP: it can be resumed.
    Log(Arc<StreamLog>),
}

/// All streams of a session.
#[derive(Debug, Default)]
pub(super) struct Streams {
    standing: Option<Standing>,
    /// Where the standing one goes on after it was dropped.
    standing_next: u64,
    answers: VecDeque<Arc<StreamLog>>,
    answers_opened: u64,
}

/// What was said on the standing stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// Nobody can come back for it.
    No,
    /// The event's number.
    Event(u64),
}

impl Streams {
    /// The streams of a session that another edge had: `before` is more than any number that it
    /// gave out.
    pub(super) fn after(before: u64) -> Self {
        Self { standing_next: before + 1, answers_opened: before, ..Self::default() }
    }

    /// A stream for an answer that another edge began.
    pub(super) fn reopen(&mut self, number: u64, limits: &Arc<ReplayLimits>) -> Arc<StreamLog> {
        let log = StreamLog::refilled(number, limits);
        self.answers.push_back(Arc::clone(&log));
        log
    }

    /// Puts what another edge said unasked on the standing stream, before anybody reads it.
    pub(super) fn recall(&mut self, limits: &Arc<ReplayLimits>, said: &[(u64, Bytes)]) {
        if self.standing.is_some() {
            return;
        }
        let log = StreamLog::recalled(STANDING, self.standing_next, said, limits);
        self.standing = Some(Standing::Log(log));
    }

    /// Makes a stream of HTTP+SSE the standing one; the one before ends.
    pub(super) fn attach(&mut self, limits: &EdgeLimits) -> Events {
        let (sender, receiver) = outbox(limits);
        self.standing = Some(Standing::Sse(sender));
        receiver
    }

    /// The standing stream of HTTP+SSE.
    pub(super) fn outbox(&self) -> Option<Outbox> {
        match &self.standing {
            Some(Standing::Sse(outbox)) => Some(outbox.clone()),
            _ => None,
        }
    }

    /// A reader of the standing stream: what nobody read yet, or what came after an event.
    pub(super) fn listen(&mut self, limits: &Arc<ReplayLimits>, after: Option<u64>) -> LogReader {
        let log = match &self.standing {
            Some(Standing::Log(log)) => Arc::clone(log),
            _ => {
                let log = StreamLog::starting_at(STANDING, self.standing_next, limits);
                self.standing = Some(Standing::Log(Arc::clone(&log)));
                log
            }
        };
        log.read(after)
    }

    /// A stream for an answer.
    pub(super) fn open(
        &mut self,
        bounds: &EdgeLimits,
        limits: &Arc<ReplayLimits>,
    ) -> Arc<StreamLog> {
        self.prune(bounds);
        self.answers_opened += 1;
        let log = StreamLog::new(self.answers_opened, limits);
        self.answers.push_back(Arc::clone(&log));
        log
    }

    /// Forgets a stream for an answer.
    pub(super) fn forget(&mut self, log: &StreamLog) {
        self.answers.retain(|known| known.number() != log.number());
    }

    /// The stream on which that event was, from the next one on; `None` when it is not kept.
    pub(super) fn resume(&mut self, limits: &Arc<ReplayLimits>, id: EventId) -> Option<LogReader> {
        if id.stream == STANDING {
            return Some(self.listen(limits, Some(id.event)));
        }
        let log = self.answers.iter().find(|log| log.number() == id.stream)?;
        Some(log.read(Some(id.event)))
    }

    /// Says something on the standing stream; without one it is lost.
    pub(super) fn notify(&self, message: &Bytes) -> Result<Noted, Undelivered> {
        match &self.standing {
            None => Ok(Noted::No),
            Some(Standing::Sse(outbox)) => {
                outbox.try_send(sse_message(message)).map(|()| Noted::No)
            }
            Some(Standing::Log(log)) => {
                let mut sent = log.try_send(message);
                if sent == Err(Undelivered::Stalled) {
                    // It can come back, and read on.
                    log.drop_reader();
                    sent = log.try_send(message);
                }
                sent.map(Noted::Event)
            }
        }
    }

    /// Whether a client reads the standing stream.
    pub(super) fn is_heard(&self) -> bool {
        match &self.standing {
            None => false,
            Some(Standing::Sse(outbox)) => !outbox.is_closed(),
            Some(Standing::Log(log)) => log.is_read(),
        }
    }

    /// Whether a client reads any of them.
    pub(super) fn is_read(&self) -> bool {
        self.is_heard() || self.answers.iter().any(|log| log.is_read())
    }

    /// Whether a client reads an answer.
    pub(super) fn is_answering(&self) -> bool {
        self.answers.iter().any(|log| log.is_read())
    }

    /// Drops what no client comes back for, and what there is no room for.
    pub(super) fn prune(&mut self, limits: &EdgeLimits) {
        if let Some(Standing::Log(log)) = &self.standing
            && log.is_left(limits.replay_ttl)
        {
            self.standing_next = log.next_number();
            self.standing = None;
        }
        self.answers.retain(|log| !log.is_over(limits.replay_ttl));
        let ended = || self.answers.iter().filter(|log| log.has_ended());
        let (mut count, mut bytes) =
            (ended().count(), ended().map(|log| log.bytes()).sum::<usize>());
        self.answers.retain(|log| {
            let is_too_much = count > limits.replay_streams || bytes > limits.replay_session_bytes;
            // The last one that ended stays, however large: nobody may have read it yet.
            if !is_too_much || count <= 1 || !log.has_ended() || log.is_read() {
                return true;
            }
            count -= 1;
            bytes = bytes.saturating_sub(log.bytes());
            false
        });
    }

    /// Ends all of them.
    pub(super) fn end(&mut self) {
        self.standing = None;
        self.answers = VecDeque::new();
    }
}
