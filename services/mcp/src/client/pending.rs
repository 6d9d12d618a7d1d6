//! A request under way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

use super::RequestError;
use super::link::Link;
use crate::envelope;
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
    state: State,
    progress: Option<mpsc::Receiver<Bytes>>,
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
            state: State::Ending(Err(error)),
            progress: None,
            read_timeout: None,
            timer: None,
        }
    }

    /// A request that is sent by `work` (`None`: it is in a queue) and answered by `work` or
    /// through `answer`.
    pub(super) fn running(
        link: Arc<Link>,
        id: u64,
        cancellable: bool,
        work: Option<Work>,
        answer: Option<Answer>,
        progress: Option<mpsc::Receiver<Bytes>>,
        read_timeout: Option<Duration>,
    ) -> Self {
        let started = work.is_none();
        let timer = read_timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout)));
        let state = State::Running { work, answer, started };
        Self { link: Some(link), id, cancellable, state, progress, read_timeout, timer }
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

    /// Waits for the answer and passes over progress.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn reply(mut self) -> Result<Reply, RequestError> {
        loop {
            match self.next().await {
                Some(Ok(Frame::Progress(_))) => {}
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
        link.finish(self.id);
        if !started || !self.cancellable {
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
            if let Some(progress) = &mut self.progress
                && let Poll::Ready(Some(params)) = progress.poll_recv(cx)
            {
                self.reset_timer();
                return Poll::Ready(Some(Ok(Frame::Progress(params))));
            }
            match &mut self.state {
                State::Done => return Poll::Ready(None),
                State::Ending(_) => {
                    self.progress = None;
                    let State::Ending(end) = std::mem::replace(&mut self.state, State::Done) else {
                        return Poll::Ready(None);
                    };
                    self.release();
                    return Poll::Ready(Some(end.map(Frame::Reply)));
                }
                State::Running { .. } => match self.poll_running(cx) {
                    // Progress that came with the end is taken in the next round.
                    Poll::Ready(end) => self.state = State::Ending(end),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply, RequestError>> {
        let State::Running { work, answer, started } = &mut self.state else {
            return Poll::Pending;
        };
        if let Some(Poll::Ready(reply)) = answer.as_mut().map(|answer| Pin::new(answer).poll(cx)) {
            // The answer came before its sending was through: what is left of it finishes on its
            // own, so that the HTTP connection can be used again.
            if let (Some(work), Some(link)) = (work.take(), &self.link) {
                link.spawn_detached(async move { drop(work.await) });
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
        if let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            self.abandon(true, Some("no answer in time"));
            return Poll::Ready(Err(RequestError::Timeout));
        }
        Poll::Pending
    }

    fn reset_timer(&mut self) {
        if let (Some(timer), Some(timeout)) = (&mut self.timer, self.read_timeout) {
            timer.as_mut().reset(Instant::now() + timeout);
        }
    }

    fn release(&mut self) {
        if let Some(link) = self.link.take() {
            link.finish(self.id);
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
