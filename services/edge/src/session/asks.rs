//! Requests of servers to the client of a session, under ids of the edge's own: made from the
//! place of the request in what is said, so that they are the same at an edge that goes on with
//! the call.
//!
//! What always holds: each is answered at most once: by the client, by its time running out or its
//! session ending, or by nobody when what asked it is over; how many wait is bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use backplane::exchange::Answer;
use bytes::Bytes;
use domain::ServerId;
use mcp::envelope::{self, code};
use mcp::server::check_ask;
use mcp::{Id, splice};
use proto::internal::v1::ServerRequest;
use tokio::sync::mpsc;

use super::client_tasks::ClientTasks;
use super::{Session, locked};
use crate::call::GATEWAY_ERROR;

/// What a client says about what it was asked.
#[derive(Debug)]
pub(crate) enum Reaction {
    /// The answer, under the worker's id of the request.
    Answer(String, Answer),
    /// Raw parameters of its progress, with the upstream's own token.
    Progress(Bytes),
}

/// What waits for the client.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// Numbers what belongs to no stream of an answer.
    asked: u64,
    pending: HashMap<Place, Pending>,
    /// Answers to what another edge asked, and is not asked again here yet; `None` in a session
    /// that began here.
    early: Option<HashMap<Place, Answer>>,
    /// What the client made of what it was asked.
    tasks: ClientTasks,
}

/// Most answers that are kept for what is not asked again yet.
const MAX_EARLY: usize = 256;

/// Where a server's request stands in what a session's client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The stream's number; 0 for what belongs to no stream of an answer.
    pub(crate) stream: u64,
    /// The event's number on it.
    pub(crate) event: u64,
}

#[derive(Debug)]
struct Pending {
    /// The worker's id.
    upstream: String,
    /// The upstream's raw progress token.
    token: Option<Bytes>,
    to: mpsc::Sender<Reaction>,
    due: Instant,
    server: ServerId,
    kind: AskKind,
}

impl Pending {
    /// Answers in place of the client.
    fn give_up(self, message: &str) {
        let error = envelope::error_object(code::INTERNAL_ERROR, message, None);
        // There is room for every answer; nobody hears it when the call is over.
        let _ = self.to.try_send(Reaction::Answer(self.upstream, Err(error)));
    }
}

/// What the answer may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskKind {
    /// A task, which the client made.
    Task,
    /// All tasks of the client.
    TaskList,
    Other,
}

/// Asks the client for one call, or for one attachment, and hears what it says. What is not
/// answered when it is dropped is forgotten.
pub(crate) struct Asker {
    session: Arc<Session>,
    server: ServerId,
    /// The places of what was asked, some of which may be answered.
    asked: Vec<Place>,
    /// Made with the first request.
    reactions: Option<(mpsc::Sender<Reaction>, mpsc::Receiver<Reaction>)>,
}

const ID_PREFIX: &str = "edge-";

const ENDED: &str = "the client's session has ended";

fn client_id(place: Place) -> Id {
    Id::string(&format!("{ID_PREFIX}{}-{}", place.stream, place.event))
}

/// The place in a raw id or progress token that we made.
fn place_in(raw: &[u8]) -> Option<Place> {
    let text = splice::unquote(raw)?;
    let (stream, event) = text.strip_prefix(ID_PREFIX)?.split_once('-')?;
    Some(Place { stream: stream.parse().ok()?, event: event.parse().ok()? })
}

impl Asker {
    /// Asks for that server.
    pub(crate) fn new(session: &Arc<Session>, server: ServerId) -> Self {
        Self { session: Arc::clone(session), server, asked: Vec::new(), reactions: None }
    }

    /// The message that asks the client; `place` is where it will stand on the stream of an
    /// answer. An error is the raw one for the upstream.
    pub(crate) fn ask(
        &mut self,
        request: ServerRequest,
        place: Option<Place>,
    ) -> Result<Bytes, Bytes> {
        let capabilities = self.session.capabilities();
        check_ask(&capabilities, &request.method, &request.params)?;
        let limit = self.session.limits.client_requests;
        let (to, _) = self.reactions.get_or_insert_with(|| {
            // Room for every answer that can be outstanding, and for some progress.
            mpsc::channel(limit.max(1) * 2)
        });
        let mut asks = locked(&self.session.asks);
        if self.session.ended.is_cancelled() {
            // Nobody is there to answer, and nothing to see to its time.
            return Err(envelope::error_object(GATEWAY_ERROR, ENDED, None));
        }
        let asks = asks.get_or_insert_with(|| Box::new(Asks::after(self.session.numbers_begin())));
        if asks.pending.len() >= limit {
            let message = "too many requests wait for the client";
            return Err(envelope::error_object(GATEWAY_ERROR, message, None));
        }
        let kind = asks.kind(self.server, &request)?;
        if self.asked.len() >= limit {
            // Those that were answered: an attachment may ask for as long as its session lasts.
            self.asked.retain(|place| asks.pending.contains_key(place));
        }
        let place = place.unwrap_or_else(|| asks.next_place());
        let (params, token) = own_token(request.params, place);
        let pending = Pending {
            upstream: request.id,
            token,
            to: to.clone(),
            due: Instant::now() + self.session.limits.client_answer,
            server: self.server,
            kind,
        };
        asks.pending.insert(place, pending);
        if let Some(answer) = asks.early.as_mut().and_then(|early| early.remove(&place)) {
            // Its client knows the question from the edge before.
            asks.answer_at(place, answer);
        }
        self.asked.push(place);
        let params = (!params.is_empty()).then_some(&params[..]);
        Ok(envelope::request(&client_id(place), &request.method, params))
    }

    /// Whether the client may still have something to say.
    pub(crate) fn is_open(&self) -> bool {
        self.reactions.is_some()
    }

