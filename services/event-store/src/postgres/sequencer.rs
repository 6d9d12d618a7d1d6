//! The sequencer: competes for the lead, and gives positions while it has it.
//!
//! The lease says who should; the epoch in the sequencer's row says who can. A process that was
//! stopped and continued still believes that it leads, and finds its next step refused.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::PostgresEventStore;
use super::place::{self, Step};
use super::session::Trouble;
use crate::lease::Claim;
use crate::port::Leases;

/// The lease of who gives positions and publishes.
pub const LEADER: &str = "leader";

/// How long the lead is granted for, by the database's clock.
const TTL: Duration = Duration::from_secs(4);
/// How often it is claimed.
const RENEW: Duration = Duration::from_secs(1);
/// Without a renewal sent within this time, the lead is given up.
const CERTAIN: Duration = Duration::from_secs(3);
/// How long one claim may take.
const CLAIM: Duration = Duration::from_millis(1_500);
/// How often the outbox is looked at for appends of other processes.
const POLL: Duration = Duration::from_millis(10);
/// The pauses after failures: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// Gives positions as long as it leads. One for each control-plane.
pub struct Sequencer {
    store: PostgresEventStore,
    holder: String,
    leadership: watch::Sender<Option<u64>>,
}

impl Sequencer {
    /// `holder` is the name of this process, unique for each of its starts.
    pub fn new(store: PostgresEventStore, holder: impl Into<String>) -> Self {
        Self { store, holder: holder.into(), leadership: watch::channel(None).0 }
    }

    /// The epoch in which this process leads; `None` while it does not, or is not certain.
    pub fn leadership(&self) -> watch::Receiver<Option<u64>> {
        self.leadership.subscribe()
    }

    /// Runs until `shutdown`, and then gives the lead up.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.compete() => {}
            () = self.sequence() => {}
        }
        let epoch = self.leadership.send_replace(None);
        if let Some(epoch) = epoch {
            let held = [(LEADER.to_owned(), epoch)];
            let released = tokio::time::timeout(CLAIM, self.store.release(&self.holder, &held));
            // It ends by itself otherwise.
            let _ = released.await;
        }
    }

    /// Claims the lead for ever.
    async fn compete(&self) {
        let mut sent = Instant::now();
        loop {
            let began = Instant::now();
            let claimed = self.claim_until(sent + CERTAIN).await;
            match claimed {
                Claimed::Mine(epoch) => {
                    sent = began;
                    self.lead(Some(epoch));
                }
                Claimed::Anothers => self.lead(None),
                Claimed::Unknown if sent.elapsed() >= CERTAIN => self.lead(None),
                Claimed::Unknown => {}
            }
            let mut pause = RENEW.saturating_sub(began.elapsed());
            if self.leadership.borrow().is_some() {
                // The lead is given up in time, whatever becomes of the next claim.
                pause = pause.min(CERTAIN.saturating_sub(sent.elapsed()));
            }
            tokio::time::sleep(pause.max(PAUSE.0)).await;
        }
    }

    /// One claim, which does not outlast the time at which the lead is certain no more.
    async fn claim_until(&self, certain: Instant) -> Claimed {
        let left = certain.saturating_duration_since(Instant::now());
        let patience = if self.leadership.borrow().is_some() { left.min(CLAIM) } else { CLAIM };
        let claim = Claim {
            name: LEADER.to_owned(),
            holder: self.holder.clone(),
            ttl: TTL,
            note: Bytes::new(),
        };
        match tokio::time::timeout(patience, self.store.claim(&[claim])).await {
            Ok(Ok(leases)) => match leases.into_iter().next().flatten() {
                Some(lease) => Claimed::Mine(lease.epoch),
                None => Claimed::Anothers,
            },
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lead could not be claimed");
                Claimed::Unknown
            }
            Err(_) => Claimed::Unknown,
        }
    }

    fn lead(&self, epoch: Option<u64>) {
        self.leadership.send_if_modified(|current| {
            if *current == epoch {
                return false;
            }
            match epoch {
                Some(epoch) => tracing::info!(epoch, "this process leads"),
                None => tracing::warn!(epoch = *current, "this process leads no more"),
            }
            *current = epoch;
            true
        });
    }

    /// Gives positions for ever, while it leads.
    async fn sequence(&self) {
        let mut leadership = self.leadership.subscribe();
        let mut pause = PAUSE.0;
        let mut taken = None;
        loop {
            let leads = leadership.wait_for(Option::is_some).await.map(|epoch| *epoch);
            let Ok(Some(epoch)) = leads else { return };
            match self.step(epoch, &mut taken).await {
                Ok(Step::Placed(commit)) => {
                    pause = PAUSE.0;
                    // The tail reads what it is not given.
                    let _ = self.store.inner.offers.try_send(commit);
                }
                Ok(Step::Idle) => {
                    pause = PAUSE.0;
                    self.wait_for_appends().await;
                }
                Ok(Step::Fenced) => {
                    taken = None;
                    self.step_down(epoch).await;
                }
                Err(trouble) => {
                    taken = None;
                    tracing::warn!(error = %trouble.cause(), "a step of the sequencer failed");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    /// Another leads or led in a higher epoch. A lease that is still ours is of no use: given
    /// up, it comes back with the next epoch.
    async fn step_down(&self, epoch: u64) {
        tracing::warn!(epoch, "a step of the sequencer was refused: another leads");
        self.leadership.send_if_modified(|current| {
            let mine = *current == Some(epoch);
            *current = current.filter(|_| !mine);
            mine
        });
        let held = [(LEADER.to_owned(), epoch)];
        if let Err(error) = self.store.release(&self.holder, &held).await {
            tracing::warn!(%error, "the lead could not be given up, it ends by itself");
        }
    }

    async fn step(&self, epoch: u64, taken: &mut Option<u64>) -> Result<Step, Trouble> {
        let inner = &self.store.inner;
        let step = async {
            if *taken != Some(epoch) {
                if !place::take_over(&inner.pools.log, epoch).await? {
                    return Ok(Step::Fenced);
                }
                *taken = Some(epoch);
            }
            if !place::is_due(&inner.pools.log).await? {
                return Ok(Step::Idle);
            }
            place::step(&inner.pools.log, &inner.clock, epoch).await
        };
        tokio::time::timeout(inner.pools.patience, step).await?
    }

    async fn wait_for_appends(&self) {
        // Those of other processes are found by looking.
        let _ = tokio::time::timeout(POLL, self.store.inner.appended.notified()).await;
    }
}

enum Claimed {
    Mine(u64),
    Anothers,
    Unknown,
}
