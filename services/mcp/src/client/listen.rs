//! What a stateless server tells of on its own: one `subscriptions/listen` request that stays open
//! and names all that is wanted.
//!
//! When that changes, a second request is opened before the first is closed, so that nothing falls
//! between them. One that the server ends is opened again, after a growing pause; as nobody knows
//! what was missed meanwhile, all that it listens for counts as changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::ServerHello;
use super::link::{ACKNOWLEDGED, Link};
use super::start::{self, Ask};
use super::{
    ConnectionEvent, Frame, InterestError, Pending, Reply, RequestError, RequestMeta, SendFailure,
};
use crate::envelope::{self, code};
use crate::{ErrorObject, ListKind, splice};

/// The most resources of one server that are listened for.
const MAX_RESOURCES: usize = 10_000;

/// How long the server may take to say what it will tell of.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection waits for that before it is used.
const HEAD_START: Duration = Duration::from_millis(500);

/// How long the request before is still read once the next one is open.
const OVERLAP: Duration = Duration::from_secs(1);

/// How long until a request that ended is opened again, and the longest such pause.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is wanted.
#[derive(Debug, Clone, Default)]
struct Filter {
    /// Grows with each change.
    generation: u64,
    lists: Vec<ListKind>,
    uris: BTreeSet<String>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.uris.is_empty()
    }

    fn params(&self) -> Bytes {
        let mut members: Vec<String> = self
            .lists
            .iter()
            .filter_map(|list| Some(format!("\"{}\":true", changed_key(*list)?)))
            .collect();
        if !self.uris.is_empty() {
            let uris: Vec<_> = self.uris.iter().map(|uri| quoted(uri)).collect();
            members.push(format!("\"resourceSubscriptions\":[{}]", uris.join(",")));
        }
        format!("{{\"notifications\":{{{}}}}}", members.join(",")).into()
    }
}

/// The member of a filter that stands for changes of a list; that of templates has none of its own.
fn changed_key(list: ListKind) -> Option<&'static str> {
    match list {
        ListKind::Tools => Some("toolsListChanged"),
        ListKind::Prompts => Some("promptsListChanged"),
        ListKind::Resources => Some("resourcesListChanged"),
        ListKind::ResourceTemplates => None,
    }
}

fn quoted(text: &str) -> String {
    String::from_utf8_lossy(&splice::quote(text)).into_owned()
}

/// How far the server has come with what is wanted.
#[derive(Debug, Clone)]
struct Settled {
    /// Of which [`Filter`].
    generation: u64,
    /// The resources it tells of, or why it does not listen at all.
    outcome: Result<BTreeSet<String>, InterestError>,
}

/// Where what is wanted is changed.
#[derive(Debug)]
pub(super) struct Wanted {
    filter: watch::Sender<Filter>,
    settled: watch::Receiver<Settled>,
}

impl Wanted {
    /// Waits a moment until the server tells of changes, so that none falls between what is learned
    /// of it next and that.
    pub(super) async fn head_start(&self) {
        if self.filter.borrow().is_empty() {
            return;
        }
        let mut settled = self.settled.clone();
        // Whether it does or not, the connection can be used.
        drop(timeout(HEAD_START, settled.wait_for(|settled| settled.generation > 0)).await);
    }

    /// Asks for updates of a resource, and waits until the server has said that it will tell.
    pub(super) async fn subscribe(&self, uri: &str) -> Result<(), InterestError> {
        let mut room = true;
        self.filter.send_if_modified(|filter| {
            room = filter.uris.len() < MAX_RESOURCES || filter.uris.contains(uri);
            let new = room && filter.uris.insert(uri.to_owned());
            filter.generation += u64::from(new);
            new
        });
        if !room {
            return Err(RequestError::NotSent(SendFailure::Busy).into());
        }
        let generation = self.filter.borrow().generation;
        let mut settled = self.settled.clone();
        let reached = settled.wait_for(|settled| settled.generation >= generation);
        let outcome = match timeout(PATIENCE, reached).await {
            Ok(Ok(settled)) => settled.outcome.clone(),
            Ok(Err(_)) => {
                Err(RequestError::NotSent(SendFailure::Closed(super::CloseCause::Ended)).into())
            }
            Err(_) => Err(RequestError::Timeout.into()),
        };
        match outcome {
            Ok(uris) if uris.contains(uri) => Ok(()),
            Ok(_) => {
                self.unsubscribe(uri);
                let message = "the server does not tell of updates of this resource";
                let error = envelope::error_object(code::METHOD_NOT_FOUND, message, None);
                Err(InterestError::Refused(error))
            }
            Err(error) => {
                self.unsubscribe(uri);
                Err(error)
            }
        }
    }

