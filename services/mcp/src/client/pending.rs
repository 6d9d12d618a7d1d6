//! A request under way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

use super::link::Link;
use super::{RequestError, ServerRequest};
use crate::envelope::{self, code};
use crate::splice;

/// The answer to a request, as raw JSON: a slice of what was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The result.
    Result(Bytes),
    /// The error object.
    Error(Bytes),
}

/// Something that arrived for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The raw parameters of a progress notification, with the caller's own token in them.
    Progress(Bytes),
    /// Another notification that came on the request's own stream.
    Notification {
        /// The method.
        method: String,
        /// The raw parameters, an object.
        params: Bytes,
    },
    /// The server asks for something in order to answer: it waits for
    /// [`super::Connection::respond`].
    Request(ServerRequest),
    /// Over Streamable HTTP, in a session: the server ended the request's stream before the answer,
    /// and is asked for the rest after `retry`. The request goes on; nobody has to do anything.
    Paused {
        /// How long the rest is not asked for, between 50 ms and 30 s.
        retry: Duration,
    },
    /// The answer; nothing follows.
    Reply(Reply),
}

/// A request under way. It makes way only while [`Pending::next`] or [`Pending::reply`] is polled
/// (over HTTP also its sending). Dropped before its end, it is forgotten: the upstream is not
/// told, and what it answers is dropped; call [`Pending::cancel`] to tell it.
pub struct Pending {
    link: Option<Arc<Link>>,
    id: u64,
    /// `initialize` cannot be cancelled.
    cancellable: bool,
    /// It only listens.
    listens: bool,
    state: State,
    frames: Option<mpsc::Receiver<Frame>>,
    read_timeout: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Sends the request; with `Some` it also has the answer.
pub(super) type Work = BoxFuture<'static, Result<Option<Reply>, RequestError>>;

type Answer = oneshot::Receiver<Result<Reply, RequestError>>;

enum State {
    Running {
        work: Option<Work>,
        answer: Option<Answer>,
        started: bool,
    },
    /// The end is known; progress that came before it goes first.
    Ending(Result<Reply, RequestError>),
    Done,
}

impl Pending {
    /// A request that failed before it began.
    pub(super) fn failed(error: RequestError) -> Self {
        Self {
            link: None,
            id: 0,
            cancellable: false,
            listens: false,
            state: State::Ending(Err(error)),
            frames: None,
            read_timeout: None,
            timer: None,
        }
    }

