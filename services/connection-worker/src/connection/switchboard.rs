//! Brings what a connection says outside of its answers to those who listen, and what they want
//! to hear to the connection.
//!
//! Listeners are attachments, which live long, and the calls under way of a connection that
//! belongs to one client. What always holds: no listener holds up another one or the connection:
//! each has a queue with a limit, beyond which notifications are dropped and requests refused;
//! a request of the upstream goes to one listener at the most.

mod listener;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mcp::envelope::error_object;
use mcp::{LogLevel, code};
use proto::internal::v1::{InterestDone, Notification};
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use self::listener::{Attachment, Seat};
use super::asked::Asked;
use super::interests::{Step, Told, Union, Wants};
use crate::severity::{LOG_METHOD, passes};

/// Most messages that wait for one listener.
const QUEUE: usize = 256;
/// Most attachments of one connection.
const MAX_ATTACHMENTS: usize = 4_096;
/// Most changes of interests that wait to be done.
const MAX_WAITING: usize = 4_096;
/// Most calls that wait until the past of the connection was handed on.
const MAX_BARRIERS: usize = 64;

/// Something for a listener.
pub(crate) enum Heard {
    /// The upstream told something.
    Notification(Notification),
    /// The upstream asks something.
    Asked(Asked),
    /// An interest was seen to.
    Done(InterestDone),
    /// What the connection offers now.
    Catalogue(Bytes),
    /// The connection is gone for good.
    Ended,
}

/// Whom what an upstream says outside of its answers belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clientele {
    /// Clients that know nothing of each other: it may tell, but not ask.
    Many,
    /// One client.
    One,
    /// One call at a time.
    OneCall,
}

/// See the module.
pub(crate) struct Switchboard {
    clientele: Clientele,
    state: Mutex<State>,
    /// Interests changed.
    changed: Notify,
    /// An attachment came.
    attached: Notify,
    barriers: mpsc::Sender<oneshot::Sender<()>>,
    pumped: tokio::sync::Mutex<mpsc::Receiver<oneshot::Sender<()>>>,
}

#[derive(Default)]
struct State {
    next: u64,
    attachments: BTreeMap<u64, Attached>,
    calls: BTreeMap<u64, mpsc::Sender<Heard>>,
    union: Union,
    waiting: Vec<Waiting>,
    /// Requests that wait until the upstream sends log messages as they want them.
    raising: Vec<oneshot::Sender<()>>,
    ended: bool,
}

struct Attached {
    queue: mpsc::Sender<Heard>,
    wants: Wants,
}

/// A change of interests that is not done yet.
struct Waiting {
    attachment: u64,
    interest: u64,
    about: About,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    Resource(String),
    Level,
}

