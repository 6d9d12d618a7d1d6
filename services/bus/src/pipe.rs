//! One direction of an exchange: a queue of frames with a window, written by one side and read
//! by the other.
//!
//! The window is the credit of the writer: at most [`WINDOW_FRAMES`] frames and
//! [`WINDOW_BYTES`] bytes wait unread. A frame larger than the window waits until the queue is
//! empty and then passes alone, so memory per direction is at most one frame above the window.
//!
//! Between processes each side has a pipe of its own, and a [`Wire`] carries frames from one to
//! the other. The window then spans both: what left the writer's pipe counts until the reader's
//! process says that it was taken.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::BusError;
use crate::error::check_size;

/// Largest frame: 64 MiB.
pub const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;
/// Most unread frames in one direction of an exchange.
pub const WINDOW_FRAMES: usize = 32;
/// Most unread bytes in one direction of an exchange, unless a single frame is larger.
pub const WINDOW_BYTES: usize = 1024 * 1024;

/// How the writer left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It said all it had to say.
    Finished,
    /// It was dropped in the middle.
    Broken,
    /// It was dropped before anybody looked at the request.
    NeverAccepted,
}

/// Carries the frames of a pipe to or from another process.
pub(crate) trait Wire: fmt::Debug + Send + Sync {
    /// The pipe has something to carry: frames, an end, a wish for room, or news of its reader.
    /// Called without any lock of the pipe.
    fn changed(&self);
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    /// Of `frames` and of what is in flight.
    bytes: usize,
    end: Option<End>,
    reader_gone: bool,
    flow: Flow,
}

/// What only a pipe over a wire counts.
#[derive(Debug, Default)]
struct Flow {
    /// Sizes of the frames that the wire took and the reader did not take yet.
    in_flight: VecDeque<usize>,
    /// How many frames the other process said to have taken; wraps.
    acknowledged: u32,
    /// A writer waits for room, and whether the other process was asked for it.
    is_blocked: bool,
    is_asked: bool,
    /// How many frames the reader took, and how many of them the other process knows; they wrap.
    taken: u32,
    told: u32,
    untold_bytes: usize,
    /// The writer waits: tell each frame that is taken.
    is_wanted: bool,
}

impl Flow {
    fn is_due(&self) -> bool {
        let untold = self.taken.wrapping_sub(self.told) as usize;
        let half = untold >= WINDOW_FRAMES / 2 || self.untold_bytes >= WINDOW_BYTES / 2;
        untold > 0 && (half || self.is_wanted)
    }
}

impl State {
    fn has_room(&self, size_bytes: usize) -> bool {
        let frames = self.frames.len() + self.flow.in_flight.len();
        frames == 0 || (frames < WINDOW_FRAMES && self.bytes + size_bytes <= WINDOW_BYTES)
    }
}

/// See the module. All methods may be called from several tasks at once.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    state: Mutex<State>,
    readable: Notify,
    writable: Notify,
    reader_left: Notify,
    wire: Option<Weak<dyn Wire>>,
}

enum Written {
    Yes,
    NoRoom(Bytes),
}

impl Pipe {
    /// A pipe whose other end is in another process.
    pub(crate) fn over(wire: Weak<dyn Wire>) -> Self {
        Self { wire: Some(wire), ..Self::default() }
    }