    /// A request that is sent by `work` (`None`: it is in a queue) and answered by `work` or
    /// through `answer`.
    pub(super) fn running(
        link: Arc<Link>,
        id: u64,
        work: Option<Work>,
        answer: Option<Answer>,
        frames: Option<mpsc::Receiver<Frame>>,
        read_timeout: Option<Duration>,
    ) -> Self {
        let started = work.is_none();
        let timer = read_timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout)));
        let state = State::Running { work, answer, started };
        let (cancellable, listens) = (true, false);
        Self { link: Some(link), id, cancellable, listens, state, frames, read_timeout, timer }
    }

    /// The same, with what makes it unlike the usual.
    pub(super) fn that(mut self, cancellable: bool, listens: bool) -> Self {
        self.cancellable = cancellable;
        self.listens = listens;
        self
    }

    /// The id under which the upstream knows the request.
    #[must_use]
    pub fn upstream_id(&self) -> u64 {
        self.id
    }

    /// What arrives next; `None` after the answer or a failure. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Result<Frame, RequestError>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits for the answer, passes over notifications and refuses what the server asks for.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn reply(mut self) -> Result<Reply, RequestError> {
        loop {
            match self.next().await {
                Some(Ok(
                    Frame::Progress(_) | Frame::Notification { .. } | Frame::Paused { .. },
                )) => {}
                Some(Ok(Frame::Request(request))) => {
                    if let Some(link) = &self.link {
                        link.refuse(&request.id, code::METHOD_NOT_FOUND, "Method not found");
                    }
                }
                Some(Ok(Frame::Reply(reply))) => return Ok(reply),
                Some(Err(error)) => return Err(error),
                None => return Err(RequestError::Cancelled),
            }
        }
    }

    /// Tells the upstream that the answer is no longer wanted; [`Pending::next`] then ends with
    /// [`RequestError::Cancelled`]. Does nothing once the answer is there, and never tells an
    /// upstream about a request that was not sent.
    pub fn cancel(&mut self, reason: Option<&str>) {
        if let State::Running { answer: Some(answer), .. } = &mut self.state
            && let Ok(reply) = answer.try_recv()
        {
            self.state = State::Ending(reply);
        }
        if let State::Running { started, .. } = self.state {
            self.abandon(started, reason);
            self.state = State::Ending(Err(RequestError::Cancelled));
        }
    }

    /// Forgets the request and tells the upstream, if it can know of it.
    fn abandon(&mut self, started: bool, reason: Option<&str>) {
        let Some(link) = self.link.take() else { return };
        link.finish(self.id, self.listens);
        // A stateless server over HTTP is told by the end of the connection, which comes with the
        // end of what reads from it.
        if !started || !self.cancellable || link.is_stateless_http() {
            return;
        }
        let id = self.id;
        let params = match reason {
            Some(reason) => {
                let reason = splice::quote(reason);
                format!("{{\"requestId\":{id},\"reason\":{}}}", String::from_utf8_lossy(&reason))
            }
            None => format!("{{\"requestId\":{id}}}"),
        };
        let notice = envelope::notification("notifications/cancelled", Some(params.as_bytes()));
        link.send_detached(notice);
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, RequestError>>> {
        loop {
            if let Some(frames) = &mut self.frames
                && let Poll::Ready(Some(frame)) = frames.poll_recv(cx)
            {
                self.reset_timer();
                return Poll::Ready(Some(Ok(frame)));
            }
            match &mut self.state {
                State::Done => return Poll::Ready(None),
                State::Ending(_) => {
                    self.frames = None;
                    let State::Ending(end) = std::mem::replace(&mut self.state, State::Done) else {
                        return Poll::Ready(None);
                    };
                    self.release();
                    return Poll::Ready(Some(end.map(Frame::Reply)));
                }
                State::Running { .. } => match self.poll_running(cx) {
                    // Progress that came with the end is taken in the next round.
                    Poll::Ready(end) => self.state = State::Ending(end),
                    Poll::Pending => return self.poll_parked(),
                },
            }
        }
    }

    /// What the reader of the request's own stream laid down while it was polled.
    fn poll_parked(&mut self) -> Poll<Option<Result<Frame, RequestError>>> {
        let Some(frame) = self.link.as_ref().and_then(|link| link.take_parked(self.id)) else {
            return Poll::Pending;
        };
        // A server that only ever ends its streams has said nothing: its time runs out.
        if !matches!(frame, Frame::Paused { .. }) {
            self.reset_timer();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply, RequestError>> {
        let State::Running { work, answer, started } = &mut self.state else {
            return Poll::Pending;
        };
        if let Some(Poll::Ready(reply)) = answer.as_mut().map(|answer| Pin::new(answer).poll(cx)) {
            // The answer came before its sending was through: what is left of it finishes on its
            // own, so that the HTTP connection can be used again.
            if let (Some(work), Some(link)) = (work.take(), &self.link) {
                let unwanted = link.drop_parked(self.id);
                link.spawn_detached(async move {
                    drop(work.await);
                    drop(unwanted);
                });
            }
            let gone = RequestError::Unknown(super::SendFailure::Closed(super::CloseCause::Ended));
            return Poll::Ready(reply.unwrap_or(Err(gone)));
        }
        if let Some(sending) = work {
            *started = true;
            match sending.as_mut().poll(cx) {
                Poll::Ready(Ok(Some(reply))) => return Poll::Ready(Ok(reply)),
                Poll::Ready(Ok(None)) => {
                    *work = None;
                    self.reset_timer();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        if self.is_overdue(cx) {
            self.abandon(true, Some("no answer in time"));
            return Poll::Ready(Err(RequestError::Timeout));
        }
        Poll::Pending
    }

    /// Whether the server was silent for too long. As long as it waits for us, its silence says
    /// nothing.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(timer) = &mut self.timer else { return false };
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        if !self.link.as_ref().is_some_and(|link| link.asked.holds_up(self.id, Instant::now())) {
            return true;
        }
        self.reset_timer();
        // Asked again, so that its next end wakes this task.
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            cx.waker().wake_by_ref();
        }
        false
    }

    fn reset_timer(&mut self) {
        if let (Some(timer), Some(timeout)) = (&mut self.timer, self.read_timeout) {
            timer.as_mut().reset(Instant::now() + timeout);
        }
    }

    fn release(&mut self) {
        if let Some(link) = self.link.take() {
            link.finish(self.id, self.listens);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.release();
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("upstream_id", &self.id).finish_non_exhaustive()
    }
}
