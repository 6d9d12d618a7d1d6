//! What workers may keep while no control plane reaches the store.
//!
//! A lease ends by the store's clock, and only the store gives it to somebody else: while it is
//! away for everybody, nobody can take a server over, and workers that let go would only stop
//! calls that could go on. So a replica that does not reach the store tells a worker to keep what
//! it says it holds, as far as nothing that is known here speaks against it, unless another
//! replica says that it reaches the store: then this one is cut off, keeps silent, and the worker
//! asks that one. When the store is back, nothing free is given out before all workers had time
//! to claim again what they kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bus::{Announcement, Bus, Subject, SubjectFilter};
use bytes::Bytes;
use domain::ServerId;
use proto::internal::v1::{HeldLease, LeaseReply, LeaseRequest};

use super::handover::Held;
use super::survey::Survey;

/// What a replica says of itself.
const REACHES: &[u8] = b"store: ok";
const CUT_OFF: &[u8] = b"store: away";

/// What is known without the store.
pub(super) struct Grace {
    bus: Arc<dyn Bus>,
    known: Mutex<Option<Arc<Survey>>>,
    /// What was said last, and whether the store was reached then.
    said: tokio::sync::Mutex<Option<(Announcement, bool)>>,
}

impl Grace {
    pub(super) fn new(bus: Arc<dyn Bus>) -> Self {
        Self { bus, known: Mutex::default(), said: tokio::sync::Mutex::default() }
    }

    /// Says to the other replicas whether this one reaches the store.
    pub(super) async fn say(&self, reaches: bool) {
        let mut said = self.said.lock().await;
        if said.as_ref().is_some_and(|(_, before)| *before == reaches) {
            return;
        }
        let value = Bytes::from_static(if reaches { REACHES } else { CUT_OFF });
        if let Some((announcement, before)) = said.as_mut()
            && announcement.update(value.clone()).is_ok()
        {
            *before = reaches;
            return;
        }
        let Ok(key) = Subject::new(format!("control-plane.{}", self.bus.instance())) else {
            return;
        };
        match self.bus.announce(key, value).await {
            Ok(announcement) => *said = Some((announcement, reaches)),
            Err(error) => tracing::warn!(%error, "this replica is not announced"),
        }
    }

    /// Takes in what the store says now.
    pub(super) fn learn(&self, survey: &Arc<Survey>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Arc::clone(survey));
    }

    /// The answer without the store; none when another replica has a better one.
    pub(super) async fn answer(&self, request: &LeaseRequest, valid_ms: u64) -> Option<LeaseReply> {
        if self.others_reach_the_store().await {
            return None;
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (nobody, known) = (HashMap::new(), known.as_deref());
        let holders = known.map_or(&nobody, |survey| &survey.holders);
        let kept = request.held.iter().filter(|held| may_keep(holders, &request.worker, held));
        let owned = kept.cloned().collect();
        Some(LeaseReply { owned, valid_ms, ..LeaseReply::default() })
    }

    async fn others_reach_the_store(&self) -> bool {
        let Ok(all) = SubjectFilter::new("control-plane.*") else { return false };
        let Ok(present) = self.bus.present(&all).await else { return false };
        let own = format!("control-plane.{}", self.bus.instance());
        present.iter().any(|one| one.key.as_str() != own && one.value == REACHES)
    }
}

/// Whether nothing that is known says that somebody else has it.
fn may_keep(known: &HashMap<ServerId, Held>, worker: &str, held: &HeldLease) -> bool {
    let Ok(server) = held.server.parse::<ServerId>() else { return false };
    known.get(&server).is_none_or(|other| *other.worker == *worker || other.epoch < held.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_keeps_what_nobody_else_is_known_to_have() {
        let server = |number: u8| format!("0198c0de-0000-7000-8000-00000000000{number}");
        let held = |number, epoch| HeldLease { server: server(number), epoch };
        let known = |number: u8, worker: &str, epoch| {
            (server(number).parse().unwrap(), Held { worker: worker.into(), epoch })
        };
        let known = HashMap::from([known(1, "a", 4), known(2, "b", 4)]);
        assert!(may_keep(&known, "a", &held(1, 4)));
        assert!(!may_keep(&known, "a", &held(2, 4)), "another's");
        assert!(may_keep(&known, "a", &held(2, 5)), "granted since, by another replica");
        assert!(may_keep(&known, "a", &held(3, 1)), "not known here");
        assert!(!may_keep(&known, "a", &HeldLease { server: "x".into(), epoch: 1 }));
    }
}