    /// What the client says next; never, if nothing was asked. Cancel-safe.
    pub(crate) async fn reaction(&mut self) -> Reaction {
        if let Some((_, reactions)) = &mut self.reactions
            && let Some(reaction) = reactions.recv().await
        {
            return reaction;
        }
        std::future::pending().await
    }

    /// Takes a request back by the worker's id. Gives the message that tells the client.
    pub(crate) fn withdraw(&mut self, upstream: &str) -> Option<Bytes> {
        let mut asks = locked(&self.session.asks);
        let pending = &mut asks.as_mut()?.pending;
        let is_it =
            |place: &&Place| pending.get(place).is_some_and(|asked| asked.upstream == upstream);
        let place = self.asked.iter().find(is_it).copied()?;
        pending.remove(&place);
        self.asked.retain(|asked| *asked != place);
        Some(cancelled(place))
    }

    /// Takes all requests back. Gives the messages that tell the client.
    pub(crate) fn withdraw_all(&mut self) -> Vec<Bytes> {
        if self.asked.is_empty() {
            return Vec::new();
        }
        let mut asks = locked(&self.session.asks);
        let Some(asks) = asks.as_mut() else { return Vec::new() };
        let asked = std::mem::take(&mut self.asked).into_iter();
        asked.filter(|place| asks.pending.remove(place).is_some()).map(cancelled).collect()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.withdraw_all();
    }
}

fn cancelled(place: Place) -> Bytes {
    let params = [b"{\"requestId\":".as_slice(), client_id(place).raw(), b"}"].concat();
    envelope::notification("notifications/cancelled", Some(&params))
}

/// The parameters with a progress token of ours, and the upstream's.
fn own_token(params: Bytes, place: Place) -> (Bytes, Option<Bytes>) {
    let path = ["_meta", "progressToken"];
    let Ok(Some(token)) = splice::slice(&params, &path) else {
        return (params, None);
    };
    match splice::replace(&params, &path, client_id(place).raw()) {
        Ok(Some(params)) => (params, Some(token)),
        _ => (params, None),
    }
}

impl Asks {
    /// Of a session whose numbers come after that one.
    pub(super) fn after(before: u64) -> Self {
        let early = (before > 0).then(HashMap::new);
        Self { asked: before, early, ..Self::default() }
    }

    fn next_place(&mut self) -> Place {
        self.asked += 1;
        Place { stream: 0, event: self.asked }
    }

    /// What the answer to a request will be about. An error is the raw one for the upstream: the
    /// task that it names is not its own.
    fn kind(&self, server: ServerId, request: &ServerRequest) -> Result<AskKind, Bytes> {
        match request.method.as_str() {
            "tasks/list" => Ok(AskKind::TaskList),
            method if method.starts_with("tasks/") => {
                if self.tasks.server_in(&request.params) == Some(server) {
                    return Ok(AskKind::Other);
                }
                Err(envelope::error_object(code::INVALID_PARAMS, "Task not found", None))
            }
            _ if matches!(splice::find(&request.params, &["task"]), Ok(Some(_))) => {
                Ok(AskKind::Task)
            }
            _ => Ok(AskKind::Other),
        }
    }

    /// The server of the task that the client tells of.
    pub(super) fn task_server(&self, params: &[u8]) -> Option<ServerId> {
        self.tasks.server_in(params)
    }

    /// Takes an answer of the client; one to what was not asked is passed over.
    pub(super) fn answer(&mut self, id: &Id, answer: Answer) {
        let Some(place) = place_in(id.raw()) else { return };
        if self.pending.contains_key(&place) {
            return self.answer_at(place, answer);
        }
        if let Some(early) = self.early.as_mut().filter(|early| early.len() < MAX_EARLY) {
            early.insert(place, answer);
        }
    }

    fn answer_at(&mut self, place: Place, answer: Answer) {
        if let Some(Pending { upstream, to, server, kind, .. }) = self.pending.remove(&place) {
            let answer = answer.map(|result| match kind {
                AskKind::TaskList => self.tasks.of_server(server, &result),
                AskKind::Task => {
                    self.tasks.note(server, &result);
                    result
                }
                AskKind::Other => result,
            });
            // There is room for every answer; nobody hears it when the call is over.
            let _ = to.try_send(Reaction::Answer(upstream, answer));
        }
    }

    /// Takes progress of the client; whether it was about one of these.
    pub(super) fn progress(&mut self, params: &Bytes) {
        let Ok(Some(span)) = splice::find(params, &["progressToken"]) else { return };
        let asked = place_in(&params[span.clone()]).and_then(|place| self.pending.get(&place));
        let Some(Pending { token: Some(token), to, .. }) = asked else { return };
        // Answers come first: progress that would take their room is dropped.
        if to.capacity() > to.max_capacity() / 2 {
            let params = splice::replace_span(params, span, token);
            let _ = to.try_send(Reaction::Progress(params));
        }
    }

    /// Answers what the client did not answer in time.
    pub(super) fn expire(&mut self, now: Instant) {
        let due: Vec<Place> =
            self.pending.iter().filter(|(_, asked)| asked.due <= now).map(|(at, _)| *at).collect();
        for place in due {
            if let Some(asked) = self.pending.remove(&place) {
                asked.give_up("the client did not answer in time");
            }
        }
    }

    /// Answers all that waits, for the client will not: its session ended.
    pub(super) fn end(self) {
        for asked in self.pending.into_values() {
            asked.give_up(ENDED);
        }
    }

    /// Gives memory back that nothing needs; the numbers go on.
    pub(super) fn shrink(&mut self) {
        if self.pending.is_empty() && self.pending.capacity() > 0 {
            self.pending = HashMap::new();
        }
    }
}
