//! Serves the exchanges of one server: a client's request, upstream, and what comes back; and the
//! attachments of those who listen to it. A call whose edge leaves may be adopted by another one.
//!
//! What always holds: a request is sent upstream at most once, and only while it is certain that
//! this worker owns the server; every exchange ends with a last
//! frame that says how it ended, unless the edge left; what is returned to be stored is masked,
//! what goes to the client is what the upstream said, except that errors are masked, too.

mod adoption;
mod answer;
mod attachment;
mod conversation;
mod forward;
mod line;
mod lines;
mod outlet;
mod questions;
mod reach;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backplane::exchange::Answering;
use bus::{Incoming, Server};
use domain::call::CallOutcome;
use proto::internal::v1::{ExchangeKind, ExchangeOpen};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::answer::Ended;
pub(crate) use self::lines::Lines;
use self::lines::Registered;
use self::outlet::Outlet;
use crate::connection::{ActorDeps, Slot};
use crate::session::Pool;

/// Most adoptions of a server's calls that wait for the edges before to be gone.
const MAX_ADOPTIONS: usize = 4_096;

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
    let adoptions = Arc::new(Semaphore::new(MAX_ADOPTIONS));
    loop {
        let incoming = tokio::select! {
            biased;
            () = served.stop.cancelled() => return,
            incoming = server.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        // A task of its own each: they go on side by side, on all cores.
        accept(&served, incoming, &attachments, &adoptions);
    }
}

fn accept(
    served: &Served,
    incoming: Incoming,
    attachments: &Arc<Semaphore>,
    adoptions: &Arc<Semaphore>,
) {
    let arrived = Instant::now();
    let Ok((open, answering)) = Answering::accept(incoming) else {
        let server = served.slot.spec.server;
        tracing::warn!(%server, "an exchange that cannot be read was dropped");
        return;
    };
    let served = served.clone();
    match open.kind() {
        ExchangeKind::Attachment => {
            let permit = Arc::clone(attachments).try_acquire_owned().ok();
            tokio::spawn(attend(served, open, Outlet::Plain(answering), permit));
        }
        ExchangeKind::Adoption => {
            let permit = Arc::clone(adoptions).try_acquire_owned().ok();
            tokio::spawn(adopt(served, open, answering, permit));
        }
        ExchangeKind::Unspecified => {
            let permit = Arc::clone(&served.slot.in_flight).try_acquire_owned().ok();
            tokio::spawn(answer(served, open, answering, arrived, permit));
        }
    }
}

async fn answer(
    served: Served,
    open: ExchangeOpen,
    answering: Answering,
    arrived: Instant,
    permit: Option<OwnedSemaphorePermit>,
) {
    let under_way = UnderWay::begin(&served.deps.under_way);
    let outlet = match served.is_meant(&open) {
        true => served.deps.lines.outlet(&served.slot.spec, &open, answering),
        false => Outlet::Plain(answering),
    };
    let ended = match &permit {
        Some(_) => forward::forward(&served, open, &outlet, arrived).await,
        None => Some(Ended::refused(
            "RESOURCE_EXHAUSTED",
            "too many calls to this server are under way",
        )),
    };
    let ended = ended.map(|ended| served.whose(ended));
    // Whoever left is counted as cancelled.
    let outcome = ended.as_ref().map_or(CallOutcome::Cancelled, |ended| ended.outcome);
    served.slot.meters().ended(outcome, ended.as_ref().and_then(|ended| ended.upstream));
    let kept = finish(&served, outlet, ended).await;
    drop(permit);
    drop(under_way);
    if let Some(kept) = kept {
        kept.linger().await;
    }
}

async fn attend(
    served: Served,
    open: ExchangeOpen,
    outlet: Outlet,
    permit: Option<OwnedSemaphorePermit>,
) {
    let ended = match permit {
        Some(_) => {
            let meters = served.slot.meters();
            meters.attached();
            let ended = attachment::attend(&served, &open, &outlet).await;
            meters.detached();
            ended
        }
        None => {
            let message = "too many edges and sessions are attached to this server";
            Some(Ended::refused("RESOURCE_EXHAUSTED", message))
        }
    };
    let ended = ended.map(|ended| served.whose(ended));
    drop(finish(&served, outlet, ended).await);
}

async fn adopt(
    served: Served,
    open: ExchangeOpen,
    answering: Answering,
    permit: Option<OwnedSemaphorePermit>,
) {
    match permit {
        Some(_) => adoption::adopt(served, open, answering).await,
        None => {
            let message = "too many calls of this server are being adopted";
            let ended = Ended::refused("RESOURCE_EXHAUSTED", message);
            drop(finish(&served, Outlet::Plain(answering), Some(ended)).await);
        }
    }
}

/// Says the last thing; returns a call that somebody may still want.
async fn finish(served: &Served, outlet: Outlet, ended: Option<Ended>) -> Option<Registered> {
    let finished = outlet.finish(ended?.into_message()).await;
    if finished.is_err() {
        let server = served.slot.spec.server;
        tracing::debug!(%server, "answer of an exchange not taken");
    }
    finished.ok().flatten()
}

impl Served {
    /// What was not sent upstream because another worker owns the server by now is to be sent
    /// there.
    fn whose(&self, ended: Ended) -> Ended {
        if ended.outcome == CallOutcome::NotStarted && !self.is_owned() {
            return Ended { queue: ended.queue, ..Ended::not_owned() };
        }
        ended
    }
}

/// Counts a request as long as it is under way.
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
