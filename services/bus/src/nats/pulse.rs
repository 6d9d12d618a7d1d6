//! What happens with time: beats, silence, repeated announcements, audits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use tokio::time::MissedTickBehavior;

use super::core::Core;
use super::{audit, router};
use crate::Connectivity;

/// Between two beats.
const BEAT_INTERVAL: Duration = Duration::from_millis(500);
/// Whoever was not heard for so many of our beats is gone: within 4 s.
const SILENT_BEATS: u64 = 8;
/// After so long without the server, the exchanges are given up on this side, too.
const MAX_AWAY: Duration = Duration::from_secs(4);
/// In beats: how often own announcements are repeated, and all exchanges compared.
const ANNOUNCE_EVERY: u64 = 2;
const AUDIT_EVERY: u64 = 20;

/// Runs until the bus is shut down.
pub(super) async fn beat(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(BEAT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tick: u64 = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = core.closed.cancelled() => return,
        }
        tick += 1;
        match core.client.connection_state() {
            State::Connected => core.signals.connected(),
            State::Disconnected => core.signals.disconnected(),
            State::Pending => {}
        }
        let connectivity = *core.signals.connectivity.borrow();
        match connectivity {
            Connectivity::Connected => while_connected(&core, tick),
            Connectivity::Disconnected { since } if since.elapsed() >= MAX_AWAY => {
                break_off(&core, |_| true);
            }
            Connectivity::Disconnected { .. } => {}
        }
    }
}

fn while_connected(core: &Core, tick: u64) {
    core.beat_under_way.store(tick, Ordering::Relaxed);
    let own = format!("{}.{}", core.inbox, router::OWN_BEAT);
    core.outbox.push_message(own, tick.to_be_bytes().to_vec().into());

    let beats = core.beats();
    let payload = audit::encode_beat(*core.signals.losses.borrow(), &core.inbox);
    let mut gone = Vec::new();
    for peer in core.peers.needed() {
        if peer.silence(beats) >= SILENT_BEATS {
            tracing::warn!(peer = peer.inbox(), "a process on the bus is silent");
            gone.push(peer);
        } else {
            let subject = format!("{}.{}", peer.inbox(), router::BEAT);
            core.outbox.push_message(subject, payload.clone());
        }
    }
    let is_gone = |link: &super::link::Link| match link.peer() {
        Some(peer) => gone.iter().any(|gone| Arc::ptr_eq(gone, &peer)),
        None => {
            link.unanswered_since().is_some_and(|since| beats.saturating_sub(since) >= SILENT_BEATS)
        }
    };
    break_off(core, is_gone);

    core.roll.expire(beats, SILENT_BEATS);
    if tick.is_multiple_of(ANNOUNCE_EVERY) {
        core.announce_all();
    }
    if tick.is_multiple_of(AUDIT_EVERY) {
        core.outbox.push_audit(None);
    }
}

fn break_off(core: &Core, is_gone: impl Fn(&super::link::Link) -> bool) {
    for link in core.links.all() {
        if is_gone(&link) && link.break_off() {
            core.links.remove(link.id());
        }
    }
}

/// After messages may have been lost: lets everybody compare, and learns anew who is there.
pub(super) async fn recover(core: Arc<Core>) {
    let mut losses = core.signals.losses.subscribe();
    loop {
        tokio::select! {
            changed = losses.changed() => if changed.is_err() { return },
            () = core.closed.cancelled() => return,
        }
        tokio::select! {
            () = core.subscribed_again() => {}
            () = core.closed.cancelled() => return,
        }
        tracing::warn!("messages of the bus may have been lost");
        core.outbox.push_audit(None);
        core.announce_all();
        if core.watching.initialized() {
            core.ask_who_is_there();
        }
        core.restore_trails().await;
    }
}
