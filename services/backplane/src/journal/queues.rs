//! The two bounded queues of a journal: callers that wait, and entries that nobody waits for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::TenantId;
use proto::internal::v1;
use tokio::sync::{Notify, oneshot};

use super::reach::Reach;
use super::weight::{Load, Usage};
use super::{Full, JournalConfig, JournalError, JournalOutcome};

pub(super) type Answer = Result<Vec<JournalOutcome>, JournalError>;

/// A caller's entries.
pub(super) struct Waiting {
    pub(super) entries: Vec<v1::JournalEntry>,
    pub(super) load: Load,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// See the module.
pub(super) struct Queues {
    config: JournalConfig,
    reach: Reach,
    state: Mutex<State>,
    /// A caller waits.
    waiting_came: Notify,
    /// An entry was buffered, or the queue stopped.
    buffered_came: Notify,
    /// The buffer became empty with nothing under way.
    settled: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    buffered: VecDeque<(v1::JournalEntry, Load)>,
    /// Entries taken off `buffered` that are not recorded yet.
    shipping: usize,
    /// How many ask for everything buffered to go at once.
    flushing: usize,
    usage: Usage,
    stopped: bool,
}

impl Queues {
    pub(super) fn new(config: JournalConfig) -> Self {
        Self {
            config,
            reach: Reach::default(),
            state: Mutex::default(),
            waiting_came: Notify::new(),
            buffered_came: Notify::new(),
            settled: Notify::new(),
        }
    }

    pub(super) const fn config(&self) -> &JournalConfig {
        &self.config
    }

    pub(super) const fn reach(&self) -> &Reach {
        &self.reach
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait(&self, waiting: Waiting) -> Result<(), JournalError> {
        let mut state = self.state();
        if state.stopped {
            return Err(JournalError::Stopped);
        }
        state.usage.take(&waiting.load, &self.config)?;
        state.waiting.push_back(waiting);
        drop(state);
        self.waiting_came.notify_one();
        Ok(())
    }

    pub(super) fn buffer(&self, entry: v1::JournalEntry, load: Load) -> Result<(), Full> {
        let mut state = self.state();
        if state.stopped {
            return Err(Full);
        }
        state.usage.take(&load, &self.config)?;
        state.buffered.push_back((entry, load));
        let wake = state.buffered.len() == 1 || state.buffered.len() == self.config.batch_entries;
        drop(state);
        if wake {
            self.buffered_came.notify_one();
        }
        Ok(())
    }

    pub(super) fn has_room(&self, tenant: TenantId) -> bool {
        let state = self.state();
        !state.stopped && state.usage.has_room(tenant, &self.config)
    }

    /// The callers that share the next request; waits for the first one.
    pub(super) async fn next_waiting(&self) -> Vec<Waiting> {
        loop {
            let came = self.waiting_came.notified();
            let batch = self.take_waiting();
            if !batch.is_empty() {
                return batch;
            }
            came.await;
        }
    }

    fn take_waiting(&self) -> Vec<Waiting> {
        let mut state = self.state();
        let (mut batch, mut entries, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = state.waiting.front() {
            entries += next.entries.len();
            bytes += next.load.bytes();
            let full = entries > self.config.batch_entries || bytes > self.config.batch_bytes;
            if full && !batch.is_empty() {
                break;
            }
            batch.extend(state.waiting.pop_front());
        }
        let more = !state.waiting.is_empty();
        drop(state);
        if more {
            // The other task may take them meanwhile.
            self.waiting_came.notify_one();
        }
        batch
    }

    /// Waits until something is buffered and it is time to send it: the batch is full, `linger`
    /// is over, or somebody waits for the buffer to be empty. Returns at once when stopped.
    pub(super) async fn buffered_ready(&self) {
        self.until_buffered(|state, _| state.stopped || !state.buffered.is_empty()).await;
        let gathered = self.until_buffered(|state, config| {
            state.stopped || state.flushing > 0 || state.buffered.len() >= config.batch_entries
        });
        // Over or not, what is there goes now.
        let _ = tokio::time::timeout(self.config.linger, gathered).await;
    }

    async fn until_buffered(&self, ready: impl Fn(&State, &JournalConfig) -> bool) {
        loop {
            let came = self.buffered_came.notified();
            if ready(&self.state(), &self.config) {
                return;
            }
            came.await;
        }
    }

    /// Takes the oldest buffered entries; they count as under way until [`shipped`](Self::shipped).
    pub(super) fn take_buffered(&self) -> (Vec<v1::JournalEntry>, Load) {
        let mut state = self.state();
        let (mut entries, mut load) = (Vec::new(), Load::default());
        while let Some((_, next)) = state.buffered.front() {
            let full = entries.len() >= self.config.batch_entries
                || load.bytes() + next.bytes() > self.config.batch_bytes;
            if full && !entries.is_empty() {
                break;
            }
            if let Some((entry, weight)) = state.buffered.pop_front() {
                entries.push(entry);
                load.merge(&weight);
            }
        }
        state.shipping += entries.len();
        (entries, load)
    }

    /// What was taken is recorded or given up.
    pub(super) fn shipped(&self, entries: usize, load: &Load) {
        let mut state = self.state();
        state.shipping -= entries;
        state.usage.give_back(load);
        let settled = state.buffered.is_empty() && state.shipping == 0;
        drop(state);
        if settled {
            self.settled.notify_waiters();
        }
    }

    /// A caller's entries left memory.
    pub(super) fn answered(&self, load: &Load) {
        self.state().usage.give_back(load);
    }

    pub(super) async fn settled(&self) {
        self.state().flushing += 1;
        let _flushing = Flushing(self);
        self.buffered_came.notify_one();
        loop {
            let settled = self.settled.notified();
            let mut settled = std::pin::pin!(settled);
            // Registered before the look: `notify_waiters` wakes only who waits.
            settled.as_mut().enable();
            if self.is_settled() {
                return;
            }
            settled.await;
        }
    }

    fn is_settled(&self) -> bool {
        let state = self.state();
        state.buffered.is_empty() && state.shipping == 0
    }

    /// Nothing is taken any more; callers that wait are told.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        let waiting = std::mem::take(&mut state.waiting);
        for caller in &waiting {
            state.usage.give_back(&caller.load);
        }
        drop(state);
        for caller in waiting {
            // A caller that is gone needs no answer.
            let _ = caller.reply.send(Err(JournalError::Stopped));
        }
        self.buffered_came.notify_one();
    }
}

/// Counts somebody who waits for the buffer to be empty, also if they stop waiting.
struct Flushing<'a>(&'a Queues);

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.state().flushing -= 1;
    }
}
