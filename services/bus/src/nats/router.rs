//! What others send to this process: one subscription, sorted here.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use async_nats::{Message, StatusCode, Subscriber};
use bytes::{Buf, Bytes};
use futures::StreamExt;

use super::core::Core;
use super::message;
use super::{audit, names};

/// Last tokens of the inbox. An exchange's token is its number in hexadecimal.
pub(super) const ROUND_TRIP: &str = "trip";
pub(super) const OWN_BEAT: &str = "own";
pub(super) const BEAT: &str = "beat";
pub(super) const AUDIT: &str = "audit";
pub(super) const UNKNOWN: &str = "unknown";

/// Takes all messages, until the bus is shut down.
pub(super) async fn route(core: Arc<Core>, mut inbox: Subscriber) {
    loop {
        let message = tokio::select! {
            message = inbox.next() => message,
            () = core.silent.cancelled() => None,
        };
        match message {
            Some(message) => receive(&core, message),
            None => return,
        }
    }
}

fn receive(core: &Core, message: Message) {
    if let Some(exchange) = names::exchange_of(&message.subject) {
        return receive_of_exchange(core, exchange, message);
    }
    let payload = message.payload;
    match message.subject.rsplit('.').next().unwrap_or_default() {
        ROUND_TRIP => receive_round_trip(core, payload),
        OWN_BEAT => receive_own_beat(core, payload),
        BEAT => receive_beat(core, payload),
        AUDIT => receive_audit(core, payload),
        UNKNOWN => {
            for exchange in audit::decode_unknown(payload) {
                break_off(core, exchange);
            }
        }
        _ => {}
    }
}

fn receive_of_exchange(core: &Core, exchange: u64, message: Message) {
    // Messages to an exchange that ended meanwhile are nobody's.
    let Some(link) = core.links.get(exchange) else { return };
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        link.refuse();
        core.links.remove(exchange);
        return;
    }
    let is_over = match message::Message::decode(message.payload) {
        Ok(message) => link.receive(message, &core.peers, core.beats()),
        Err(message::Malformed) => link.break_off(),
    };
    if is_over {
        core.links.remove(exchange);
    }
}

fn receive_round_trip(core: &Core, mut payload: Bytes) {
    let Ok(number) = payload.try_get_u64() else { return };
    let mut waiting = core.round_trips.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(waiting) = waiting.remove(&number) {
        let _ = waiting.send(());
    }
}

/// Only the latest one counts: those that waited for a lost connection come all at once.
fn receive_own_beat(core: &Core, mut payload: Bytes) {
    let under_way = core.beat_under_way.load(Ordering::Relaxed);
    if payload.try_get_u64() == Ok(under_way) {
        core.beats.fetch_add(1, Ordering::Relaxed);
    }
}

fn receive_beat(core: &Core, payload: Bytes) {
    let Some((losses, inbox)) = audit::decode_beat(payload) else { return };
    if let Some(peer) = core.peers.known(&inbox) {
        peer.heard(core.beats());
        if peer.may_have_missed(losses) {
            core.outbox.push_audit(Some(peer));
        }
    }
}

fn receive_audit(core: &Core, payload: Bytes) {
    let Some((inbox, entries)) = audit::decode(payload) else { return };
    let mut unknown = Vec::new();
    for entry in entries {
        match core.links.get(entry.receiver) {
            None => unknown.push(entry.sender),
            Some(link) => {
                if link.compare(entry.sent) {
                    core.links.remove(entry.receiver);
                }
            }
        }
    }
    if !unknown.is_empty() {
        let payload = audit::encode_unknown(&unknown);
        core.outbox.push_message(format!("{inbox}.{UNKNOWN}"), payload);
    }
}

fn break_off(core: &Core, exchange: u64) {
    if let Some(link) = core.links.get(exchange)
        && link.break_off()
    {
        core.links.remove(exchange);
    }
}