    /// Takes it back.
    pub(super) fn unsubscribe(&self, uri: &str) {
        self.filter.send_if_modified(|filter| {
            let known = filter.uris.remove(uri);
            filter.generation += u64::from(known);
            known
        });
    }
}

/// Starts to listen for changes of the lists that can change.
pub(super) fn start(link: &Arc<Link>, hello: &ServerHello) -> Wanted {
    let lists = ListKind::ALL.into_iter().filter(|list| {
        let path = [list.capability(), "listChanged"];
        let capabilities = hello.capabilities.as_ref();
        changed_key(*list).is_some()
            && capabilities.is_some_and(|all| {
                splice::find(all, &path)
                    .is_ok_and(|span| span.is_some_and(|span| &all[span] == b"true"))
            })
    });
    let filter = Filter { generation: 1, lists: lists.collect(), uris: BTreeSet::new() };
    let (filter, filters) = watch::channel(filter);
    let nothing = Settled { generation: 0, outcome: Ok(BTreeSet::new()) };
    let (settle, settled) = watch::channel(nothing);
    let link = Arc::clone(link);
    tokio::spawn(async move {
        let listening = Listening {
            link: &link,
            filters,
            settle,
            opening: None,
            current: None,
            previous: None,
            current_since: Instant::now(),
            open_at: Some(Instant::now()),
            pause: FIRST_PAUSE,
            gap: false,
        };
        tokio::select! {
            () = listening.run() => {}
            _ = link.events.end.wait() => {}
        }
    });
    Wanted { filter, settled }
}

/// A request that the server has not acknowledged.
struct Opening {
    pending: Pending,
    filter: Filter,
    until: Instant,
}

struct Listening<'a> {
    link: &'a Arc<Link>,
    filters: watch::Receiver<Filter>,
    settle: watch::Sender<Settled>,
    opening: Option<Opening>,
    /// The request that brings what is wanted.
    current: Option<Pending>,
    /// The one before, and until when it is still read.
    previous: Option<(Pending, Instant)>,
    /// Since when it does.
    current_since: Instant,
    /// When to open the next one.
    open_at: Option<Instant>,
    pause: Duration,
    /// Whether there was a time in which nobody listened.
    gap: bool,
}

