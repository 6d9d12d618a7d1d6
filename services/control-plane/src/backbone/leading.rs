//! What only one replica does: it publishes, beats, closes calls that nobody ends, deletes what has
//! ended and says which servers have no place.
//!
//! What always holds: all of it stops at once when the replica does not lead any more, and begins
//! again when it leads again; what it writes is refused by the store once another leads.

use std::sync::Arc;

use event_store::Fence;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Published, Publisher, beat, close_gone, publisher, upkeep};
use crate::app::{App, PublishedMark};
use crate::ownership::{OwnershipTimes, Surveyor, tell_unplaced};

/// The name of the lease that the leading replica holds.
const LEASE: &str = "leader";

/// That this replica leads, in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    epoch: u64,
    /// Others could lead instead.
    fenced: bool,
}

impl Leader {
    /// Who leads in `epoch`; `cluster`, when others could lead instead.
    pub(crate) const fn new(epoch: u64, cluster: bool) -> Self {
        Self { epoch, fenced: cluster }
    }

    /// The epoch.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What the leader's appends carry.
    pub(crate) fn fence(&self) -> Option<Fence> {
        self.fenced.then(|| Fence { lease: LEASE.to_owned(), epoch: self.epoch })
    }
}

/// What leading needs besides the app.
pub(crate) struct Leading {
    pub(crate) app: Arc<App>,
    pub(crate) leadership: watch::Receiver<Option<u64>>,
    pub(crate) mark: Arc<dyn PublishedMark>,
    /// From where the log is published when no mark is kept.
    pub(crate) from: Published,
    /// Only where there are several processes.
    pub(crate) cluster: Option<(Arc<Surveyor>, OwnershipTimes)>,
}

impl Leading {
    /// Leads whenever it is this replica's turn, until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut leadership = self.leadership.clone();
        let waiting = async {
            loop {
                let epoch = *leadership.borrow_and_update();
                let Some(epoch) = epoch else {
                    if leadership.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                    continue;
                };
                tracing::info!(epoch, "this replica leads");
                metrics::gauge!("mcp_orch_leads").set(1.0);
                // Dropped, and with it all that it does, when the epoch is another one.
                let mut work = self.begin(Leader::new(epoch, self.cluster.is_some()));
                tokio::select! {
                    () = until_other(&mut leadership, epoch) => {}
                    () = ended(&mut work) => {}
                }
                metrics::gauge!("mcp_orch_leads").set(0.0);
                tracing::info!(epoch, "this replica does not lead any more");
            }
        };
        let ended: Option<()> = shutdown.run_until_cancelled(waiting).await;
        debug_assert!(ended.is_none(), "leading ends only by shutdown");
    }

    fn begin(&self, leader: Leader) -> JoinSet<()> {
        let app = &self.app;
        let mut work = JoinSet::new();
        let (mark, from, publishing) = (Arc::clone(&self.mark), self.from, Arc::clone(app));
        work.spawn(async move {
            let from = publisher::begin(&*publishing.store, &*mark, from).await;
            let (store, bus) = (Arc::clone(&publishing.store), Arc::clone(&publishing.bus));
            let (publisher, published) = Publisher::new(store, Arc::clone(&bus), from);
            let beating = beat(bus, published.clone());
            let marking = publisher::keep_mark(&*mark, leader.epoch(), published);
            tokio::join!(publisher.run(), beating, marking);
        });
        work.spawn(upkeep(Arc::clone(app)));
        if let Some((surveyor, times)) = &self.cluster {
            work.spawn(close_gone(Arc::clone(app), leader));
            let surveyor = Arc::clone(surveyor);
            work.spawn(tell_unplaced(Arc::clone(app), surveyor, leader, times.unplaced));
        }
        work
    }
}

/// Returns when the leadership is not the one of `epoch`.
async fn until_other(leadership: &mut watch::Receiver<Option<u64>>, epoch: u64) {
    if leadership.wait_for(|now| *now != Some(epoch)).await.is_err() {
        // Nobody changes it any more: it stays as it is.
        std::future::pending::<()>().await;
    }
}

/// None of it ends by itself: a part that failed is logged, and all of it begins anew.
async fn ended(work: &mut JoinSet<()>) {
    if let Some(Err(error)) = work.join_next().await {
        tracing::error!(%error, "a task of the leading replica failed");
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}
