//! A call that outlives its edge: its frames are numbered and kept, and another edge may take it
//! over.
//!
//! What always holds: at most one edge has the call; frames reach it in the order of their
//! numbers; what is kept has a limit, and the last frame is the last to go; a call that was
//! cancelled, or that nobody wanted for its time, is not to be had any more.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backplane::exchange::{Answering, FollowUp, Frame};
use bus::BusError;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::lines::Room;
use super::outlet::Left;
use crate::meters;

/// Most frames that are kept of a call.
const MAX_FRAMES: usize = 256;
/// Most bytes of them; the last frame is kept whatever its size.
const MAX_BYTES: usize = 1024 * 1024;
/// For so long the edge of a finished call may take until it lets go of it.
const MAX_LINGER: Duration = Duration::from_secs(600);

/// See the module.
pub(super) struct Line {
    /// How long it goes on without an edge.
    orphan: Duration,
    state: Mutex<State>,
    /// One at a time writes to the edge.
    turn: tokio::sync::Mutex<()>,
    /// The holder is another one.
    changed: Notify,
}

struct State {
    holder: Holder,
    /// Whether another edge may have it.
    is_adoptable: bool,
    is_finished: bool,
    last_number: u64,
    kept: VecDeque<(u64, Bytes)>,
    kept_bytes: usize,
    /// Questions without an answer, by their ids.
    questions: BTreeMap<String, (u64, Bytes)>,
    room: Room,
}

/// Who has the call.
#[derive(Clone)]
enum Holder {
    Edge(Arc<Answering>),
    /// The edge left.
    Nobody {
        since: Instant,
    },
    /// Another edge is being told what it missed.
    Adopting,
    /// It is not to be had any more.
    Over,
}

/// Why a call is not adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAdopted {
    /// It belongs to a living edge, or is not to be had any more: whoever asks is to be told.
    Refused,
    /// Whoever asked left.
    Left,
}

impl Line {
    /// The call of `edge`, which goes on for `orphan` without one.
    pub(super) fn new(edge: Answering, orphan: Duration, room: Room) -> Self {
        Self {
            orphan,
            state: Mutex::new(State {
                holder: Holder::Edge(Arc::new(edge)),
                is_adoptable: true,
                is_finished: false,
                last_number: 0,
                kept: VecDeque::new(),
                kept_bytes: 0,
                questions: BTreeMap::new(),
                room,
            }),
            turn: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something to the edge that has the call, or keeps it for the next one.
    ///
    /// # Errors
    /// [`Left`]: there will be none.
    pub(super) async fn tell(&self, frame: Frame) -> Result<(), Left> {
        let _turn = self.turn.lock().await;
        let (frame, holder) = self.state().note(frame);
        match holder {
            Holder::Over => Err(Left),
            Holder::Nobody { .. } | Holder::Adopting => Ok(()),
            Holder::Edge(edge) => match edge.send(frame).await {
                Ok(()) => Ok(()),
                Err(BusError::TooLarge { .. }) => Err(Left),
                Err(_) if self.left(&edge) => Ok(()),
                Err(_) => Err(Left),
            },
        }
    }

    /// What is said next; `None` when nobody wants the call any more. Cancel-safe.
    pub(super) async fn next_follow_up(&self) -> Option<FollowUp> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the look: `notify_waiters` wakes only who waits.
            changed.as_mut().enable();
            let holder = self.state().holder.clone();
            match holder {
                Holder::Over => return None,
                Holder::Adopting => changed.await,
                Holder::Nobody { since } => tokio::select! {
                    () = changed => {}
                    () = sleep_until(since + self.orphan) => self.abandon(),
                },
                Holder::Edge(edge) => match edge.next_follow_up().await {
                    None => {
                        self.left(&edge);
                    }
                    Some(said) => {
                        self.take(&said);
                        return Some(said);
                    }
                },
            }
        }
    }

    fn take(&self, said: &FollowUp) {
        match said {
            FollowUp::Answer { id, .. } => self.settled(id),
            // Whatever becomes of it, nobody else is to go on with it.
            FollowUp::Cancel(_) => self.state().is_adoptable = false,
            FollowUp::Notification(_) | FollowUp::Interest(_) => {}
        }
    }

    /// Whether the last frame was said.
    pub(super) fn is_finished(&self) -> bool {
        self.state().is_finished
    }

    /// A question needs no answer any more.
    pub(super) fn settled(&self, question: &str) {
        let mut state = self.state();
        if let Some((_, frame)) = state.questions.remove(question) {
            state.room.give_back(frame.len());
        }
    }

    /// The edge is gone; whether there may be another one.
    fn left(&self, edge: &Arc<Answering>) -> bool {
        let mut state = self.state();
        if matches!(&state.holder, Holder::Edge(holder) if Arc::ptr_eq(holder, edge)) {
            if state.is_adoptable {
                meters::orphaned();
                state.holder = Holder::Nobody { since: Instant::now() };
            } else {
                state.holder = Holder::Over;
            }
            self.changed.notify_waiters();
        }
        !matches!(state.holder, Holder::Over)
    }

