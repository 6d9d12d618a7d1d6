//! What the leases say, read at most twice a second however many workers ask, and what follows
//! from it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ServerId;
use event_store::{Clock, Leases, StoreError};
use tokio::time::Instant;

use super::handover::{Directions, Held, Situation, directions};
use super::note::WorkerNote;
use super::placement::{Candidate, Placement, place};
use super::{OwnershipTimes, SERVERS, WORKERS, server_of};
use crate::views::{ViewError, Views};

/// The leases at one moment.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The live workers.
    pub(crate) workers: BTreeMap<Arc<str>, WorkerNote>,
    /// Where the servers are.
    pub(crate) holders: HashMap<ServerId, Held>,
    /// Where they should be.
    pub(crate) placement: Arc<Placement>,
    /// What each worker is to do.
    pub(super) directions: HashMap<Arc<str>, Directions>,
    /// Whether all workers had time to say what they hold.
    pub(crate) settled: bool,
}

/// Why the leases were not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurveyError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store takes too long.
    #[error("the store did not answer in time")]
    TimedOut,
    /// The servers cannot be read.
    #[error(transparent)]
    Views(#[from] ViewError),
    /// The placement was not finished.
    #[error("the placement failed: {0}")]
    Placing(#[from] tokio::task::JoinError),
}

/// Reads the leases for everybody who asks.
pub(crate) struct Surveyor {
    leases: Arc<dyn Leases>,
    views: Views,
    clock: Clock,
    times: OwnershipTimes,
    /// Held by the one who reads; the others wait for the same.
    reading: tokio::sync::Mutex<Option<Placed>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    current: Option<(Instant, Arc<Survey>)>,
    /// Since when the store answers, and when it did last.
    reached: Option<(Instant, Instant)>,
    /// How often what was seen was said to be over.
    forgotten: u64,
}

/// A placement and what it was made of.
struct Placed {
    candidates: Vec<Candidate>,
    generation: u64,
    placement: Arc<Placement>,
}

impl Surveyor {
    /// A surveyor that has not looked yet.
    pub(crate) fn new(
        leases: Arc<dyn Leases>,
        views: Views,
        clock: Clock,
        times: OwnershipTimes,
    ) -> Arc<Self> {
        let (reading, seen) = (tokio::sync::Mutex::default(), Mutex::default());
        Arc::new(Self { leases, views, clock, times, reading, seen })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read a moment ago; else it is read now. Who asks meanwhile waits for the same.
    pub(crate) async fn current(&self) -> Result<Arc<Survey>, SurveyError> {
        if let Some(survey) = self.fresh() {
            return Ok(survey);
        }
        let mut placed = self.reading.lock().await;
        if let Some(survey) = self.fresh() {
            return Ok(survey);
        }
        self.look(&mut placed).await
    }

    fn fresh(&self) -> Option<Arc<Survey>> {
        let seen = self.seen();
        let (at, survey) = seen.current.as_ref()?;
        (at.elapsed() < self.times.survey).then(|| Arc::clone(survey))
    }

    /// The next one who asks looks anew.
    pub(crate) fn forget(&self) {
        let mut seen = self.seen();
        seen.current = None;
        seen.forgotten += 1;
    }

    /// The store did not answer: what will be known of it has to settle again.
    pub(crate) fn unsettle(&self) {
        self.forget();
        self.seen().reached = None;
    }

    async fn look(&self, placed: &mut Option<Placed>) -> Result<Arc<Survey>, SurveyError> {
        let forgotten = self.seen().forgotten;
        let read = tokio::time::timeout(self.times.store, self.read()).await;
        let (workers, holders) = match read.unwrap_or(Err(SurveyError::TimedOut)) {
            Ok(read) => read,
            Err(error) => {
                self.unsettle();
                return Err(error);
            }
        };
        let reached = self.reached();
        let placement = self.place(placed, &workers).await?;
        let directions = directions(&Situation {
            placement: &placement,
            workers: &workers,
            holders: &holders,
            now: (self.clock)(),
            drain_limit: self.times.drain,
        });
        metrics::gauge!("mcp_orch_workers").set(workers.len() as f64);
        metrics::gauge!("mcp_orch_servers_unplaced").set(placement.unplaced().len() as f64);
        let settled = reached.elapsed() >= self.times.settle;
        let survey = Arc::new(Survey { workers, holders, placement, directions, settled });
        let mut seen = self.seen();
        if seen.forgotten == forgotten {
            seen.current = Some((Instant::now(), Arc::clone(&survey)));
        }
        Ok(survey)
    }

    /// Since when the store answers, now that it did. A pause in which leases may have ended
    /// unseen counts as an absence.
    fn reached(&self) -> Instant {
        let now = Instant::now();
        let mut seen = self.seen();
        let before = seen.reached.filter(|(_, last)| now - *last < self.times.lease);
        let since = before.map_or(now, |(since, _)| since);
        seen.reached = Some((since, now));
        since
    }

    async fn read(&self) -> Result<Read, SurveyError> {
        let workers = self.leases.leases(WORKERS).await?;
        let servers = self.leases.leases(SERVERS).await?;
        let live = workers.into_iter().map(|lease| {
            let note = WorkerNote::from_bytes(&lease.note);
            (Arc::<str>::from(lease.holder), note)
        });
        let live: BTreeMap<_, _> = live.collect();
        let held = servers.into_iter().filter_map(|lease| {
            let known = live.get_key_value(lease.holder.as_str()).map(|(name, _)| Arc::clone(name));
            let worker = known.unwrap_or_else(|| lease.holder.as_str().into());
            Some((server_of(&lease.name)?, Held { worker, epoch: lease.epoch }))
        });
        let held = held.collect();
        Ok((live, held))
    }

    /// Where the servers should be: thought about again only when workers or servers changed.
    async fn place(
        &self,
        before: &mut Option<Placed>,
        workers: &BTreeMap<Arc<str>, WorkerNote>,
    ) -> Result<Arc<Placement>, SurveyError> {
        let named = workers.iter().filter_map(|(name, note)| note.candidate(name));
        let candidates: Vec<_> = named.collect();
        // Read first: a change that comes meanwhile is seen the next time.
        let generation = self.views.servers_generation();
        if let Some(placed) = &*before
            && placed.generation == generation
            && placed.candidates == candidates
        {
            return Ok(Arc::clone(&placed.placement));
        }
        let servers = self.views.placeable_servers().await?;
        let of = candidates.clone();
        let placed = tokio::task::spawn_blocking(move || place(&of, &servers)).await?;
        let placement = Arc::new(placed);
        *before = Some(Placed { candidates, generation, placement: Arc::clone(&placement) });
        Ok(placement)
    }
}

type Read = (BTreeMap<Arc<str>, WorkerNote>, HashMap<ServerId, Held>);
