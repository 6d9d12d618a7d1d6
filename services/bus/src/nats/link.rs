//! One side of an exchange with another process: the wire between its pipes and the messages.
//!
//! What always holds: messages of a direction are numbered, and a number that is not the next one
//! breaks the exchange, so a frame is delivered at most once and in order; a frame never leaves
//! before the window of its reader has room for it, and at most [`WINDOW_BYTES`] of a larger one
//! are under way; nothing here waits.
//!
//! Locks are taken in this order: the link's, a pipe's, the outbox's.

mod receiving;
mod sending;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, mpsc};

use super::audit::Progress;
use super::message::{CHUNK_BYTES, Farewell, Message, Part};
use super::names;
use super::outbox::Outbox;
use super::peers::{Peer, Peers};
use crate::exchange::Pipes;
use crate::pipe::{End, Pipe, WINDOW_BYTES, Wire};
use crate::{BusError, ClientSide, Incoming, Subject};

/// Where a complete request goes.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) subject: Subject,
    pub(super) queue: mpsc::Sender<Incoming>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

/// What became of a request, as its client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Opening {
    Waiting,
    Opened,
    Refused(BusError),
}

#[derive(Debug, Clone)]
struct OtherSide {
    process: Arc<Peer>,
    address: String,
    exchange: u64,
}

#[derive(Debug)]
struct State {
    other: Option<OtherSide>,
    opening: Opening,
    /// A server's: the request is not complete yet.
    destination: Option<Destination>,
    /// A server's: the client is to hear something, and whether it knows that its request waits.
    answer_due: bool,
    is_queued_told: bool,
    next_number: u32,
    expected_number: u32,
    /// The rest of the frame that is being sent, and whether it is above the window.
    sending: Option<(Bytes, bool)>,
    sent_bytes: u64,
    /// Of `sent_bytes`, as far as the other side said.
    arrived_bytes: u64,
    receiving: Option<BytesMut>,
    received_bytes: u64,
    told_bytes: u64,
    /// The exchange broke here; the other side is to be told, and nothing else counts.
    last_word: Option<Farewell>,
    is_over: bool,
    /// In beats of this process.
    opened_at: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    this: Weak<Self>,
    id: u64,
    role: Role,
    address: String,
    pipes: Arc<Pipes>,
    outbox: Arc<Outbox>,
    is_scheduled: AtomicBool,
    state: Mutex<State>,
    opened: Notify,
}

/// A message that is ready to be sent.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) subject: String,
    pub(super) payload: Bytes,
}

impl Wire for Link {
    fn changed(&self) {
        if !self.is_scheduled.swap(true, Ordering::AcqRel)
            && let Some(this) = self.this.upgrade()
        {
            self.outbox.push_link(this);
        }
    }
}

impl Link {
    fn new(outbox: &Arc<Outbox>, inbox: &str, id: u64, role: Role, state: State) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| {
            let wire: Weak<dyn Wire> = Weak::<Self>::clone(this);
            Self {
                this: Weak::clone(this),
                id,
                role,
                address: names::address(inbox, id),
                pipes: Pipes::over(&wire),
                outbox: Arc::clone(outbox),
                is_scheduled: AtomicBool::new(false),
                state: Mutex::new(state),
                opened: Notify::new(),
            }
        })
    }

    /// The client's side, and what to send as its request.
    pub(super) fn client(
        outbox: &Arc<Outbox>,
        inbox: &str,
        id: u64,
        mut first: Bytes,
        beats: u64,
    ) -> (Arc<Self>, Bytes) {
        let is_large = first.len() > WINDOW_BYTES;
        let bytes = first.split_to(first.len().min(CHUNK_BYTES));
        let mut state = State::new(beats);
        state.next_number = 1;
        state.sent_bytes = bytes.len() as u64;
        state.sending = (!first.is_empty()).then_some((first, is_large));
        let goes_on = state.sending.is_some();
        let request = Message { parts: vec![Part { bytes, goes_on }], ..Message::default() };
        (Self::new(outbox, inbox, id, Role::Client, state), request.encode())
    }

    /// The server's side of a request that came from `address`; `None` if that is none.
    pub(super) fn server(
        outbox: &Arc<Outbox>,
        inbox: &str,
        id: u64,
        (peers, address, beats): (&Peers, &str, u64),
        destination: Destination,
    ) -> Option<Arc<Self>> {
        let mut state = State::new(beats);
        state.other = Some(OtherSide::at(peers, address, beats)?);
        state.opening = Opening::Opened;
        state.destination = Some(destination);
        Some(Self::new(outbox, inbox, id, Role::Server, state))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self) -> &Pipe {
        match self.role {
            Role::Client => &self.pipes.to_server,
            Role::Server => &self.pipes.to_client,
        }
    }

    fn incoming(&self) -> &Pipe {
        match self.role {
            Role::Client => &self.pipes.to_client,
            Role::Server => &self.pipes.to_server,
        }
    }

    /// Names the exchange within this process.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Where the other side answers to.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What the caller of [`Bus::open`](crate::Bus::open) holds.
    pub(super) fn client_side(&self) -> ClientSide {
        ClientSide::over(Arc::clone(&self.pipes))
    }

    /// The process at the other end, once it is known.
    pub(super) fn peer(&self) -> Option<Arc<Peer>> {
        self.state().other.as_ref().map(|other| Arc::clone(&other.process))
    }

    /// When it was opened, in beats, if nobody has answered yet.
    pub(super) fn unanswered_since(&self) -> Option<u64> {
        let state = self.state();
        state.other.is_none().then_some(state.opened_at)
    }

    /// Waits until a server has the request in its queue.
    ///
    /// # Errors
    /// Why none has. Whether one has that is gone since is told by the first read.
    pub(super) async fn opened(&self) -> Result<(), BusError> {
        loop {
            let changed = self.opened.notified();
            match &self.state().opening {
                Opening::Waiting => {}
                Opening::Opened => return Ok(()),
                Opening::Refused(refusal) => return Err(refusal.clone()),
            }
            changed.await;
        }
    }

    fn set_opening(&self, state: &mut State, opening: Opening) {
        if state.opening == Opening::Waiting {
            state.opening = opening;
            self.opened.notify_one();
        }
    }
}

