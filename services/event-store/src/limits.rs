//! What one append and one page may hold, and the check of it.

use std::collections::HashSet;

use crate::append::{Append, NewEvent, ReservationChange};
use crate::error::AppendError;

/// Most events in one append.
pub const MAX_EVENTS_PER_APPEND: usize = 256;
/// Most reservation changes in one append.
pub const MAX_RESERVATIONS_PER_APPEND: usize = 64;
/// Most bytes of one event's payload.
pub const MAX_PAYLOAD_BYTES: usize = 256 * 1024;
/// Most bytes of one event's body.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Most bytes of payloads and bodies in one append.
pub const MAX_APPEND_BYTES: usize = 16 * 1024 * 1024;
/// Most bytes of any id, name or key: stream and actor ids, event types, idempotency keys,
/// correlation ids, names of sets, reserved values and their holders.
pub const MAX_ID_BYTES: usize = 512;
/// Most events a read returns, whatever limit it was given.
pub const MAX_PAGE_EVENTS: usize = 1_000;
/// A read stops after the event that exceeds this many bytes of payload.
pub const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Refuses an append that no adapter would store.
pub(crate) fn check(append: &Append) -> Result<(), AppendError> {
    if append.events.is_empty() {
        return Err(AppendError::Invalid { what: "an append holds at least one event" });
    }
    at_most("events per append", append.events.len(), MAX_EVENTS_PER_APPEND)?;
    at_most("reservations per append", append.reservations.len(), MAX_RESERVATIONS_PER_APPEND)?;
    id("stream id", &append.stream.id)?;
    if let Some(fence) = &append.fence {
        id("lease of a fence", &fence.lease)?;
    }
    if let Some(idempotency) = &append.idempotency {
        id("idempotency key", &idempotency.key)?;
    }
    for event in &append.events {
        check_event(event)?;
    }
    for change in &append.reservations {
        check_reservation(append, change)?;
    }
    at_most("bytes per append", append.weight(), MAX_APPEND_BYTES)?;
    let distinct: HashSet<_> = append.events.iter().map(|event| event.id).collect();
    if distinct.len() != append.events.len() {
        return Err(AppendError::Invalid { what: "event ids of one append differ" });
    }
    Ok(())
}

fn check_event(event: &NewEvent) -> Result<(), AppendError> {
    id("event type", &event.event_type)?;
    id("actor type", &event.actor_type)?;
    text_id("actor id bytes", &event.actor_id)?;
    if let Some(correlation) = &event.correlation_id {
        id("correlation id", correlation)?;
    }
    at_most("payload bytes", event.payload.len(), MAX_PAYLOAD_BYTES)?;
    let body_bytes = event.body.as_ref().map_or(0, |body| body.bytes.len());
    at_most("body bytes", body_bytes, MAX_BODY_BYTES)
}

fn check_reservation(append: &Append, change: &ReservationChange) -> Result<(), AppendError> {
    let (ReservationChange::Take { set, value, holder }
    | ReservationChange::Release { set, value, holder }) = change;
    id("reservation set", set.name())?;
    id("reserved value", value)?;
    id("reservation holder", holder)?;
    if set.tenant().is_some_and(|tenant| tenant != append.stream.tenant) {
        return Err(AppendError::Invalid { what: "a reservation belongs to the stream's tenant" });
    }
    Ok(())
}

fn id(what: &'static str, text: &str) -> Result<(), AppendError> {
    if text.is_empty() {
        return Err(AppendError::Invalid { what: "ids, names and keys are not empty" });
    }
    text_id(what, text)
}

/// As [`id`], where nothing is a name, too.
fn text_id(what: &'static str, text: &str) -> Result<(), AppendError> {
    if text.contains('\0') {
        // Not every database can hold it in a text.
        return Err(AppendError::Invalid { what: "ids, names and keys hold no zero byte" });
    }
    at_most(what, text.len(), MAX_ID_BYTES)
}

fn at_most(what: &'static str, actual: usize, limit: usize) -> Result<(), AppendError> {
    if actual > limit { Err(AppendError::TooLarge { what, actual, limit }) } else { Ok(()) }
}
