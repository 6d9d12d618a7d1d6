//! A call told to the client of a session: its notifications, what its server asks, its answer.
//!
//! What always holds: after the answer nothing more is said of the call; a client that went away
//! or does not read does not end it (see [`crate::call`]); what is asked and not answered is taken
//! back before the answer.
//!
//! On a stream of its own, each message of a call has a number that follows from its place in what
//! the worker says, so that it has the same number at an edge that goes on with the call.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mcp::server::sse_message;
use mcp::{Id, LogLevel, splice};
use proto::internal::v1::{Notification, ServerRequest};

use crate::call::{Running, Said, answer_message, notification_message};
use crate::edge::Shared;
use crate::outbox::{Outbox, Undelivered};
use crate::replay::StreamLog;
use crate::roaming;
use crate::session::{Asker, Cause, Place, Reaction, Session};

/// How often a client is sent away to come back for the rest of one call. A server that wants more
/// than that is still polled; its client then waits on an open stream.
const MAX_PAUSES: u32 = 32;

/// The number of the answer on its stream: more than any other.
pub(crate) const LAST: u64 = 1 << 62;
/// Most exchanges of a call that have numbers of their own.
const MAX_EXCHANGES: u32 = 1 << 12;
/// Where the numbers begin of what is taken back before the answer.
const WITHDRAWN: u64 = LAST - (1 << 20);

/// Where a call's messages go.
pub(crate) enum Sink {
    /// A stream of its own.
    Log(Arc<StreamLog>),
    /// A stream that it shares with the others of its batch.
    Batch(Arc<StreamLog>),
    /// The stream of HTTP+SSE.
    Outbox(Outbox),
}

/// A call that is being told.
pub(crate) struct Telling {
    pub(crate) shared: Arc<Shared>,
    pub(crate) session: Arc<Session>,
    pub(crate) id: Id,
    pub(crate) running: Running,
    pub(crate) sink: Sink,
}

/// What comes next.
enum Heard {
    Said(Said),
    Reaction(Reaction),
    /// The session goes on at another edge.
    Left,
}

/// Which numbers were given on the stream of the call.
struct Numbers {
    /// The stream; `None` where messages are numbered by the stream, or not at all.
    stream: Option<u64>,
    last: u64,
    /// Which of its exchanges the call was in when its record was written.
    recorded: u32,
}

impl Telling {
    /// Tells all of it. `first` was said already.
    pub(crate) async fn run(mut self, first: Option<Said>) {
        let mut asker = Asker::new(&self.session, self.running.server());
        let mut pauses = 0..MAX_PAUSES;
        let mut numbers = self.numbers();
        let mut next = first.map(Heard::Said);
        loop {
            let heard = match next.take() {
                Some(heard) => heard,
                None => self.hear(&mut asker).await,
            };
            let said = match heard {
                Heard::Said(said) => said,
                Heard::Reaction(reaction) => {
                    self.react(reaction).await;
                    continue;
                }
                Heard::Left => return self.running.leave(),
            };
            let number = self.number(&mut numbers).await;
            match said {
                Said::Notification(said) => {
                    if let Some(message) = passed(&self.session, &mut asker, &said) {
                        self.send(number, message).await;
                    }
                }
                Said::Request(request) => {
                    let place = numbers.stream.map(|stream| Place { stream, event: number });
                    self.ask(&mut asker, request, place).await;
                }
                Said::Paused(retry) => self.pause(retry, &mut pauses),
                Said::Answer(answer) => {
                    for (number, message) in (WITHDRAWN..).zip(asker.withdraw_all()) {
                        self.send(number, message).await;
                    }
                    if let Some(answer) = answer {
                        self.send(LAST, answer_message(&self.id, &answer)).await;
                    }
                    return self.told();
                }
            }
        }
    }

    fn numbers(&self) -> Numbers {
        let stream = match &self.sink {
            Sink::Log(log) => Some(log.number()),
            Sink::Batch(_) | Sink::Outbox(_) => None,
        };
        Numbers { stream, last: 0, recorded: self.running.place().0 }
    }

    async fn hear(&mut self, asker: &mut Asker) -> Heard {
        if self.session.kept.is_none() && !asker.is_open() {
            return Heard::Said(self.running.next().await);
        }
        tokio::select! {
            biased;
            () = self.session.left.cancelled() => Heard::Left,
            reaction = asker.reaction() => Heard::Reaction(reaction),
            said = self.running.next() => Heard::Said(said),
        }
    }