    /// Nobody wanted it for too long.
    fn abandon(&self) {
        let mut state = self.state();
        if matches!(state.holder, Holder::Nobody { since } if since.elapsed() >= self.orphan) {
            state.holder = Holder::Over;
            self.changed.notify_waiters();
        }
    }

    /// It is not to be had any more.
    pub(super) fn close(&self) {
        let before = std::mem::replace(&mut self.state().holder, Holder::Over);
        if let Holder::Edge(edge) = before {
            edge.end();
        }
        self.changed.notify_waiters();
    }

    /// Waits until the edge has the last frame, or nobody wanted it for its time.
    pub(super) async fn linger(&self) {
        let taken = async {
            while let Some(said) = self.next_follow_up().await {
                if matches!(said, FollowUp::Cancel(_)) {
                    return;
                }
            }
        };
        // One that never lets go of it is treated as if it had.
        let _ = timeout(MAX_LINGER, taken).await;
    }

    /// Gives the call to another edge, which knows the frames up to number `after`, once the one
    /// that has it is gone: for that it waits as long as `patience`.
    ///
    /// # Errors
    /// [`NotAdopted`], and the edge.
    pub(super) async fn adopt(
        &self,
        edge: Answering,
        after: u64,
        patience: Duration,
    ) -> Result<(), (NotAdopted, Answering)> {
        let vacant = tokio::select! {
            vacant = timeout(patience, self.claim()) => vacant,
            () = edge.closed() => return Err((NotAdopted::Left, edge)),
        };
        let Ok(Some(since)) = vacant else { return Err((NotAdopted::Refused, edge)) };
        let claimed = Claimed { line: self, since };
        let _turn = self.turn.lock().await;
        let missed = self.state().missed(after);
        for frame in missed {
            if edge.send(frame).await.is_err() {
                return Err((NotAdopted::Left, edge));
            }
        }
        claimed.hand_over(edge);
        meters::adopted();
        Ok(())
    }

    /// Waits until no edge has the call, and takes it; `None` if it is not to be had. Cancel-safe.
    async fn claim(&self) -> Option<Instant> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let holder = {
                let mut state = self.state();
                if !state.is_adoptable {
                    return None;
                }
                if let Holder::Nobody { since } = state.holder {
                    state.holder = Holder::Adopting;
                    return Some(since);
                }
                state.holder.clone()
            };
            match holder {
                Holder::Over => return None,
                Holder::Nobody { .. } | Holder::Adopting => changed.await,
                Holder::Edge(edge) => tokio::select! {
                    () = changed => {}
                    () = edge.closed() => {
                        self.left(&edge);
                    }
                },
            }
        }
    }
}

/// A call that is being handed over; dropping it gives it back to nobody.
struct Claimed<'a> {
    line: &'a Line,
    since: Instant,
}

impl Claimed<'_> {
    fn hand_over(self, edge: Answering) {
        let mut state = self.line.state();
        if matches!(state.holder, Holder::Adopting) {
            state.holder = Holder::Edge(Arc::new(edge));
        }
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        let mut state = self.line.state();
        if matches!(state.holder, Holder::Adopting) {
            state.holder = Holder::Nobody { since: self.since };
        }
        drop(state);
        self.line.changed.notify_waiters();
    }
}

impl State {
    /// Numbers a frame and keeps it; says who is to have it.
    fn note(&mut self, frame: Frame) -> (Bytes, Holder) {
        self.last_number += 1;
        let number = self.last_number;
        self.is_finished |= matches!(frame, Frame::Finished(_));
        let question = match &frame {
            Frame::Request(request) => Some(request.id.clone()),
            _ => None,
        };
        let frame = frame.encode(number);
        if self.is_adoptable {
            self.keep(number, &frame);
            if let Some(id) = question.filter(|_| self.room.take(frame.len())) {
                self.questions.insert(id, (number, frame.clone()));
            }
        }
        (frame, self.holder.clone())
    }

    fn keep(&mut self, number: u64, frame: &Bytes) {
        let over = |state: &Self| {
            state.kept.len() >= MAX_FRAMES || state.kept_bytes + frame.len() > MAX_BYTES
        };
        while over(self) && self.drop_oldest() {}
        let mut has_room = self.room.take(frame.len());
        while !has_room && self.drop_oldest() {
            has_room = self.room.take(frame.len());
        }
        if has_room {
            self.kept.push_back((number, frame.clone()));
            self.kept_bytes += frame.len();
        } else {
            // Without its last frame it is of no use to anybody.
            self.is_adoptable = false;
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, frame)) = self.kept.pop_front() else { return false };
        self.kept_bytes -= frame.len();
        self.room.give_back(frame.len());
        true
    }

    /// What an edge does not know that knows the frames up to `after`: those that are kept, the
    /// questions that wait for an answer, and the last frame in any case.
    fn missed(&self, after: u64) -> Vec<Bytes> {
        let last = self.last_number;
        let is_last = |number: u64| self.is_finished && number == last;
        let kept = self.kept.iter().filter(|(number, _)| *number > after || is_last(*number));
        let mut missed: BTreeMap<u64, Bytes> = kept.cloned().collect();
        missed.extend(self.questions.values().cloned());
        missed.into_values().collect()
    }
}
