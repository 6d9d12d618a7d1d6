//! Answers what workers ask.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bus::{Bus, Incoming, Server};
use bytes::Bytes;
use domain::ServerId;
use event_store::{Claim, Clock, Lease, Leases, MAX_CLAIMS, StoreError};
use prost::Message as _;
use proto::internal::v1::{HeldLease, LeaseRelease, LeaseReply, LeaseRequest};
use tokio_util::sync::CancellationToken;

use super::grace::Grace;
use super::handover::GRANTED;
use super::note::WorkerNote;
use super::survey::{Survey, SurveyError, Surveyor};
use super::{OwnershipTimes, WORKERS, lease_of, server_of};
use crate::backbone::serve_each;

/// Requests that are worked on at the same time; further ones wait.
const CONCURRENT: usize = 64;
/// Servers that a worker may say it holds.
const MAX_HELD: usize = 50_000;
/// Longest name of a worker.
const MAX_NAME: usize = 128;

/// Answers what workers ask; see the module above.
pub(crate) struct Ownership {
    leases: Arc<dyn Leases>,
    surveyor: Arc<Surveyor>,
    clock: Clock,
    times: OwnershipTimes,
    grace: Grace,
}

impl Ownership {
    /// Over these leases.
    pub(crate) fn new(
        leases: Arc<dyn Leases>,
        surveyor: Arc<Surveyor>,
        bus: Arc<dyn Bus>,
        clock: Clock,
        times: OwnershipTimes,
    ) -> Arc<Self> {
        Arc::new(Self { leases, surveyor, clock, times, grace: Grace::new(bus) })
    }

    /// Answers until `shutdown`.
    pub(crate) async fn run(
        self: Arc<Self>,
        asked: Server,
        released: Server,
        shutdown: CancellationToken,
    ) {
        self.grace.say(true).await;
        let (asking, releasing) = (Arc::clone(&self), self);
        let asking = serve_each(asked, CONCURRENT, shutdown.clone(), move |incoming| {
            let this = Arc::clone(&asking);
            async move { this.asked(incoming).await }
        });
        let releasing = serve_each(released, CONCURRENT, shutdown, move |incoming| {
            let this = Arc::clone(&releasing);
            async move { this.released(incoming).await }
        });
        tokio::join!(asking, releasing);
    }

    async fn asked(&self, incoming: Incoming) {
        let Ok(request) = LeaseRequest::decode(incoming.first) else { return };
        let named = !request.worker.is_empty() && request.worker.len() <= MAX_NAME;
        if !named || request.held.len() > MAX_HELD {
            tracing::warn!(worker = request.worker, "a request for leases breaks a limit");
            return;
        }
        let answer = tokio::time::timeout(self.times.store, self.answer(&request)).await;
        let reply = match answer.unwrap_or(Err(SurveyError::TimedOut)) {
            Ok(reply) => {
                self.grace.say(true).await;
                Some(reply)
            }
            Err(error) => {
                tracing::warn!(%error, worker = request.worker, "leases are not renewed");
                self.surveyor.unsettle();
                self.grace.say(false).await;
                self.grace.answer(&request, self.valid_ms()).await
            }
        };
        // Without an answer the worker asks again, maybe another replica.
        if let Some(reply) = reply {
            incoming.exchange.reply(reply.encode_to_vec().into()).await.ok();
            incoming.exchange.finish();
        }
    }

