//! Tells the others that this worker is there, and how much it has to do.
//!
//! It is for people and for what balances load; who owns what is decided by leases alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use backplane::subject;
use bus::Announcement;
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::connection::ActorDeps;

/// Between two looks at what there is to do.
const PERIOD: Duration = Duration::from_secs(1);

/// What a worker says of itself; the value of its presence, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Load {
    servers: usize,
    requests: usize,
    labels: Vec<String>,
    weight: u32,
    capacity: u32,
}

/// Announces this worker until `shutdown`.
pub(crate) async fn announce(deps: Arc<ActorDeps>, shutdown: CancellationToken) {
    let Ok(key) = subject::worker(deps.bus.instance()) else { return };
    let announcing = async {
        let mut announced: Option<(Announcement, Load)> = None;
        loop {
            let load = load(&deps);
            let value = serde_json::to_vec(&load).unwrap_or_default();
            announced = match announced {
                Some((announcement, before)) if before == load => Some((announcement, before)),
                Some((announcement, _)) => {
                    announcement.update(value).is_ok().then_some((announcement, load))
                }
                None => {
                    let announcement = deps.bus.announce(key.clone(), value.into()).await;
                    announcement.ok().map(|announcement| (announcement, load))
                }
            };
            sleep(PERIOD).await;
        }
    };
    let _: Option<()> = shutdown.run_until_cancelled(announcing).await;
}

fn load(deps: &ActorDeps) -> Load {
    Load {
        servers: deps.lease.owned().borrow().len(),
        requests: deps.under_way.load(Ordering::Relaxed),
        labels: deps.config.labels.clone(),
        weight: deps.config.weight,
        capacity: deps.config.capacity,
    }
}
