//! One exchange: the request goes to the upstream, frames go back.

use std::time::Duration;

use backplane::exchange::FollowUp;
use bytes::Bytes;
use domain::call::CallOutcome;
use mcp::LogLevel;
use mcp::client::{Frame, Pending, RequestError, RequestOptions, SendFailure, Transport};
use proto::internal::v1::{ExchangeOpen, Peer};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::Served;
use super::answer::Ended;
use super::conversation::{Conversation, Passing};
use super::outlet::{Left, Outlet};
use super::reach::Reached;
use crate::connection::{Asked, Client, Heard, Link, Seat};
use crate::session::Denied;

/// How long a request waits until the upstream sends log messages as it wants them, and an answer
/// until what was said before it was handed on.
const SHORT_WAIT: Duration = Duration::from_secs(2);

/// Carries a request to its end; `None` when nobody listens any more, to whom nothing can be said.
pub(super) async fn forward(
    served: &Served,
    open: ExchangeOpen,
    outlet: &Outlet,
    arrived: Instant,
) -> Option<Ended> {
    if !served.is_meant(&open) {
        return Some(Ended::refused("NOT_FOUND", "server not found"));
    }
    let mut deadline = Deadline::after_ms(open.deadline_ms);
    let mut retried = false;
    loop {
        let reached = tokio::select! {
            biased;
            reached = served.reach(open.peer.as_ref()) => reached,
            reason = outlet.cancelled() => {
                let cancelled =
                    || Ended::failed(CallOutcome::Cancelled, "CANCELLED", "cancelled".to_owned());
                return reason.map(|_| cancelled());
            }
            () = deadline.over() => Err(Denied::Unavailable("no connection in time".into())),
        };
        let reached = match reached {
            Ok(reached) => reached,
            Err(denied) => {
                return Some(Ended { queue: arrived.elapsed(), ..Ended::from(denied) });
            }
        };
        let call = Call { served, open: &open, outlet, arrived };
        match call.send(&reached, &mut deadline).await {
            // The connection was gone before anything was sent: once more, over the next one.
            Err(RequestError::NotSent(SendFailure::Closed(_))) if !retried => retried = true,
            Err(error) => {
                let ended = Ended::unanswered(&error, &reached.link().masker);
                let queue = arrived.elapsed();
                let stored_arguments = stored_arguments(reached.link(), &open);
                return Some(Ended { queue, stored_arguments, ..ended });
            }
            Ok(ended) => return ended,
        }
    }
}

/// A request that has a connection.
struct Call<'a> {
    served: &'a Served,
    open: &'a ExchangeOpen,
    outlet: &'a Outlet,
    arrived: Instant,
}