    async fn answer(&self, request: &LeaseRequest) -> Result<LeaseReply, SurveyError> {
        let worker = request.worker.as_str();
        let mut survey = self.surveyor.current().await?;
        if !survey.workers.contains_key(worker) {
            // New, or back after a while: it counts from now on.
            let note = WorkerNote::of(request, None, (self.clock)());
            self.claim(vec![self.life(worker, &note)]).await?;
            self.surveyor.forget();
            survey = self.surveyor.current().await?;
        }
        self.grace.learn(&survey);
        let note = WorkerNote::of(request, survey.workers.get(worker), (self.clock)());
        let mut claims = vec![self.life(worker, &note)];
        let held: BTreeSet<ServerId> =
            request.held.iter().filter_map(|held| held.server.parse().ok()).collect();
        let granted = if request.draining { Vec::new() } else { granted(&survey, worker, &held) };
        let servers = held.iter().chain(&granted);
        claims.extend(servers.map(|server| self.claim_of(worker, lease_of(server), Bytes::new())));
        let leases = self.claim(claims).await?;
        Ok(self.reply(worker, &survey, leases))
    }

    fn reply(&self, worker: &str, survey: &Survey, leases: Vec<Lease>) -> LeaseReply {
        let owned: HashMap<ServerId, u64> = leases
            .iter()
            .filter_map(|lease| Some((server_of(&lease.name)?, lease.epoch)))
            .collect();
        let of = |(server, epoch): (&ServerId, &u64)| HeldLease {
            server: server.to_string(),
            epoch: *epoch,
        };
        let mut reply = LeaseReply {
            owned: owned.iter().map(of).collect(),
            valid_ms: self.valid_ms(),
            ..LeaseReply::default()
        };
        if let Some(directions) = survey.directions.get(worker) {
            let let_go = directions.let_go.iter().filter(|server| owned.contains_key(server));
            reply.let_go = let_go.map(ToString::to_string).collect();
            let prepare = directions.prepare.iter().filter(|server| !owned.contains_key(server));
            reply.prepare = prepare.map(ToString::to_string).collect();
        }
        reply.owned.sort_by(|one, other| one.server.cmp(&other.server));
        reply
    }

    async fn released(&self, incoming: Incoming) {
        let Ok(request) = LeaseRelease::decode(incoming.first) else { return };
        let held: Vec<_> =
            request.released.iter().map(|held| (lease_of(&held.server), held.epoch)).collect();
        for part in held.chunks(MAX_CLAIMS) {
            let release = self.leases.release(&request.worker, part);
            match tokio::time::timeout(self.times.store, release).await {
                Ok(Ok(())) => {}
                // Without an answer the worker knows that the leases end by time.
                Ok(Err(error)) => return tracing::warn!(%error, "leases are not given up"),
                Err(_) => return tracing::warn!("leases are not given up in time"),
            }
        }
        self.surveyor.forget();
        incoming.exchange.reply(Bytes::new()).await.ok();
        incoming.exchange.finish();
    }

    /// The leases that were granted, of those that are claimed.
    async fn claim(&self, claims: Vec<Claim>) -> Result<Vec<Lease>, StoreError> {
        let mut leases = Vec::with_capacity(claims.len());
        for part in claims.chunks(MAX_CLAIMS) {
            leases.extend(self.leases.claim(part).await?.into_iter().flatten());
        }
        Ok(leases)
    }

    /// That the worker lives, and what it says of itself.
    fn life(&self, worker: &str, note: &WorkerNote) -> Claim {
        self.claim_of(worker, format!("{WORKERS}{worker}"), note.to_bytes())
    }

    fn claim_of(&self, worker: &str, name: String, note: Bytes) -> Claim {
        Claim { name, holder: worker.to_owned(), ttl: self.times.lease, note }
    }

    fn valid_ms(&self) -> u64 {
        u64::try_from(self.times.valid.as_millis()).unwrap_or(u64::MAX)
    }
}

/// What the worker gets besides what it says it holds.
fn granted(survey: &Survey, worker: &str, held: &BTreeSet<ServerId>) -> Vec<ServerId> {
    let Some(directions) = survey.directions.get(worker) else { return Vec::new() };
    let is_own = |server: &ServerId| {
        survey.holders.get(server).is_some_and(|holder| *holder.worker == *worker)
    };
    let new = directions.take.iter().filter(|server| !held.contains(server));
    new.filter(|server| survey.settled || is_own(server)).take(GRANTED).copied().collect()
}
