//! One exchange: the request goes to the upstream, frames go back.

use std::sync::Arc;
use std::time::Duration;

use backplane::exchange::Answering;
use bytes::Bytes;
use domain::call::CallOutcome;
use mcp::client::{Frame, Pending, RequestError, RequestOptions, SendFailure};
use proto::internal::v1::{ExchangeOpen, Notification};
use tokio::time::{Instant, Sleep, sleep};

use super::answer::Ended;
use crate::connection::{Link, Slot, Unavailable};

/// Carries a request to its end; `None` when the edge left, to whom nothing can be said.
pub(super) async fn forward(
    slot: &Slot,
    open: ExchangeOpen,
    answering: &Answering,
    arrived: Instant,
) -> Option<Ended> {
    if !is_meant(slot, &open) {
        return Some(Ended::refused("NOT_FOUND", "server not found"));
    }
    let mut deadline = Deadline::after_ms(open.deadline_ms);
    let mut retried = false;
    loop {
        let link = tokio::select! {
            biased;
            link = slot.link() => link,
            reason = answering.cancelled() => {
                let cancelled =
                    || Ended::failed(CallOutcome::Cancelled, "CANCELLED", "cancelled".to_owned());
                return reason.map(|_| cancelled());
            }
            () = deadline.over() => Err(Unavailable("no connection in time".into())),
        };
        let link = match link {
            Ok(link) => link,
            Err(error) => {
                let ended = Ended::refused("UPSTREAM_UNAVAILABLE", &error.to_string());
                let queue = arrived.elapsed();
                return Some(Ended { queue, ..ended });
            }
        };
        match send(&link, &open, answering, arrived, &mut deadline).await {
            // The connection was gone before anything was sent: once more, over the next one.
            Err(RequestError::NotSent(SendFailure::Closed(_))) if !retried => retried = true,
            Err(error) => {
                let ended = Ended::unanswered(&error, &link.masker);
                let queue = arrived.elapsed();
                let stored_arguments = stored_arguments(&link, &open);
                return Some(Ended { queue, stored_arguments, ..ended });
            }
            Ok(ended) => return ended,
        }
    }
}

/// Whether the request is for this server as it is owned: its tenant's and its project's.
fn is_meant(slot: &Slot, open: &ExchangeOpen) -> bool {
    let spec = &slot.spec;
    open.project == spec.project.as_str()
        && open.server.parse() == Ok(spec.server)
        && open.tenant.parse() == Ok(spec.tenant)
}

/// Sends the request over a connection. Fails only where nothing was sent.
async fn send(
    link: &Arc<Link>,
    open: &ExchangeOpen,
    answering: &Answering,
    arrived: Instant,
    deadline: &mut Deadline,
) -> Result<Option<Ended>, RequestError> {
    let queue = arrived.elapsed();
    let handed_over = Instant::now();
    let params = (!open.params.is_empty()).then(|| open.params.clone());
    let mut pending = link.connection.request(&open.method, params, RequestOptions::default());
    let end = loop {
        let frame = tokio::select! {
            biased;
            frame = pending.next() => frame,
            reason = answering.cancelled() => {
                let Some(reason) = reason else {
                    leave(pending, "the client left").await;
                    return Ok(None);
                };
                pending.cancel(Some(&reason));
                pending.next().await
            }
            () = deadline.over() => {
                pending.cancel(Some("no answer in time"));
                drop(pending.next().await);
                Some(Err(RequestError::Timeout))
            }
        };
        match frame {
            Some(Ok(Frame::Progress(params))) => {
                let method = "notifications/progress".to_owned();
                if answering.notify(Notification { method, params }).await.is_err() {
                    leave(pending, "the client left").await;
                    return Ok(None);
                }
            }
            Some(Ok(Frame::Reply(reply))) => break Ok(reply),
            Some(Err(error)) => break Err(error),
            None => break Err(RequestError::Cancelled),
        }
    };
    let upstream = Some(handed_over.elapsed());
    let ended = match end {
        Ok(reply) => Ended { upstream, ..Ended::answered(reply, &link.masker, open.record) },
        Err(error @ RequestError::NotSent(SendFailure::Closed(_))) => return Err(error),
        Err(error) => Ended::unanswered(&error, &link.masker),
    };
    Ok(Some(Ended { queue, stored_arguments: stored_arguments(link, open), ..ended }))
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