impl Listening<'_> {
    async fn run(mut self) {
        loop {
            let opening_until = self.opening.as_ref().map(|opening| opening.until);
            let previous_until = self.previous.as_ref().map(|(_, until)| *until);
            tokio::select! {
                changed = self.filters.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.pause = FIRST_PAUSE;
                    self.open();
                }
                () = at(self.open_at) => self.open(),
                frame = next(self.opening.as_mut().map(|opening| &mut opening.pending)) => {
                    self.opening_said(frame);
                }
                frame = next(self.current.as_mut()) => self.current_said(frame),
                frame = next(self.previous.as_mut().map(|(pending, _)| pending)) => {
                    match frame {
                        Some(Ok(Frame::Reply(_)) | Err(_)) | None => self.previous = None,
                        Some(Ok(frame)) => self.link.report(frame),
                    }
                }
                () = at(opening_until) => self.failed(RequestError::Timeout.into(), true),
                () = at(previous_until) => {
                    self.previous.take().into_iter().for_each(|(pending, _)| close(pending));
                }
            }
        }
    }

    /// Opens a request for what is wanted now.
    fn open(&mut self) {
        self.open_at = None;
        if let Some(opening) = self.opening.take() {
            close(opening.pending);
        }
        let filter = self.filters.borrow_and_update().clone();
        if filter.is_empty() {
            self.current.take().into_iter().for_each(close);
            self.gap = false;
            let settled = Settled { generation: filter.generation, outcome: Ok(filter.uris) };
            self.settle.send_replace(settled);
            return;
        }
        let (method, params) = ("subscriptions/listen", Some(filter.params()));
        let stamp = Some(&RequestMeta::NONE);
        let ask = Ask { method, params, read_timeout: None, stamp, listens: true };
        let pending = start::request(self.link, ask);
        self.opening = Some(Opening { pending, filter, until: Instant::now() + PATIENCE });
    }

    fn opening_said(&mut self, frame: Option<Result<Frame, RequestError>>) {
        match frame {
            Some(Ok(Frame::Notification { method, params })) if method == ACKNOWLEDGED => {
                self.opened(&params);
            }
            Some(Ok(Frame::Reply(Reply::Error(error)))) => {
                // Asking again would not help where the server has no such request.
                let code = ErrorObject::parse(&error).code;
                let hopeless = matches!(code, code::METHOD_NOT_FOUND | code::INVALID_PARAMS);
                self.failed(InterestError::Refused(error), !hopeless);
            }
            Some(Ok(Frame::Reply(Reply::Result(_)))) | None => {
                self.failed(RequestError::InvalidResponse.into(), true);
            }
            Some(Ok(frame)) => self.link.report(frame),
            Some(Err(error)) => self.failed(error.into(), true),
        }
    }

    /// The server will tell of what it has acknowledged.
    fn opened(&mut self, params: &Bytes) {
        let Some(Opening { pending, filter, .. }) = self.opening.take() else { return };
        let path = ["notifications", "resourceSubscriptions"];
        let honored = splice::elements(params, &path).ok().flatten().unwrap_or_default();
        let honored = honored.into_iter().filter_map(|span| splice::unquote(&params[span]));
        let honored: BTreeSet<String> =
            honored.map(|uri| uri.into_owned()).filter(|uri| filter.uris.contains(uri)).collect();
        if std::mem::take(&mut self.gap) {
            self.all_changed(&filter, &honored);
        }
        self.current_since = Instant::now();
        if let Some(before) = self.current.replace(pending) {
            let until = Instant::now() + OVERLAP;
            let older = self.previous.replace((before, until));
            older.into_iter().for_each(|(pending, _)| close(pending));
        }
        let settled = Settled { generation: filter.generation, outcome: Ok(honored) };
        self.settle.send_replace(settled);
    }

    /// The request that was to be opened is not.
    fn failed(&mut self, error: InterestError, worth_another: bool) {
        let Some(Opening { pending, filter, .. }) = self.opening.take() else { return };
        close(pending);
        tracing::debug!(%error, "an upstream does not tell of changes");
        self.settle.send_replace(Settled { generation: filter.generation, outcome: Err(error) });
        if worth_another {
            self.open_later();
        }
    }

    fn current_said(&mut self, frame: Option<Result<Frame, RequestError>>) {
        match frame {
            Some(Ok(Frame::Reply(_)) | Err(_)) | None => {
                self.current = None;
                self.gap = true;
                // One that stood for a while is no reason for patience.
                if self.current_since.elapsed() > LONGEST_PAUSE {
                    self.pause = FIRST_PAUSE;
                }
                if self.opening.is_none() {
                    self.open_later();
                }
            }
            Some(Ok(frame)) => self.link.report(frame),
        }
    }

    fn open_later(&mut self) {
        self.open_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Says of everything that it may have changed while nobody listened.
    fn all_changed(&self, filter: &Filter, uris: &BTreeSet<String>) {
        filter.lists.iter().for_each(|list| self.link.events.list_changed(*list));
        for uri in uris {
            let method = "notifications/resources/updated".to_owned();
            let params = Bytes::from(format!("{{\"uri\":{}}}", quoted(uri)));
            self.link.events.push(ConnectionEvent::Notification { method, params });
        }
    }
}

/// Tells the server that it need not tell any more.
fn close(mut pending: Pending) {
    pending.cancel(None);
}

/// What arrives next, if there is anything to wait for.
async fn next(pending: Option<&mut Pending>) -> Option<Result<Frame, RequestError>> {
    match pending {
        Some(pending) => pending.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until then, if there is such a moment.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
