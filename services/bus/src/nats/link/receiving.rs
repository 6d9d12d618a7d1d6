//! What a link hears.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::error::TrySendError;

use super::{Destination, Link, Opening, OtherSide, Role, State};
use crate::nats::message::{Farewell, Message, Part};
use crate::nats::peers::Peers;
use crate::pipe::{End, MAX_FRAME_BYTES, Wire};
use crate::{BusError, Incoming, ServerSide};

impl Link {
    /// Takes a message of the other side. `true` when the link is over.
    pub(in crate::nats) fn receive(&self, message: Message, peers: &Peers, beats: u64) -> bool {
        let mut state = self.state();
        if state.is_over || state.last_word.is_some() {
            return state.is_over;
        }
        if message.number != state.expected_number {
            return self.break_here(&mut state);
        }
        state.expected_number = state.expected_number.wrapping_add(1);
        if let (None, Some(address)) = (&state.other, &message.address) {
            state.other = OtherSide::at(peers, address, beats);
        }
        if let Some(other) = &state.other {
            other.process.heard(beats);
        }
        state.arrived_bytes = state.arrived_bytes.max(message.received);
        if !self.outgoing().acknowledge(message.taken) {
            return self.break_here(&mut state);
        }
        let is_answer = message.queued || !message.parts.is_empty();
        for part in message.parts {
            if !self.receive_part(&mut state, part) {
                return self.break_here(&mut state);
            }
        }
        if message.want {
            self.incoming().want();
        }
        if let Some(farewell) = message.farewell {
            self.receive_farewell(&mut state, farewell);
            return true;
        }
        if is_answer {
            self.set_opening(&mut state, Opening::Opened);
        }
        drop(state);
        // What arrived may have made room, or is to be acknowledged.
        self.changed();
        false
    }

    /// `false` if the other side does not keep to the limits.
    fn receive_part(&self, state: &mut State, part: Part) -> bool {
        state.received_bytes += part.bytes.len() as u64;
        let begun = state.receiving.as_ref().map_or(0, BytesMut::len);
        if begun + part.bytes.len() > MAX_FRAME_BYTES {
            return false;
        }
        let frame = match (state.receiving.take(), part.goes_on) {
            (None, false) => part.bytes,
            (begun, goes_on) => {
                let mut begun = begun.unwrap_or_default();
                begun.extend_from_slice(&part.bytes);
                if goes_on {
                    state.receiving = Some(begun);
                    // The rest of a request comes once the client knows where to.
                    state.answer_due |= state.destination.is_some() && state.next_number == 0;
                    return true;
                }
                begun.freeze()
            }
        };
        match state.destination.take() {
            None => self.incoming().deliver(frame),
            Some(destination) => {
                self.hand_over(state, destination, frame);
                true
            }
        }
    }

    fn hand_over(&self, state: &mut State, destination: Destination, first: Bytes) {
        let exchange = ServerSide::over(Arc::clone(&self.pipes));
        let incoming = Incoming { subject: destination.subject, first, exchange };
        match destination.queue.try_send(incoming) {
            Ok(()) => {
                if let Some(this) = self.this.upgrade() {
                    self.outbox.push_link_later(&this);
                }
            }
            Err(TrySendError::Full(_)) => state.last_word = Some(Farewell::Busy),
            Err(TrySendError::Closed(_)) => state.last_word = Some(Farewell::NeverAccepted),
        }
    }

    fn receive_farewell(&self, state: &mut State, farewell: Farewell) {
        state.is_over = true;
        match (self.role, farewell) {
            (Role::Server, _) => self.client_left(),
            (Role::Client, Farewell::Finished) => self.server_left(End::Finished),
            (Role::Client, Farewell::Broken) => self.server_left(End::Broken),
            (Role::Client, Farewell::NeverAccepted) => {
                self.server_left(End::NeverAccepted);
                self.set_opening(state, Opening::Refused(BusError::NoResponders));
            }
            (Role::Client, Farewell::Busy) => {
                self.server_left(End::NeverAccepted);
                let limit = "the queue of the server is full";
                self.set_opening(state, Opening::Refused(BusError::Busy { limit }));
            }
        }
        self.set_opening(state, Opening::Opened);
    }

    // In both the end comes last: who reads it finds that nothing can be written any more.

    pub(super) fn client_left(&self) {
        self.pipes.to_client.leave();
        self.pipes.to_server.end(End::Finished);
    }

    pub(super) fn server_left(&self, end: End) {
        self.pipes.to_server.leave();
        self.pipes.to_client.end(end);
    }

    /// Nobody serves the subject of the request: the bus itself says so.
    pub(in crate::nats) fn refuse(&self) {
        let mut state = self.state();
        if state.opening == Opening::Waiting {
            state.is_over = true;
            self.server_left(End::NeverAccepted);
            self.set_opening(&mut state, Opening::Refused(BusError::NoResponders));
        }
    }
}