/// There are too many of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many {0}")]
pub(crate) struct TooMany(pub(crate) &'static str);

impl Switchboard {
    /// Nobody listens yet.
    pub(crate) fn new(clientele: Clientele) -> Arc<Self> {
        let (barriers, pumped) = mpsc::channel(MAX_BARRIERS);
        Arc::new(Self {
            clientele,
            state: Mutex::default(),
            changed: Notify::new(),
            attached: Notify::new(),
            barriers,
            pumped: tokio::sync::Mutex::new(pumped),
        })
    }

    /// No code that holds the lock can panic half way: a poisoned state is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens from now on, with wants from before.
    ///
    /// # Errors
    /// [`TooMany`] attachments.
    pub(crate) fn attach(self: &Arc<Self>, wants: &Wants) -> Result<Attachment, TooMany> {
        let (queue, heard) = mpsc::channel(QUEUE);
        let mut state = self.state();
        if state.attachments.len() >= MAX_ATTACHMENTS {
            return Err(TooMany("attachments"));
        }
        if state.ended {
            // The queue is empty: there is room.
            drop(queue.try_send(Heard::Ended));
        }
        for uri in &wants.uris {
            state.union.add(uri);
        }
        let key = state.key();
        state.attachments.insert(key, Attached { queue, wants: wants.clone() });
        drop(state);
        self.changed.notify_one();
        self.attached.notify_one();
        Ok(Attachment::new(Arc::clone(self), key, heard))
    }

    /// A call begins that listens. Where many share the connection it hears log messages alone,
    /// and those only while no other call listens: nothing else tells to whom they belong.
    pub(crate) fn seat(self: &Arc<Self>) -> Seat {
        let (queue, heard) = mpsc::channel(QUEUE);
        let mut state = self.state();
        let key = state.key();
        state.calls.insert(key, queue);
        drop(state);
        Seat::new(Arc::clone(self), key, heard)
    }

    /// The upstream told something that belongs to no answer.
    pub(crate) fn tell(&self, method: String, params: Bytes) {
        let state = self.state();
        // Which request is taken back only who got it can tell.
        let to_all = method == "notifications/cancelled";
        let said = Notification { method, params };
        if to_all {
            for queue in state.calls.values().chain(state.attachments.values().map(|a| &a.queue)) {
                offer(queue, Heard::Notification(said.clone()));
            }
            return;
        }
        let is_calls = match self.clientele {
            Clientele::Many => said.method == LOG_METHOD,
            Clientele::One => false,
            Clientele::OneCall => true,
        };
        if let Some(call) = state.only_call().filter(|_| is_calls) {
            offer(call, Heard::Notification(said));
            return;
        }
        for attached in state.attachments.values() {
            let wanted = attached.wants.level;
            if wanted.is_none_or(|least| passes(&said.method, &said.params, least)) {
                offer(&attached.queue, Heard::Notification(said.clone()));
            }
        }
    }

    /// The upstream asks something, and said nothing of the request that it asks for.
    pub(crate) fn ask(&self, asked: Asked) {
        if self.clientele == Clientele::Many {
            let message = "this request belongs to no call: a connection that clients share has \
                           nobody to ask; the server needs the isolation `session`";
            asked.refuse(code::METHOD_NOT_FOUND, message);
            return;
        }
        let state = self.state();
        let call = state.only_call();
        let attachment = state.attachments.values().next_back().map(|a| &a.queue);
        let listener = match self.clientele {
            Clientele::OneCall => call.or(attachment),
            _ => attachment.or(call),
        };
        let Some(listener) = listener.cloned() else {
            drop(state);
            asked.refuse(code::METHOD_NOT_FOUND, "the client cannot be asked outside of a call");
            return;
        };
        drop(state);
        if let Err(refused) = listener.try_send(Heard::Asked(asked))
            && let Heard::Asked(asked) = refused.into_inner()
        {
            asked.refuse(code::INTERNAL_ERROR, "the client is behind with what it was asked");
        }
    }

    /// Has the upstream send log messages of that level; returns when it was told. At once where
    /// it was told before.
    pub(crate) async fn raise(&self, level: LogLevel) {
        let told = {
            let mut state = self.state();
            if !state.union.raise(level) || state.raising.len() >= MAX_WAITING {
                return;
            }
            let (raising, told) = oneshot::channel();
            state.raising.push(raising);
            told
        };
        self.changed.notify_one();
        // An error is the end of the connection.
        let _ = told.await;
    }

    /// What the connection offers now.
    pub(crate) fn offer_catalogue(&self, catalogue: &Bytes) {
        for attached in self.state().attachments.values() {
            offer(&attached.queue, Heard::Catalogue(catalogue.clone()));
        }
    }

    /// The connection is gone for good.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        for attached in state.attachments.values() {
            // A queue that is full says so by its end: see `Attachment::next`.
            offer(&attached.queue, Heard::Ended);
        }
    }

    /// Waits until an attachment comes; at once when one did since this was last asked.
    pub(crate) async fn attached(&self) {
        self.attached.notified().await;
    }

    /// Waits until interests change; at once when they did since this was last asked.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What is left to tell the upstream.
    pub(super) fn plan(&self, told: &mut Told) -> Vec<Step> {
        let state = self.state();
        for waiting in &state.waiting {
            if let About::Resource(uri) = &waiting.about {
                told.forget_refusal(uri);
            }
        }
        let levels = state.attachments.values().filter_map(|attached| attached.wants.level);
        let plan = state.union.plan(told, levels);
        drop(state);
        if plan.is_empty() {
            // What others wanted before is done already.
            self.settle(|_| true, &Bytes::new());
            self.raised();
        }
        plan
    }

    /// A step was taken; with the upstream's raw error, if it refused.
    pub(super) fn done(&self, step: &Step, error: &Bytes) {
        match step {
            Step::Level(_) => self.raised(),
            // Who wants it again by now waits for the step that is planned next.
            Step::Unsubscribe(uri) if self.state().union.wants(uri) => return,
            Step::Subscribe(_) | Step::Unsubscribe(_) => {}
        }
        self.settle(
            |about| match (about, step) {
                (About::Resource(known), Step::Subscribe(uri) | Step::Unsubscribe(uri)) => {
                    known == uri
                }
                (About::Level, Step::Level(_)) => true,
                _ => false,
            },
            error,
        );
    }

    /// There is no connection that interests could be told to.
    pub(crate) fn fail_waiting(&self, cause: &str) {
        // What the next connection is told anyway is as good as done.
        self.settle(|about| !matches!(about, About::Resource(_)), &Bytes::new());
        let error = error_object(code::INTERNAL_ERROR, cause, None);
        self.settle(|_| true, &error);
        self.raised();
    }

    fn raised(&self) {
        for raising in std::mem::take(&mut self.state().raising) {
            // Who waited may be gone.
            let _ = raising.send(());
        }
    }

    /// Tells those who wait for something that it is done; what failed is no longer wanted.
    fn settle(&self, is_it: impl Fn(&About) -> bool, error: &Bytes) {
        let mut state = self.state();
        let (settled, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut state.waiting).into_iter().partition(|one| is_it(&one.about));
        state.waiting = waiting;
        for Waiting { attachment, interest, about } in settled {
            if let (About::Resource(uri), false) = (&about, error.is_empty()) {
                state.forget(attachment, uri);
                self.changed.notify_one();
            }
            if let Some(attached) = state.attachments.get(&attachment) {
                let done = InterestDone { id: interest, error: error.clone() };
                offer(&attached.queue, Heard::Done(done));
            }
        }
    }

    /// Waits until everything that the connection said so far was handed on, so that what was
    /// said before an answer comes before it.
    async fn catch_up(&self) {
        let (done, waiting) = oneshot::channel();
        if self.barriers.send(done).await.is_ok() {
            // An error is the end of the connection: nothing more is handed on.
            drop(waiting.await);
        }
    }

    /// The next one who waits in [`catch_up`](Self::catch_up). To be asked for only while the
    /// connection has nothing to hand on. Cancel-safe.
    pub(super) async fn next_barrier(&self) -> Option<oneshot::Sender<()>> {
        self.pumped.lock().await.recv().await
    }
}

impl State {
    fn key(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn only_call(&self) -> Option<&mpsc::Sender<Heard>> {
        let mut calls = self.calls.values();
        calls.next().filter(|_| calls.next().is_none())
    }

    fn forget(&mut self, attachment: u64, uri: &str) {
        if let Some(attached) = self.attachments.get_mut(&attachment)
            && attached.wants.uris.remove(uri)
        {
            self.union.remove(uri);
        }
    }
}

fn offer(queue: &mpsc::Sender<Heard>, heard: Heard) {
    if queue.try_send(heard).is_err() {
        tracing::debug!("a message of an upstream was dropped: its listener is behind");
    }
}

#[cfg(test)]
mod tests;