impl Call<'_> {
    /// Sends the request. Fails only where nothing was sent.
    async fn send(
        &self,
        reached: &Reached,
        deadline: &mut Deadline,
    ) -> Result<Option<Ended>, RequestError> {
        let (open, link) = (self.open, reached.link());
        let mut seat = reached.seat(self.served, open.peer.as_ref());
        let passing = match reached {
            Reached::Shared(_) => Passing::OfTheCall,
            Reached::Own(_) => Passing::All,
        };
        let upstream = Some((&link.connection, passing));
        let mut conversation = Conversation::new(self.outlet, open.peer.as_ref(), upstream);
        self.want_logs(reached).await;
        let queue = self.arrived.elapsed();
        if !self.served.is_owned() {
            return Ok(Some(Ended { queue, ..Ended::not_owned() }));
        }
        let handed_over = Instant::now();
        let params = (!open.params.is_empty()).then(|| open.params.clone());
        let options = options(link, open.peer.as_ref());
        let mut pending = link.connection.request(&open.method, params, options);
        let end = self.follow(link, &mut pending, seat.as_mut(), &mut conversation, deadline).await;
        let Ok(end) = end else {
            leave(pending, "the client left").await;
            return Ok(None);
        };
        let upstream = Some(handed_over.elapsed());
        if let Some(seat) =
            seat.filter(|_| link.connection.transport() != Transport::StreamableHttp)
            && catch_up(seat, &mut conversation).await.is_err()
        {
            return Ok(None);
        }
        let ended = match end {
            Ok(reply) => Ended { upstream, ..Ended::answered(reply, &link.masker, open.record) },
            Err(error @ RequestError::NotSent(SendFailure::Closed(_))) => return Err(error),
            Err(error) => Ended::unanswered(&error, &link.masker),
        };
        Ok(Some(Ended { queue, stored_arguments: stored_arguments(link, open), ..ended }))
    }

    /// Carries what both sides say until the request has an answer, or has none.
    async fn follow(
        &self,
        link: &Link,
        pending: &mut Pending,
        mut seat: Option<&mut Seat>,
        conversation: &mut Conversation<'_>,
        deadline: &mut Deadline,
    ) -> Result<Result<mcp::client::Reply, RequestError>, Left> {
        loop {
            let frame = tokio::select! {
                biased;
                frame = pending.next() => frame,
                heard = heard(&mut seat), if seat.is_some() => {
                    conversation.hear(heard).await?;
                    continue;
                }
                follow_up = self.outlet.next_follow_up() => match follow_up {
                    None => return Err(Left),
                    Some(FollowUp::Cancel(reason)) => {
                        pending.cancel(Some(&reason));
                        pending.next().await
                    }
                    Some(said) => {
                        conversation.take(said).await;
                        continue;
                    }
                },
                () = deadline.over() => too_late(pending).await,
            };
            match frame {
                Some(Ok(Frame::Progress(params))) => {
                    conversation.tell("notifications/progress".to_owned(), params).await?;
                }
                Some(Ok(Frame::Notification { method, params })) => {
                    conversation.tell(method, params).await?;
                }
                Some(Ok(Frame::Request(request))) => {
                    conversation.ask(Asked::new(link.connection.clone(), request)).await?;
                }
                Some(Ok(Frame::Paused { retry })) => conversation.pause(retry).await?,
                Some(Ok(Frame::Reply(reply))) => return Ok(Ok(reply)),
                Some(Err(error)) => return Ok(Err(error)),
                None => return Ok(Err(RequestError::Cancelled)),
            }
        }
    }

    /// Has an upstream with sessions send the log messages that this request alone asks for.
    async fn want_logs(&self, reached: &Reached) {
        let level = self.open.peer.as_ref().and_then(|peer| LogLevel::parse(&peer.log_level));
        if let Some(level) = level.filter(|_| !reached.link().is_stateless()) {
            let raised = reached.board(self.served).raise(level);
            // Without it the request goes on all the same.
            drop(timeout(SHORT_WAIT, raised).await);
        }
    }
}

async fn heard(seat: &mut Option<&mut Seat>) -> Heard {
    match seat {
        Some(seat) => seat.next().await,
        None => std::future::pending().await,
    }
}

/// What was said before the answer comes before it.
async fn catch_up(mut seat: Seat, conversation: &mut Conversation<'_>) -> Result<(), Left> {
    for heard in timeout(SHORT_WAIT, seat.rest()).await.unwrap_or_default() {
        // A question that came with the answer has nobody to wait for it.
        if matches!(heard, Heard::Notification(_)) {
            conversation.hear(heard).await?;
        }
    }
    Ok(())
}

/// What a stateless upstream is told of the client; nothing else costs anything.
fn options(link: &Link, peer: Option<&Peer>) -> RequestOptions {
    if !link.is_stateless() {
        return RequestOptions::default();
    }
    let log_level = peer.map_or("", |peer| peer.log_level.as_str());
    RequestOptions { meta: Client::of(peer).to_meta(log_level), ..RequestOptions::default() }
}

/// The `arguments` of the call without secrets, where there are any in them.
fn stored_arguments(link: &Link, open: &ExchangeOpen) -> Option<Bytes> {
    if !open.record || link.masker.is_empty() {
        return None;
    }
    let arguments = mcp::splice::slice(&open.params, &["arguments"]).ok()??;
    link.masker.mask_json(&arguments)
}

/// Tells the upstream that nobody waits any more.
async fn leave(mut pending: Pending, reason: &str) {
    pending.cancel(Some(reason));
    // Cancelling is told by a task of the connection: there is nothing left to wait for.
    drop(pending.next().await);
}

/// Gives a request up; an answer that is there already counts.
async fn too_late(pending: &mut Pending) -> Option<Result<Frame, RequestError>> {
    pending.cancel(Some("no answer in time"));
    loop {
        match pending.next().await {
            Some(Err(RequestError::Cancelled)) | None => return Some(Err(RequestError::Timeout)),
            Some(Ok(Frame::Reply(reply))) => return Some(Ok(Frame::Reply(reply))),
            Some(Err(error)) => return Some(Err(error)),
            Some(Ok(_)) => {}
        }
    }
}

/// The moment until which the edge waits, if it has one.
struct Deadline(Option<std::pin::Pin<Box<Sleep>>>);

impl Deadline {
    fn after_ms(deadline_ms: u64) -> Self {
        Self((deadline_ms > 0).then(|| Box::pin(sleep(Duration::from_millis(deadline_ms)))))
    }

    async fn over(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.await,
            None => std::future::pending().await,
        }
    }
}
