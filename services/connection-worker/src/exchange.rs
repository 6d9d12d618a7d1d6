//! Serves the exchanges of one server: a client's request, upstream, and what comes back.
//!
//! What always holds: a request is sent upstream at most once; every exchange ends with a last
//! frame that says how it ended, unless the edge left; what is returned to be stored is masked,
//! what goes to the client is what the upstream said, except that errors are masked, too.

mod answer;
mod forward;

use std::sync::Arc;

use backplane::exchange::Answering;
use bus::{Incoming, Server};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::answer::Ended;
use crate::connection::Slot;

/// Takes the exchanges of a server until `stop` is cancelled; those under way go on.
pub(crate) async fn serve(slot: Arc<Slot>, mut server: Server, stop: CancellationToken) {
    loop {
        let incoming = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            incoming = server.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let arrived = Instant::now();
        let permit = Arc::clone(&slot.in_flight).try_acquire_owned().ok();
        // A task of its own each: they go on side by side, on all cores.
        tokio::spawn(answer(Arc::clone(&slot), incoming, arrived, permit));
    }
}

async fn answer(
    slot: Arc<Slot>,
    incoming: Incoming,
    arrived: Instant,
    permit: Option<OwnedSemaphorePermit>,
) {
    let Ok((open, answering)) = Answering::accept(incoming) else {
        tracing::warn!(server = %slot.spec.server, "an exchange that cannot be read was dropped");
        return;
    };
    let ended = match permit {
        Some(_) => forward::forward(&slot, open, &answering, arrived).await,
        None => Some(Ended::refused(
            "RESOURCE_EXHAUSTED",
            "too many calls to this server are under way",
        )),
    };
    // Whoever left is counted as cancelled.
    let outcome = ended.as_ref().map_or(domain::call::CallOutcome::Cancelled, |e| e.outcome);
    slot.meters().ended(outcome, ended.as_ref().and_then(|ended| ended.upstream));
    if let Some(ended) = ended
        && let Err(error) = answering.finish(ended.into_message()).await
    {
        tracing::debug!(server = %slot.spec.server, %error, "answer of an exchange not taken");
    }
}