impl State {
    fn new(beats: u64) -> Self {
        Self {
            other: None,
            opening: Opening::Waiting,
            destination: None,
            answer_due: false,
            is_queued_told: false,
            next_number: 0,
            expected_number: 0,
            sending: None,
            sent_bytes: 0,
            arrived_bytes: 0,
            receiving: None,
            received_bytes: 0,
            told_bytes: 0,
            last_word: None,
            is_over: false,
            opened_at: beats,
        }
    }

    /// Whether the sender of a large frame is to be told how much of it arrived.
    fn owes_arrival(&self) -> bool {
        let untold = self.received_bytes - self.told_bytes;
        self.receiving.is_some() && untold >= (WINDOW_BYTES / 2) as u64
    }
}

impl OtherSide {
    fn at(peers: &Peers, address: &str, beats: u64) -> Option<Self> {
        let exchange = names::exchange_of(address)?;
        let process = peers.at(names::inbox_of(address)?, beats);
        Some(Self { process, address: address.to_owned(), exchange })
    }
}

/// Breaking off.
impl Link {
    fn break_here(&self, state: &mut State) -> bool {
        if state.is_over || state.last_word.is_some() {
            return state.is_over;
        }
        state.last_word = Some(match self.role {
            Role::Client => Farewell::Finished,
            Role::Server => Farewell::Broken,
        });
        // Without the other side there is nobody to tell.
        state.is_over = state.other.is_none();
        match self.role {
            Role::Client => self.server_left(End::Broken),
            Role::Server => self.client_left(),
        }
        // It may have been seen: the break is told by the first read.
        self.set_opening(state, Opening::Opened);
        self.changed();
        state.is_over
    }

    /// The other side is gone, or messages were lost. `true` when the link is over.
    pub(super) fn break_off(&self) -> bool {
        self.break_here(&mut self.state())
    }

    /// This process leaves the bus: both sides are told, in order.
    pub(super) fn close(&self) {
        match self.role {
            Role::Server => self.pipes.withdraw(),
            Role::Client => {
                self.server_left(End::Broken);
                self.pipes.to_server.end(End::Finished);
            }
        }
        let mut state = self.state();
        state.is_over |= state.other.is_none();
        self.set_opening(&mut state, Opening::Opened);
    }

    /// How far the exchange is, for its other side to compare.
    pub(super) fn progress(&self) -> Option<(Arc<Peer>, Progress)> {
        let state = self.state();
        if state.is_over || state.last_word.is_some() {
            return None;
        }
        let other = state.other.as_ref()?;
        let progress =
            Progress { receiver: other.exchange, sender: self.id, sent: state.next_number };
        Some((Arc::clone(&other.process), progress))
    }

    /// Compares with how many messages the other side sent. `true` when the link is over.
    pub(super) fn compare(&self, sent: u32) -> bool {
        let mut state = self.state();
        if state.expected_number == sent {
            return state.is_over;
        }
        self.break_here(&mut state)
    }
}

#[cfg(test)]
mod tests;
