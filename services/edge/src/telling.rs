//! A call told to the client of a session: its notifications, what its server asks, its answer.
//!
//! What always holds: after the answer nothing more is said of the call; a client that went away
//! or does not read does not end it (see [`crate::call`]); what is asked and not answered is taken
//! back before the answer.

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
use crate::session::{Asker, Cause, Reaction, Session};

/// How often a client is sent away to come back for the rest of one call. A server that wants more
/// than that is still polled; its client then waits on an open stream.
const MAX_PAUSES: u32 = 32;

/// Where a call's messages go.
pub(crate) enum Sink {
    /// A stream of its own, or one that it shares with the others of its batch.
    Log(Arc<StreamLog>),
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

impl Telling {
    /// Tells all of it. `first` was said already.
    pub(crate) async fn run(mut self, first: Option<Said>) {
        let mut asker = Asker::new(&self.session, self.running.server());
        let mut next = first;
        let mut pauses = 0..MAX_PAUSES;
        loop {
            let said = match next.take() {
                Some(said) => said,
                None if asker.is_open() => tokio::select! {
                    biased;
                    reaction = asker.reaction() => {
                        self.react(reaction).await;
                        continue;
                    }
                    said = self.running.next() => said,
                },
                None => self.running.next().await,
            };
            match said {
                Said::Notification(said) => {
                    if let Some(message) = passed(&self.session, &mut asker, &said) {
                        self.send(message).await;
                    }
                }
                Said::Request(request) => self.ask(&mut asker, request).await,
                Said::Paused(retry) => self.pause(retry, &mut pauses),
                Said::Answer(answer) => {
                    for message in asker.withdraw_all() {
                        self.send(message).await;
                    }
                    if let Some(answer) = answer {
                        self.send(answer_message(&self.id, &answer)).await;
                    }
                    return;
                }
            }
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

    async fn ask(&mut self, asker: &mut Asker, request: ServerRequest) {
        let id = request.id.clone();
        match asker.ask(request) {
            Ok(message) => self.send(message).await,
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

    async fn send(&mut self, message: Bytes) {
        match &self.sink {
            Sink::Log(log) => log.send(&message).await,
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