    fn tell_wire(&self) {
        if let Some(wire) = self.wire.as_ref().and_then(Weak::upgrade) {
            wire.changed();
        }
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame, after waiting for room.
    pub(crate) async fn write(&self, frame: Bytes) -> Result<(), BusError> {
        check_size("a frame", frame.len(), MAX_FRAME_BYTES)?;
        let mut frame = match self.try_write(frame)? {
            Written::Yes => return Ok(()),
            Written::NoRoom(frame) => frame,
        };
        loop {
            // Made before the look, so that a change between the two is not missed.
            let changed = self.writable.notified();
            frame = match self.try_write(frame)? {
                Written::Yes => {
                    // Wake-ups coalesce while nobody waits: pass on what this one left.
                    self.writable.notify_one();
                    return Ok(());
                }
                Written::NoRoom(frame) => frame,
            };
            changed.await;
        }
    }

    fn try_write(&self, frame: Bytes) -> Result<Written, BusError> {
        let mut state = self.state();
        if state.reader_gone || state.end.is_some() {
            return Err(BusError::Closed);
        }
        if !state.has_room(frame.len()) {
            let asks = self.wire.is_some() && !state.flow.is_blocked;
            state.flow.is_blocked = true;
            drop(state);
            if asks {
                self.tell_wire();
            }
            return Ok(Written::NoRoom(frame));
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        drop(state);
        match self.wire {
            Some(_) => self.tell_wire(),
            None => self.readable.notify_one(),
        }
        Ok(Written::Yes)
    }

    /// The next frame; `None` after the writer finished, or the reader left. A writer that left otherwise is
    /// reported once, after its last frame.
    pub(crate) async fn read(&self) -> Option<Result<Bytes, BusError>> {
        if let Some(outcome) = self.try_read() {
            return outcome;
        }
        loop {
            let changed = self.readable.notified();
            if let Some(outcome) = self.try_read() {
                self.readable.notify_one();
                return outcome;
            }
            changed.await;
        }
    }

    fn try_read(&self) -> Option<Option<Result<Bytes, BusError>>> {
        let mut state = self.state();
        if let Some(frame) = state.frames.pop_front() {
            state.bytes -= frame.len();
            let is_due = self.wire.is_some() && {
                state.flow.taken = state.flow.taken.wrapping_add(1);
                state.flow.untold_bytes += frame.len();
                state.flow.is_due()
            };
            drop(state);
            self.writable.notify_one();
            if is_due {
                self.tell_wire();
            }
            return Some(Some(Ok(frame)));
        }
        if state.reader_gone {
            return Some(None);
        }
        match state.end? {
            End::Finished => Some(None),
            End::Broken => {
                state.end = Some(End::Finished);
                Some(Some(Err(BusError::Closed)))
            }
            End::NeverAccepted => {
                state.end = Some(End::Finished);
                Some(Some(Err(BusError::NoResponders)))
            }
        }
    }

    /// The writer leaves; only the first call counts.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.state();
        if state.end.is_none() {
            state.end = Some(end);
        }
        drop(state);
        self.readable.notify_waiters();
        self.readable.notify_one();
        self.writable.notify_waiters();
        self.tell_wire();
    }

    /// The reader leaves: what is unread is gone, and writers are told.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.reader_gone = true;
        state.bytes = 0;
        let unread = std::mem::take(&mut state.frames);
        drop(state);
        drop(unread);
        self.readable.notify_waiters();
        self.writable.notify_waiters();
        self.reader_left.notify_waiters();
        self.tell_wire();
    }

    pub(crate) fn has_reader(&self) -> bool {
        !self.state().reader_gone
    }

    /// Waits until the reader leaves.
    pub(crate) async fn reader_left(&self) {
        let left = self.reader_left.notified();
        if self.has_reader() {
            left.await;
        }
    }
}

/// What a [`Wire`] asks of the pipe that a writer of its own process fills.
impl Pipe {
    /// The next frame to carry. It keeps its place in the window.
    pub(crate) fn carry(&self) -> Option<Bytes> {
        let mut state = self.state();
        let frame = state.frames.pop_front()?;
        state.flow.in_flight.push_back(frame.len());
        Some(frame)
    }

    /// How the writer left, once there is nothing more to carry.
    pub(crate) fn carried_end(&self) -> Option<End> {
        let state = self.state();
        state.end.filter(|_| state.frames.is_empty())
    }

    /// Whether the other process is to be asked for room; says so once.
    pub(crate) fn asks_for_room(&self) -> bool {
        let mut state = self.state();
        state.flow.is_blocked && !std::mem::replace(&mut state.flow.is_asked, true)
    }

    /// The other process' reader took so many frames in all; the number wraps. `false` if these
    /// are more than were carried.
    pub(crate) fn acknowledge(&self, taken: u32) -> bool {
        let mut state = self.state();
        let news = taken.wrapping_sub(state.flow.acknowledged) as usize;
        if news == 0 {
            return true;
        }
        if news > state.flow.in_flight.len() {
            return false;
        }
        let size_bytes: usize = state.flow.in_flight.drain(..news).sum();
        // A reader that left has cleared the count already.
        state.bytes = state.bytes.saturating_sub(size_bytes);
        state.flow.acknowledged = taken;
        state.flow.is_blocked = false;
        state.flow.is_asked = false;
        drop(state);
        self.writable.notify_one();
        true
    }
}

/// What a [`Wire`] asks of the pipe that a reader of its own process empties.
impl Pipe {
    /// A frame arrived. `false` if it is above the window, which the writer had to keep.
    pub(crate) fn deliver(&self, frame: Bytes) -> bool {
        let mut state = self.state();
        if state.reader_gone {
            return true;
        }
        if !state.has_room(frame.len()) {
            return false;
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        drop(state);
        self.readable.notify_one();
        true
    }

    /// The writer waits for room.
    pub(crate) fn want(&self) {
        self.state().flow.is_wanted = true;
    }

    /// Whether the other process is to be told what was taken.
    pub(crate) fn owes(&self) -> bool {
        self.state().flow.is_due()
    }

    /// How many frames the reader took in all, to be told now; the number wraps.
    pub(crate) fn tell_taken(&self) -> u32 {
        let mut state = self.state();
        let flow = &mut state.flow;
        if flow.told != flow.taken {
            flow.is_wanted = false;
        }
        flow.told = flow.taken;
        flow.untold_bytes = 0;
        flow.taken
    }
}
