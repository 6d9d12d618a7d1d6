//! The background of one store: renews in time, and looks whether Vault is back.

use std::sync::{Arc, Weak};

use ring::rand::{SecureRandom as _, SystemRandom};

use super::sessions::Sessions;

/// Runs until the store is dropped. Holds no part of it while it waits.
pub(super) async fn keep(sessions: Weak<Sessions>) {
    let random = SystemRandom::new();
    let Some(mut replanned) = sessions.upgrade().map(|sessions| sessions.replanned()) else {
        return;
    };
    let mut failures = 0;
    loop {
        let Some((task, wait)) = plan(&sessions, failures, &random).await else {
            return;
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = replanned.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        let Some(sessions) = sessions.upgrade() else {
            return;
        };
        failures = match sessions.act(task).await {
            Ok(()) => 0,
            Err(failure) => {
                tracing::debug!(?failure, ?task, "vault was asked in vain");
                failures.saturating_add(1)
            }
        };
        // What this round itself changed is known to it.
        replanned.mark_unchanged();
    }
}

async fn plan(
    sessions: &Weak<Sessions>,
    failures: u32,
    random: &SystemRandom,
) -> Option<(super::sessions::Task, std::time::Duration)> {
    let sessions: Arc<Sessions> = sessions.upgrade()?;
    Some(sessions.plan(failures, chance(random)).await)
}

/// A number from 0 to 1. Without randomness all renew at the same time, which still works.
fn chance(random: &SystemRandom) -> f64 {
    let mut bytes = [0; 4];
    match random.fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
