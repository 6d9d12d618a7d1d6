//! What a link says: gathered when its turn comes, so that several things travel together.

use std::sync::atomic::Ordering;

use super::{Link, Ready, Role, State};
use crate::nats::message::{CHUNK_BYTES, Farewell, Message, Part};
use crate::pipe::{End, WINDOW_BYTES};

impl Link {
    /// It is this link's turn to send: what changes from now on makes another turn.
    pub(in crate::nats) fn begin_turn(&self) {
        self.is_scheduled.store(false, Ordering::Release);
    }

    /// The client has waited long enough for a word.
    pub(in crate::nats) fn answer_is_due(&self) {
        let mut state = self.state();
        state.answer_due |= !state.is_queued_told;
    }

    /// The next message, if there is something to say. After the last one the link
    /// [is over](Self::is_over).
    pub(in crate::nats) fn next_message(&self) -> Option<Ready> {
        let mut state = self.state();
        if state.is_over {
            return None;
        }
        let subject = state.other.as_ref()?.address.clone();
        let mut message = match state.last_word {
            Some(farewell) => Message { farewell: Some(farewell), ..Message::default() },
            None => self.gather(&mut state)?,
        };
        message.number = state.next_number;
        if self.role == Role::Server {
            message.address = (state.next_number == 0).then(|| self.address.clone());
            message.queued = state.destination.is_none();
            state.is_queued_told |= message.queued;
            state.answer_due = false;
        }
        state.next_number = state.next_number.wrapping_add(1);
        if message.farewell.is_some() {
            state.is_over = true;
            drop(state);
            // Nothing more comes from the other side: whoever waits for its end has it now.
            self.outgoing().leave();
        }
        Some(Ready { subject, payload: message.encode() })
    }

    /// What there is to say, unless it is nothing.
    fn gather(&self, state: &mut State) -> Option<Message> {
        let parts = self.gather_parts(state);
        let (outgoing, incoming) = (self.outgoing(), self.incoming());
        let end = if state.sending.is_none() { outgoing.carried_end() } else { None };
        let farewell = end.map(|end| match end {
            End::Finished => Farewell::Finished,
            End::Broken => Farewell::Broken,
            End::NeverAccepted => Farewell::NeverAccepted,
        });
        let want = outgoing.asks_for_room();
        let owes = incoming.owes() || state.owes_arrival() || state.answer_due;
        if parts.is_empty() && farewell.is_none() && !want && !owes {
            return None;
        }
        let (taken, received) = (incoming.tell_taken(), state.received_bytes);
        state.told_bytes = received;
        Some(Message { taken, received, want, farewell, parts, ..Message::default() })
    }

    fn gather_parts(&self, state: &mut State) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut room = CHUNK_BYTES;
        loop {
            let Some((mut rest, is_large)) = state.sending.take().or_else(|| {
                let frame = if room > 0 { self.outgoing().carry() } else { None };
                frame.map(|frame| (frame.clone(), frame.len() > WINDOW_BYTES))
            }) else {
                return parts;
            };
            let under_way = usize::try_from(state.sent_bytes.saturating_sub(state.arrived_bytes));
            let pace = match is_large {
                true => WINDOW_BYTES.saturating_sub(under_way.unwrap_or(usize::MAX)),
                false => usize::MAX,
            };
            let length = rest.len().min(room).min(pace);
            if length == 0 && !rest.is_empty() {
                state.sending = Some((rest, is_large));
                return parts;
            }
            let bytes = rest.split_to(length);
            room -= length;
            state.sent_bytes += length as u64;
            let goes_on = !rest.is_empty();
            parts.push(Part { bytes, goes_on });
            if goes_on {
                state.sending = Some((rest, is_large));
                return parts;
            }
        }
    }

    /// Nothing is sent or received any more.
    pub(in crate::nats) fn is_over(&self) -> bool {
        self.state().is_over
    }
}
