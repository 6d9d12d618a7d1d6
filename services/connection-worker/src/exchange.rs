//! Serves the exchanges of one server: a client's request, upstream, and what comes back; and the
//! attachments of those who listen to it.
//!
//! What always holds: a request is sent upstream at most once; every exchange ends with a last
//! frame that says how it ended, unless the edge left; what is returned to be stored is masked,
//! what goes to the client is what the upstream said, except that errors are masked, too.

mod answer;
mod attachment;
mod conversation;
mod forward;
mod questions;
mod reach;

use std::sync::Arc;

use backplane::exchange::Answering;
use bus::{Incoming, Server};
use proto::internal::v1::{ExchangeKind, ExchangeOpen};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::answer::Ended;
use crate::connection::{ActorDeps, Slot};
use crate::session::Pool;

/// One server, as its exchanges see it.
#[derive(Clone)]
pub(crate) struct Served {
    /// What all share.
    pub(crate) deps: Arc<ActorDeps>,
    /// The connection that clients share.
    pub(crate) slot: Arc<Slot>,
    /// Those of single clients; `None` where the server's isolation is `shared`.
    pub(crate) pool: Option<Arc<Pool>>,
    /// The server is no longer served.
    pub(crate) stop: CancellationToken,
}

/// Takes the exchanges of a server until it is no longer served; requests under way go on,
/// attachments end.
pub(crate) async fn serve(served: Served, mut server: Server) {
    let attachments = Arc::new(Semaphore::new(served.deps.config.max_attachments));
    loop {
        let incoming = tokio::select! {
            biased;
            () = served.stop.cancelled() => return,
            incoming = server.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        // A task of its own each: they go on side by side, on all cores.
        accept(&served, incoming, &attachments);
    }
}

fn accept(served: &Served, incoming: Incoming, attachments: &Arc<Semaphore>) {
    let arrived = Instant::now();
    let Ok((open, answering)) = Answering::accept(incoming) else {
        let server = served.slot.spec.server;
        tracing::warn!(%server, "an exchange that cannot be read was dropped");
        return;
    };
    let served = served.clone();
    if open.kind() == ExchangeKind::Attachment {
        let permit = Arc::clone(attachments).try_acquire_owned().ok();
        tokio::spawn(attend(served, open, answering, permit));
    } else {
        let permit = Arc::clone(&served.slot.in_flight).try_acquire_owned().ok();
        tokio::spawn(answer(served, open, answering, arrived, permit));
    }
}

async fn answer(
    served: Served,
    open: ExchangeOpen,
    answering: Answering,
    arrived: Instant,
    permit: Option<OwnedSemaphorePermit>,
) {
    let ended = match permit {
        Some(_) => forward::forward(&served, open, &answering, arrived).await,
        None => Some(Ended::refused(
            "RESOURCE_EXHAUSTED",
            "too many calls to this server are under way",
        )),
    };
    // Whoever left is counted as cancelled.
    let outcome = ended.as_ref().map_or(domain::call::CallOutcome::Cancelled, |e| e.outcome);
    served.slot.meters().ended(outcome, ended.as_ref().and_then(|ended| ended.upstream));
    finish(&served, answering, ended).await;
}

async fn attend(
    served: Served,
    open: ExchangeOpen,
    answering: Answering,
    permit: Option<OwnedSemaphorePermit>,
) {
    let ended = match permit {
        Some(_) => {
            let meters = served.slot.meters();
            meters.attached();
            let ended = attachment::attend(&served, &open, &answering).await;
            meters.detached();
            ended
        }
        None => {
            let message = "too many edges and sessions are attached to this server";
            Some(Ended::refused("RESOURCE_EXHAUSTED", message))
        }
    };
    finish(&served, answering, ended).await;
}

async fn finish(served: &Served, answering: Answering, ended: Option<Ended>) {
    if let Some(ended) = ended
        && let Err(error) = answering.finish(ended.into_message()).await
    {
        let server = served.slot.spec.server;
        tracing::debug!(%server, %error, "answer of an exchange not taken");
    }
}
