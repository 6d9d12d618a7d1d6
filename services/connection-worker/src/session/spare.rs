//! A process that was started before anybody asked for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::server::Transport;
use tokio_util::sync::CancellationToken;

use crate::connection::{ActorDeps, Slot, Spare};

/// Holds at most one.
#[derive(Default)]
pub(super) struct Bench {
    spare: Mutex<Option<Spare>>,
    is_filling: AtomicBool,
}

impl Bench {
    /// The spare, if there is one that still runs.
    pub(super) fn take(&self) -> Option<Spare> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        spare.filter(Spare::is_alive)
    }

    /// Starts one in the background if there is none, until `stop`.
    pub(super) fn fill(
        self: &Arc<Self>,
        deps: &Arc<ActorDeps>,
        slot: &Arc<Slot>,
        stop: &CancellationToken,
    ) {
        let is_process = matches!(slot.spec.config.transport, Transport::Stdio { .. });
        if !is_process || stop.is_cancelled() || self.has_live() {
            return;
        }
        if self.is_filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let (bench, slot, stop) = (Arc::clone(self), Arc::clone(slot), stop.clone());
        let shared = Arc::clone(deps);
        deps.tasks.spawn(async move {
            let spawned = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                spawned = shared.dialer.spawn(&slot.spec, &slot.stderr) => Some(spawned),
            };
            match spawned {
                Some(Ok(spare)) => bench.put(Some(spare)),
                Some(Err(error)) => {
                    let server = slot.spec.server;
                    tracing::debug!(%server, cause = error.cause, "no spare process");
                }
                None => {}
            }
            bench.is_filling.store(false, Ordering::Release);
            // Whoever emptied it for good may have done so before it was filled.
            if stop.is_cancelled() {
                bench.put(None);
            }
        });
    }

    /// Ends what is there.
    pub(super) fn clear(&self) {
        self.put(None);
    }

    fn has_live(&self) -> bool {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.as_ref().is_some_and(Spare::is_alive)
    }

    fn put(&self, spare: Option<Spare>) {
        let before = {
            let mut kept = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *kept, spare)
        };
        drop(before);
    }
}
