//! Deletes what has ended: bodies after their retention, idempotency keys after a day, and, after
//! a start, the sealed values of deleted servers that the process before did not get to destroy.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::use_case::server_delete::destroy_launch_values;

const EVERY: Duration = Duration::from_secs(60);
/// Deleted in one go, so that appends do not wait.
const BATCH: usize = 500;
/// Goes in a row.
const GOES: u32 = 200;

/// Deleted servers that are looked at after a start, the last ones first.
const LEFTOVERS: u32 = 200;

/// Runs at once and every minute until it is dropped.
pub(crate) async fn upkeep(app: Arc<App>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    destroy_leftovers(&app).await;
    loop {
        ticks.tick().await;
        sweep(&app).await;
    }
}

/// Destroying what is not there any more is no error, so that nothing needs to be remembered.
async fn destroy_leftovers(app: &App) {
    match app.views.gone_servers(LEFTOVERS).await {
        Ok(servers) => {
            for (tenant, server) in servers {
                destroy_launch_values(app, tenant, server).await;
            }
        }
        Err(error) => tracing::warn!(%error, "values of deleted servers were not looked for"),
    }
}

async fn sweep(app: &App) {
    let now = app.now();
    let mut bodies = 0;
    for _ in 0..GOES {
        match app.store.delete_bodies(None, now, BATCH).await {
            Ok(deleted) => bodies += deleted,
            Err(error) => {
                tracing::warn!(%error, "expired bodies were not deleted");
                break;
            }
        }
        if bodies % BATCH as u64 != 0 || bodies == 0 {
            break;
        }
    }
    if bodies > 0 {
        tracing::info!(bodies, "deleted bodies of calls after their retention");
    }
    if let Err(error) = app.store.forget_keys(now, BATCH).await {
        tracing::warn!(%error, "expired idempotency keys were not forgotten");
    }
}
