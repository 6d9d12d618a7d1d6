//! Records of what was refused to somebody with a valid credential.
//!
//! A caller who hammers does not fill the log: at most [`PER_WINDOW`] denials of one actor are
//! recorded in a window of ten seconds; the others are only counted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use domain::event::AccessEvent;
use domain::{Actor, Event, ProjectId, Refusal, StreamId, StreamKind, Timestamp};

use crate::app::App;
use crate::context::Ctx;
use crate::shell;

/// Recorded denials of one actor in one window.
pub const PER_WINDOW: u32 = 50;
const WINDOW_US: i64 = 10_000_000;
const MAX_ACTORS: usize = 10_000;

/// Remembers who was denied how often in the current window.
#[derive(Debug, Default)]
pub struct DenialLimiter {
    windows: Mutex<HashMap<Actor, (i64, u32)>>,
}

impl DenialLimiter {
    /// Whether one more denial of `actor` is recorded at `now`.
    pub fn admits(&self, actor: Actor, now: Timestamp) -> bool {
        let window = now.as_micros().div_euclid(WINDOW_US);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= MAX_ACTORS {
            windows.retain(|_, (of, _)| *of == window);
        }
        if windows.len() >= MAX_ACTORS && !windows.contains_key(&actor) {
            return false;
        }
        let entry = windows.entry(actor).or_insert((window, 0));
        if entry.0 != window {
            *entry = (window, 0);
        }
        entry.1 += 1;
        entry.1 <= PER_WINDOW
    }
}

/// Records that `action` on `target` was refused. `project` only if the caller's tenant has it.
/// A record that cannot be written is logged: the refusal stands either way.
pub async fn record(
    app: &App,
    ctx: &Ctx,
    project: Option<&ProjectId>,
    action: &str,
    refusal: &Refusal,
    target: &str,
) {
    let reason = refusal.code.reason();
    metrics::counter!("mcp_orch_denials_total", "reason" => reason).increment(1);
    if !app.denials.admits(ctx.actor(), ctx.now) {
        return;
    }
    let stream = project.map_or("-", ProjectId::as_str);
    let event = Event::Access(AccessEvent::Denied {
        project: project.cloned(),
        action: action.to_owned(),
        reason: reason.to_owned(),
        target: target.chars().take(200).collect(),
    });
    let stream = StreamId::new(ctx.tenant, StreamKind::Access, stream);
    if let Err(error) = shell::note(app, ctx, stream, &event).await {
        tracing::warn!(%error, "a denial was not recorded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_denials_is_cut_and_the_next_window_starts_anew() {
        let limiter = DenialLimiter::default();
        let at = Timestamp::from_micros;
        let admitted = (0..100).filter(|_| limiter.admits(Actor::System, at(5))).count();
        assert_eq!(admitted, PER_WINDOW as usize);
        assert!(limiter.admits(Actor::System, at(WINDOW_US)));
    }
}
