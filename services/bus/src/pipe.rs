//! One direction of an exchange: a queue of frames with a window, written by one side and read
//! by the other.
//!
//! The window is the credit of the writer: at most [`WINDOW_FRAMES`] frames and
//! [`WINDOW_BYTES`] bytes wait unread. A frame larger than the window waits until the queue is
//! empty and then passes alone, so memory per direction is at most one frame above the window.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    end: Option<End>,
    reader_gone: bool,
}

impl State {
    fn has_room(&self, size_bytes: usize) -> bool {
        self.frames.is_empty()
            || (self.frames.len() < WINDOW_FRAMES && self.bytes + size_bytes <= WINDOW_BYTES)
    }
}

/// See the module. All methods may be called from several tasks at once.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    state: Mutex<State>,
    readable: Notify,
    writable: Notify,
    reader_left: Notify,
}

enum Written {
    Yes,
    NoRoom(Bytes),
}

impl Pipe {
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
            return Ok(Written::NoRoom(frame));
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        drop(state);
        self.readable.notify_one();
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
            drop(state);
            self.writable.notify_one();
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