    /// The number of what was just said. Where the call was sent again, its record says so before
    /// anything of it is told.
    async fn number(&mut self, numbers: &mut Numbers) -> u64 {
        let (exchange, frame) = self.running.place();
        if let (Sink::Log(log), true) = (&self.sink, exchange != numbers.recorded) {
            numbers.recorded = exchange;
            let call = self.running.forwarded();
            roaming::record_call(&self.shared, &self.session, &self.id, call, log).await;
        }
        let number = u64::from(exchange.min(MAX_EXCHANGES)) << 48 | frame << 8;
        // Several questions may come at one place, and some workers do not number.
        numbers.last = number.max(numbers.last + 1);
        numbers.last
    }

    /// Everything was said: the worker keeps the answer until the client has it.
    fn told(self) {
        if let (Sink::Log(log), Some(kept)) = (&self.sink, &self.session.kept) {
            kept.hold(log.number(), self.running.into_kept());
        }
    }

    async fn react(&mut self, reaction: Reaction) {
        match reaction {
            Reaction::Answer(id, answer) => self.running.answer(&id, answer).await,
            Reaction::Progress(params) => {
                self.running.notify("notifications/progress", params).await;
            }
        }
    }

    async fn ask(&mut self, asker: &mut Asker, request: ServerRequest, place: Option<Place>) {
        let id = request.id.clone();
        if let Some(kept) = &self.session.kept {
            // What it is asked may outlive the call.
            kept.change();
        }
        match asker.ask(request, place) {
            Ok(message) => self.send(place.map_or(0, |place| place.event), message).await,
            Err(error) => self.running.answer(&id, Err(error)).await,
        }
    }

    /// Ends a stream that its client can resume, and will. Those of batches are older.
    fn pause(&self, retry: Duration, left: &mut Range<u32>) {
        if let Sink::Log(log) = &self.sink
            && self.session.is_primed()
            && log.is_read()
            && left.next().is_some()
        {
            log.pause(retry);
        }
    }

    async fn send(&mut self, number: u64, message: Bytes) {
        match &self.sink {
            Sink::Log(log) => log.send_at(number, &message).await,
            Sink::Batch(log) => log.send(&message).await,
            Sink::Outbox(outbox) => deliver(&self.shared, &self.session, outbox, &message).await,
        }
    }
}

/// What of a call's notification the client is told.
fn passed(session: &Session, asker: &mut Asker, said: &Notification) -> Option<Bytes> {
    match said.method.as_str() {
        "notifications/message" => {
            // Most clients set no level: then nothing is read.
            let is_set = session.hearing.level().is_some();
            let level = if is_set { LogLevel::of_params(&said.params) } else { None };
            session.hearing.hears(level).then(|| notification_message(said))
        }
        "notifications/resources/updated" => {
            let uri = splice::find_string(&said.params, &["uri"]).ok()??;
            session.hearing.is_subscribed_as(&uri).then(|| notification_message(said))
        }
        // The server takes back what it asked.
        "notifications/cancelled" => {
            let id = splice::find_string(&said.params, &["requestId"]).ok()??;
            asker.withdraw(&id)
        }
        // Lists are told of when what is merged of them changed.
        method if method.ends_with("/list_changed") => None,
        _ => Some(notification_message(said)),
    }
}

/// The answer of a call whose client can be told nothing else.
pub(crate) async fn answer_alone(mut running: Running, id: &Id) -> Option<Bytes> {
    loop {
        match running.next().await {
            Said::Notification(_) | Said::Paused(_) => {}
            Said::Request(request) => running.refuse(&request.id).await,
            Said::Answer(answer) => return answer.map(|answer| answer_message(id, &answer)),
        }
    }
}

/// Waits a while for a client that is behind. One that does not read loses its session, and what
/// was for it; its calls run to their ends.
pub(crate) async fn deliver(shared: &Shared, session: &Session, outbox: &Outbox, message: &[u8]) {
    tokio::select! {
        biased;
        () = session.ended.cancelled() => {}
        sent = outbox.send(sse_message(message)) => {
            if sent == Err(Undelivered::Stalled) {
                shared.sessions.end(&session.id, Cause::NotReading);
            }
        }
    }
}
